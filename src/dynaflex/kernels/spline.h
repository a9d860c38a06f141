/* The cubic B-spline that carries a point to its 4 x 4 pixels, shared by the kernels that splat. */
#ifndef DYNAFLEX_SPLINE_H
#define DYNAFLEX_SPLINE_H

#include "kernels.h"

#include <math.h>

/* A multiple of LANES. */
#define BLOCK 128

typedef float row4 __attribute__((vector_size(16), aligned(4)));

/* Where up to BLOCK points lie: the first of their 4 x 4 pixels and how far they are past the second in x and y. */
typedef struct {
  float fx[BLOCK], fy[BLOCK], inside[BLOCK];
  int32_t offset[BLOCK];
} pixels;

/* Weights of the four taps along one axis, tap-major, so that points run along the vector. */
typedef float taps[4][BLOCK];

/* Points up to the next multiple of LANES are put where they do no harm. */
INLINE void locate(const float *px, const float *py, int count, int64_t height, int64_t width, pixels *p) {
  for (int i = 0; i < count; i++) {
    float x = px[i], y = py[i];
    /* Far or non-finite positions must not overflow the conversion to int. */
    int finite = (x > -1e6f) & (x < 1e6f) & (y > -1e6f) & (y < 1e6f);
    x = finite ? x : -4.0f;
    y = finite ? y : -4.0f;
    float floor_x = floorf(x), floor_y = floorf(y);
    int32_t first_x = (int32_t)floor_x - 1, first_y = (int32_t)floor_y - 1;
    int inside = (first_x >= 0) & (first_x < (int32_t)width - 3) & (first_y >= 0) & (first_y < (int32_t)height - 3);
    p->inside[i] = inside ? 1.0f : 0.0f;
    p->offset[i] = inside ? first_y * (int32_t)width + first_x : 0;
    p->fx[i] = x - floor_x;
    p->fy[i] = y - floor_y;
  }
  for (int i = count; i % LANES; i++) p->inside[i] = p->fx[i] = p->fy[i] = 0.0f, p->offset[i] = 0;
}

INLINE int whole_lanes(int count) { return (count + LANES - 1) / LANES * LANES; }

INLINE void spline(const float *fraction, int count, taps t) {
  for (int i = 0; i < count; i++) {
    float f = fraction[i], g = 1 - f;
    float a = g * g * g * (1.0f / 6), b = (2.0f / 3) - f * f * (1 - 0.5f * f), d = f * f * f * (1.0f / 6);
    t[0][i] = a, t[1][i] = b, t[2][i] = 1 - a - b - d, t[3][i] = d;
  }
}

INLINE void spline_slope(const float *fraction, int count, taps t) {
  for (int i = 0; i < count; i++) {
    float f = fraction[i], g = 1 - f;
    float a = -0.5f * g * g, b = f * (1.5f * f - 2), d = 0.5f * f * f;
    t[0][i] = a, t[1][i] = b, t[2][i] = -(a + b + d), t[3][i] = d;
  }
}

#if defined(__x86_64__) && defined(__GNUC__)
#include "spline_avx512.h"
#define HAS_AVX512 __builtin_cpu_supports("avx512f")
#endif

/* Add the points to an image; scale holds their weights. */
INLINE void spread(const pixels *p, const float *scale, int count, float *image, int64_t width) {
  taps wx, wy;
  float across[BLOCK][4];
  spline(p->fx, count, wx);
  spline(p->fy, count, wy);
  for (int i = 0; i < count; i++) {
    float weight = scale[i] * p->inside[i];
    for (int j = 0; j < 4; j++) across[i][j] = wx[j][i], wy[j][i] *= weight;
  }
  for (int i = 0; i < count; i++) {
    float *corner = image + p->offset[i];
    row4 taps_x = *(const row4 *)across[i];
    for (int j = 0; j < 4; j++) {
      row4 *row = (row4 *)(corner + j * width);
      *row = *row + taps_x * wy[j][i];
    }
  }
}

/* The image between its pixels, 0 outside. */
INLINE void sample(const pixels *p, int count, const float *image, int64_t width, float *value) {
  taps wx, wy;
  float along[BLOCK][4];
  count = whole_lanes(count);
  spline(p->fx, count, wx);
  spline(p->fy, count, wy);
#ifdef HAS_AVX512
  if (HAS_AVX512) {
    sample_avx512(p, count, image, width, wx, wy, value);
    return;
  }
#endif
  for (int i = 0; i < count; i++) {
    const float *corner = image + p->offset[i];
    row4 r0 = *(const row4 *)corner, r1 = *(const row4 *)(corner + width);
    row4 r2 = *(const row4 *)(corner + 2 * width), r3 = *(const row4 *)(corner + 3 * width);
    *(row4 *)along[i] = r0 * wy[0][i] + r1 * wy[1][i] + r2 * wy[2][i] + r3 * wy[3][i];
  }
  for (int i = 0; i < count; i++) {
    float a0 = along[i][0], a1 = along[i][1], a2 = along[i][2], a3 = along[i][3];
    value[i] = (a0 * wx[0][i] + a1 * wx[1][i] + a2 * wx[2][i] + a3 * wx[3][i]) * p->inside[i];
  }
}

/* The image between its pixels and its slope in x and y, 0 outside. */
INLINE void sample_slope(const pixels *p, int count, const float *image, int64_t width, float *value, float *slope_x,
                       float *slope_y) {
  taps wx, wy, dx, dy;
  float along[BLOCK][4], slope[BLOCK][4];
  count = whole_lanes(count);
  spline(p->fx, count, wx);
  spline(p->fy, count, wy);
  spline_slope(p->fx, count, dx);
  spline_slope(p->fy, count, dy);
#ifdef HAS_AVX512
  if (HAS_AVX512) {
    sample_slope_avx512(p, count, image, width, wx, wy, dx, dy, value, slope_x, slope_y);
    return;
  }
#endif
  for (int i = 0; i < count; i++) {
    const float *corner = image + p->offset[i];
    row4 r0 = *(const row4 *)corner, r1 = *(const row4 *)(corner + width);
    row4 r2 = *(const row4 *)(corner + 2 * width), r3 = *(const row4 *)(corner + 3 * width);
    *(row4 *)along[i] = r0 * wy[0][i] + r1 * wy[1][i] + r2 * wy[2][i] + r3 * wy[3][i];
    *(row4 *)slope[i] = r0 * dy[0][i] + r1 * dy[1][i] + r2 * dy[2][i] + r3 * dy[3][i];
  }
  for (int i = 0; i < count; i++) {
    float a0 = along[i][0], a1 = along[i][1], a2 = along[i][2], a3 = along[i][3];
    float s0 = slope[i][0], s1 = slope[i][1], s2 = slope[i][2], s3 = slope[i][3], inside = p->inside[i];
    value[i] = (a0 * wx[0][i] + a1 * wx[1][i] + a2 * wx[2][i] + a3 * wx[3][i]) * inside;
    slope_x[i] = (a0 * dx[0][i] + a1 * dx[1][i] + a2 * dx[2][i] + a3 * dx[3][i]) * inside;
    slope_y[i] = (s0 * wx[0][i] + s1 * wx[1][i] + s2 * wx[2][i] + s3 * wx[3][i]) * inside;
  }
}

#endif
