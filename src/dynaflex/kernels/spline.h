/* The cubic B-spline that carries a point to its 4 x 4 pixels, shared by the kernels that splat. An image has at least
 * 4 x 4 pixels. */
#ifndef DYNAFLEX_SPLINE_H
#define DYNAFLEX_SPLINE_H

#include "kernels.h"

#include <math.h>

/* How many points a call takes at most: a multiple of LANES, and not a power of two, which would put the arrays of a call
 * where they push each other out of the cache. */
#define BLOCK 192

typedef float row4 __attribute__((vector_size(16), aligned(4)));

/* Weights of the four taps along one axis, tap-major, so that points run along the vector. */
typedef float taps[4][BLOCK];

/* The first of each point's 4 x 4 pixels, the weights of all, and their slopes. A point that lacks some of its pixels
 * is not inside, and has offset 0. */
typedef struct {
  int32_t offset[BLOCK];
  float inside[BLOCK];
  taps wx, wy, dx, dy;
} footprint;

/* The pixel of a point, and what it is past it. */
typedef struct {
  int32_t offset;
  float inside, x, y;
} place;

INLINE place locate(float x, float y, int64_t height, int64_t width) {
  /* Far and non-finite positions must not overflow the conversion to int. */
  x = x > -4 ? x : -4, y = y > -4 ? y : -4;
  x = x < width ? x : width, y = y < height ? y : height;
  float floor_x = floorf(x), floor_y = floorf(y);
  int32_t first_x = (int32_t)floor_x - 1, first_y = (int32_t)floor_y - 1;
  int inside = ((uint32_t)first_x < (uint32_t)(width - 3)) & ((uint32_t)first_y < (uint32_t)(height - 3));
  return (place){inside ? first_y * (int32_t)width + first_x : 0, inside ? 1 : 0, x - floor_x, y - floor_y};
}

INLINE void weights_at(float f, float w[4]) {
  float g = 1 - f;
  w[0] = g * g * g * (1.0f / 6), w[1] = (2.0f / 3) - f * f * (1 - 0.5f * f), w[3] = f * f * f * (1.0f / 6);
  w[2] = 1 - w[0] - w[1] - w[3];
}

INLINE void slopes_at(float f, float d[4]) {
  float g = 1 - f;
  d[0] = -0.5f * g * g, d[1] = f * (1.5f * f - 2), d[3] = 0.5f * f * f;
  d[2] = -(d[0] + d[1] + d[3]);
}

INLINE void set_weights(const place *p, int i, footprint *f) {
  float wx[4], wy[4];
  weights_at(p->x, wx), weights_at(p->y, wy);
  f->offset[i] = p->offset, f->inside[i] = p->inside;
  for (int j = 0; j < 4; j++) f->wx[j][i] = wx[j], f->wy[j][i] = wy[j];
}

INLINE void set_slopes(const place *p, int i, footprint *f) {
  float dx[4], dy[4];
  slopes_at(p->x, dx), slopes_at(p->y, dy);
  for (int j = 0; j < 4; j++) f->dx[j][i] = dx[j], f->dy[j][i] = dy[j];
}

