/* Cubic B-spline splat of points onto images, and its adjoints.
 *
 * Positions are (images, 2, points) in pixels, x row then y row; weights (points) are shared by all images; images are
 * (images, height, width). A point touches 4 x 4 pixels; a point whose 4 x 4 pixels do not all exist adds nothing. */
#include "kernels.h"

#include <math.h>
#include <string.h>

#define BLOCK 64

typedef float row4 __attribute__((vector_size(16), aligned(4)));

/* B-spline weights and derivatives of up to BLOCK points; arrays of the y axis are tap-major, so that they vectorise. */
typedef struct {
  float wx[BLOCK][4], dx[BLOCK][4], wy[4][BLOCK], dy[4][BLOCK];
  float inside[BLOCK];
  int64_t offset[BLOCK];
} taps;

INLINE void locate(const float *px, const float *py, int count, int64_t height, int64_t width, taps *t, float *fx,
                   float *fy) {
  for (int i = 0; i < count; i++) {
    float x = px[i], y = py[i];
    /* Far or non-finite positions must not overflow the conversion to int. */
    int finite = (x > -1e6f) & (x < 1e6f) & (y > -1e6f) & (y < 1e6f);
    x = finite ? x : -4.0f;
    y = finite ? y : -4.0f;
    float floor_x = floorf(x), floor_y = floorf(y);
    int first_x = (int)floor_x - 1, first_y = (int)floor_y - 1;
    int inside = (first_x >= 0) & (first_x < (int)width - 3) & (first_y >= 0) & (first_y < (int)height - 3);
    t->inside[i] = inside ? 1.0f : 0.0f;
    t->offset[i] = inside ? (int64_t)first_y * width + first_x : 0;
    fx[i] = x - floor_x;
    fy[i] = y - floor_y;
  }
}

INLINE void spline(const float *px, const float *py, int count, int64_t height, int64_t width, taps *t) {
  float fx[BLOCK], fy[BLOCK];
  locate(px, py, count, height, width, t, fx, fy);
  for (int i = 0; i < count; i++) {
    float f = fx[i], g = 1 - f;
    float a = g * g * g * (1.0f / 6), b = (2.0f / 3) - f * f * (1 - 0.5f * f), d = f * f * f * (1.0f / 6);
    t->wx[i][0] = a, t->wx[i][1] = b, t->wx[i][2] = 1 - a - b - d, t->wx[i][3] = d;
  }
  for (int i = 0; i < count; i++) {
    float f = fy[i], g = 1 - f;
    float a = g * g * g * (1.0f / 6), b = (2.0f / 3) - f * f * (1 - 0.5f * f), d = f * f * f * (1.0f / 6);
    t->wy[0][i] = a, t->wy[1][i] = b, t->wy[2][i] = 1 - a - b - d, t->wy[3][i] = d;
  }
}

INLINE void spline_derivative(const float *px, const float *py, int count, taps *t) {
  for (int i = 0; i < count; i++) {
    float f = px[i] - floorf(px[i]), g = 1 - f;
    float a = -0.5f * g * g, b = f * (1.5f * f - 2), d = 0.5f * f * f;
    t->dx[i][0] = a, t->dx[i][1] = b, t->dx[i][2] = -(a + b + d), t->dx[i][3] = d;
  }
  for (int i = 0; i < count; i++) {
    float f = py[i] - floorf(py[i]), g = 1 - f;
    float a = -0.5f * g * g, b = f * (1.5f * f - 2), d = 0.5f * f * f;
    t->dy[0][i] = a, t->dy[1][i] = b, t->dy[2][i] = -(a + b + d), t->dy[3][i] = d;
  }
}

