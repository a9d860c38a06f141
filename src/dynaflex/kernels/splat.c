/* Cubic B-spline splat of points onto images, and its adjoints.
 *
 * Positions are (images, 2, points) in pixels, x row then y row; weights (points) are shared by all images; images are
 * (images, height, width). A point touches 4 x 4 pixels; a point whose 4 x 4 pixels do not all exist adds nothing. */
#include "spline.h"

#include <string.h>

INLINE int block_from(int64_t point, int64_t last) { return (int)(last - point < BLOCK ? last - point : BLOCK); }

/* images[b] = sum over points of weight times spline, for b in [first, last). */
EXPORT CLONES void splat_forward(const float *positions, const float *weights, float *images, int64_t first,
                                 int64_t last, int64_t points, int64_t height, int64_t width) {
  for (int64_t b = first; b < last; b++) {
    const float *px = positions + b * 2 * points, *py = px + points;
    float *image = images + b * height * width;
    memset(image, 0, (size_t)(height * width) * sizeof(float));
    for (int64_t n = 0; n < points; n += BLOCK) {
      int count = block_from(n, points);
      spread(px + n, py + n, weights + n, count, image, height, width);
    }
  }
}

/* Gradients with respect to positions (images, 2, points) and weights (points), for points in [first, last):
 * chunks of points rather than of images, so that the sum over images needs no reduction between threads. */
EXPORT CLONES void splat_backward(const float *positions, const float *weights, const float *images, float *d_positions,
                                  float *d_weights, int64_t batch, int64_t first, int64_t last, int64_t points,
                                  int64_t height, int64_t width) {
  float value[BLOCK], slope_x[BLOCK], slope_y[BLOCK];
  memset(d_weights + first, 0, (size_t)(last - first) * sizeof(float));
  for (int64_t b = 0; b < batch; b++) {
    const float *px = positions + b * 2 * points, *py = px + points;
    const float *image = images + b * height * width;
    float *gx = d_positions + b * 2 * points, *gy = gx + points;
    for (int64_t n = first; n < last; n += BLOCK) {
      int count = block_from(n, last);
      sample_slope(px + n, py + n, count, image, height, width, value, slope_x, slope_y);
      for (int i = 0; i < count; i++) {
        d_weights[n + i] += value[i];
        gx[n + i] = weights[n + i] * slope_x[i];
        gy[n + i] = weights[n + i] * slope_y[i];
      }
    }
  }
}

/* totals[n] += sum over images of the spline-interpolated image at the point, for points in [first, last):
 * the adjoint of splat_forward in the weights. */
EXPORT CLONES void splat_gather(const float *positions, const float *images, float *totals, int64_t batch,
                                int64_t first, int64_t last, int64_t points, int64_t height, int64_t width) {
  float value[BLOCK];
  for (int64_t b = 0; b < batch; b++) {
    const float *px = positions + b * 2 * points, *py = px + points;
    const float *image = images + b * height * width;
    for (int64_t n = first; n < last; n += BLOCK) {
      int count = block_from(n, last);
      sample(px + n, py + n, count, image, height, width, value);
      for (int i = 0; i < count; i++) totals[n + i] += value[i];
    }
  }
}