/* Points up to the next multiple of LANES are put where they do no harm. */
INLINE int fill_lanes(int count, footprint *f) {
  for (; count % LANES; count++) f->inside[count] = 0, f->offset[count] = 0;
  return count;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include "spline_avx512.h"
#define HAS_AVX512 __builtin_cpu_supports("avx512f")
#endif

/* Add points of weight scale to an image. */
INLINE void spread(const float *px, const float *py, const float *scale, int count, float *image, int64_t height,
                   int64_t width) {
  int32_t offset[BLOCK];
  float across[BLOCK][4], down[4][BLOCK];
  for (int i = 0; i < count; i++) {
    place p = locate(px[i], py[i], height, width);
    float wx[4], wy[4], weight = scale[i] * p.inside;
    weights_at(p.x, wx), weights_at(p.y, wy);
    offset[i] = p.offset;
    for (int j = 0; j < 4; j++) across[i][j] = wx[j], down[j][i] = wy[j] * weight;
  }
  for (int i = 0; i < count; i++) {
    float *corner = image + offset[i];
    row4 taps_x = *(const row4 *)across[i];
    for (int j = 0; j < 4; j++) {
      row4 *row = (row4 *)(corner + j * width);
      *row = *row + taps_x * down[j][i];
    }
  }
}

/* The image at points between its pixels, 0 outside. */
INLINE void sample(const float *px, const float *py, int count, const float *image, int64_t height, int64_t width,
                   float *value) {
  footprint f;
  float along[BLOCK][4];
  for (int i = 0; i < count; i++) {
    place p = locate(px[i], py[i], height, width);
    set_weights(&p, i, &f);
  }
#ifdef HAS_AVX512
  if (HAS_AVX512) {
    sample_avx512(&f, fill_lanes(count, &f), image, width, value);
    return;
  }
#endif
  for (int i = 0; i < count; i++) {
    const float *corner = image + f.offset[i];
    row4 r0 = *(const row4 *)corner, r1 = *(const row4 *)(corner + width);
    row4 r2 = *(const row4 *)(corner + 2 * width), r3 = *(const row4 *)(corner + 3 * width);
    *(row4 *)along[i] = r0 * f.wy[0][i] + r1 * f.wy[1][i] + r2 * f.wy[2][i] + r3 * f.wy[3][i];
  }
  for (int i = 0; i < count; i++) {
    float a0 = along[i][0], a1 = along[i][1], a2 = along[i][2], a3 = along[i][3];
    value[i] = (a0 * f.wx[0][i] + a1 * f.wx[1][i] + a2 * f.wx[2][i] + a3 * f.wx[3][i]) * f.inside[i];
  }
}

/* The image at points between its pixels and its slope in x and y, 0 outside. */
INLINE void sample_slope(const float *px, const float *py, int count, const float *image, int64_t height,
                         int64_t width, float *value, float *slope_x, float *slope_y) {
  footprint f;
  float along[BLOCK][4], slope[BLOCK][4];
  for (int i = 0; i < count; i++) {
    place p = locate(px[i], py[i], height, width);
    set_weights(&p, i, &f);
    set_slopes(&p, i, &f);
  }
#ifdef HAS_AVX512
  if (HAS_AVX512) {
    sample_slope_avx512(&f, fill_lanes(count, &f), image, width, value, slope_x, slope_y);
    return;
  }
#endif
  for (int i = 0; i < count; i++) {
    const float *corner = image + f.offset[i];
    row4 r0 = *(const row4 *)corner, r1 = *(const row4 *)(corner + width);
    row4 r2 = *(const row4 *)(corner + 2 * width), r3 = *(const row4 *)(corner + 3 * width);
    *(row4 *)along[i] = r0 * f.wy[0][i] + r1 * f.wy[1][i] + r2 * f.wy[2][i] + r3 * f.wy[3][i];
    *(row4 *)slope[i] = r0 * f.dy[0][i] + r1 * f.dy[1][i] + r2 * f.dy[2][i] + r3 * f.dy[3][i];
  }
  for (int i = 0; i < count; i++) {
    float a0 = along[i][0], a1 = along[i][1], a2 = along[i][2], a3 = along[i][3];
    float s0 = slope[i][0], s1 = slope[i][1], s2 = slope[i][2], s3 = slope[i][3], inside = f.inside[i];
    value[i] = (a0 * f.wx[0][i] + a1 * f.wx[1][i] + a2 * f.wx[2][i] + a3 * f.wx[3][i]) * inside;
    slope_x[i] = (a0 * f.dx[0][i] + a1 * f.dx[1][i] + a2 * f.dx[2][i] + a3 * f.dx[3][i]) * inside;
    slope_y[i] = (s0 * f.wx[0][i] + s1 * f.wx[1][i] + s2 * f.wx[2][i] + s3 * f.wx[3][i]) * inside;
  }
}

#endif