/* images[b] = sum over points of weight times spline, for b in [first, last). */
EXPORT CLONES void splat_forward(const float *positions, const float *weights, float *images, int64_t first,
                                 int64_t last, int64_t points, int64_t height, int64_t width) {
  taps t;
  for (int64_t b = first; b < last; b++) {
    const float *px = positions + b * 2 * points, *py = px + points;
    float *image = images + b * height * width;
    memset(image, 0, (size_t)(height * width) * sizeof(float));
    for (int64_t n = 0; n < points; n += BLOCK) {
      int count = (int)(points - n < BLOCK ? points - n : BLOCK);
      spline(px + n, py + n, count, height, width, &t);
      for (int r = 0; r < 4; r++)
        for (int i = 0; i < count; i++) t.wy[r][i] *= weights[n + i] * t.inside[i];
      for (int i = 0; i < count; i++) {
        float *corner = image + t.offset[i];
        row4 across = *(const row4 *)t.wx[i];
        for (int r = 0; r < 4; r++) {
          row4 *row = (row4 *)(corner + r * width);
          *row = *row + across * t.wy[r][i];
        }
      }
    }
  }
}

/* Gradients with respect to positions (images, 2, points) and weights (points), for points in [first, last):
 * chunks of points rather than of images, so that the sum over images needs no reduction between threads. */
EXPORT CLONES void splat_backward(const float *positions, const float *weights, const float *images, float *d_positions,
                                  float *d_weights, int64_t batch, int64_t first, int64_t last, int64_t points,
                                  int64_t height, int64_t width) {
  taps t;
  float along[BLOCK][4], slope[BLOCK][4];
  memset(d_weights + first, 0, (size_t)(last - first) * sizeof(float));
  for (int64_t b = 0; b < batch; b++) {
    const float *px = positions + b * 2 * points, *py = px + points;
    const float *image = images + b * height * width;
    float *gx = d_positions + b * 2 * points, *gy = gx + points;
    for (int64_t n = first; n < last; n += BLOCK) {
      int count = (int)(last - n < BLOCK ? last - n : BLOCK);
      spline(px + n, py + n, count, height, width, &t);
      spline_derivative(px + n, py + n, count, &t);
      for (int i = 0; i < count; i++) {
        const float *corner = image + t.offset[i];
        row4 r0 = *(const row4 *)corner, r1 = *(const row4 *)(corner + width);
        row4 r2 = *(const row4 *)(corner + 2 * width), r3 = *(const row4 *)(corner + 3 * width);
        *(row4 *)along[i] = r0 * t.wy[0][i] + r1 * t.wy[1][i] + r2 * t.wy[2][i] + r3 * t.wy[3][i];
        *(row4 *)slope[i] = r0 * t.dy[0][i] + r1 * t.dy[1][i] + r2 * t.dy[2][i] + r3 * t.dy[3][i];
      }
      for (int i = 0; i < count; i++) {
        float value = 0, ddx = 0, ddy = 0;
        for (int c = 0; c < 4; c++) {
          value += along[i][c] * t.wx[i][c];
          ddx += along[i][c] * t.dx[i][c];
          ddy += slope[i][c] * t.wx[i][c];
        }
        float scale = weights[n + i] * t.inside[i];
        d_weights[n + i] += value * t.inside[i];
        gx[n + i] = scale * ddx;
        gy[n + i] = scale * ddy;
      }
    }
  }
}

/* totals[n] += sum over images of the spline-interpolated image at the point, for points in [first, last):
 * the adjoint of splat_forward in the weights. */
EXPORT CLONES void splat_gather(const float *positions, const float *images, float *totals, int64_t batch,
                                int64_t first, int64_t last, int64_t points, int64_t height, int64_t width) {
  taps t;
  for (int64_t b = 0; b < batch; b++) {
    const float *px = positions + b * 2 * points, *py = px + points;
    const float *image = images + b * height * width;
    for (int64_t n = first; n < last; n += BLOCK) {
      int count = (int)(last - n < BLOCK ? last - n : BLOCK);
      spline(px + n, py + n, count, height, width, &t);
      for (int i = 0; i < count; i++) {
        const float *corner = image + t.offset[i];
        row4 r0 = *(const row4 *)corner, r1 = *(const row4 *)(corner + width);
        row4 r2 = *(const row4 *)(corner + 2 * width), r3 = *(const row4 *)(corner + 3 * width);
        row4 along = (r0 * t.wy[0][i] + r1 * t.wy[1][i] + r2 * t.wy[2][i] + r3 * t.wy[3][i]) * *(const row4 *)t.wx[i];
        totals[n + i] += (along[0] + along[1] + along[2] + along[3]) * t.inside[i];
      }
    }
  }
}
