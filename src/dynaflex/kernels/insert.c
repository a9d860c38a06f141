/* Planes of coefficients put into a lattice of Fourier space.
 *
 * values (images, box, width, channels) are in rfft layout, width = box / 2 + 1. The coefficient of the frequency
 * (kx, ky) stands at kx rows[b][0] + ky rows[b][1] lattice steps from the origin, rows (images, 2, 3) being x, y, z. One
 * whose x is negative is put where its conjugate belongs. The lattice (size + 4, size + 4, size / 2 + 5, channels) has
 * its origin at [size / 2 + 2, size / 2 + 2, 2], z, y, x: two nodes stand over on every side, for whoever folds them
 * back. A coefficient goes to 4 x 4 x 4 nodes; tap j along an axis weighs the polynomial sum taps[m][j] f^m at f of a
 * step past its node. Zeros are skipped, and what lacks some of its nodes adds nothing. */
#include "kernels.h"

#include <math.h>

typedef float row4 __attribute__((vector_size(16), aligned(4)));
typedef float row8 __attribute__((vector_size(32), aligned(4)));

INLINE row4 weights_of(const float *taps, int64_t terms, float f) {
  row4 sum = *(const row4 *)(taps + 4 * (terms - 1));
  for (int64_t m = terms - 2; m >= 0; m--) sum = sum * f + *(const row4 *)(taps + 4 * m);
  return sum;
}

/* Nodes with z in [first, last) alone are written. */
INLINE void insert(const float *rows, const float *values, const float *taps, float *lattice, int64_t images,
                   int64_t box, int64_t size, int64_t terms, int64_t first, int64_t last, int channels) {
  int64_t width = box / 2 + 1, side = size + 4, across = size / 2 + 5;
  for (int64_t b = 0; b < images; b++) {
    const float *along = rows + 6 * b, *down = along + 3;
    for (int64_t i = 0; i < box; i++) {
      float ky = (float)(i < (box + 1) / 2 ? i : i - box);
      for (int64_t kx = 0; kx < width; kx++) {
        const float *value = values + ((b * box + i) * width + kx) * channels;
        float re = value[0], im = channels == 2 ? value[1] : 0;
        if (re == 0 && im == 0) continue;
        float x = kx * along[0] + ky * down[0], y = kx * along[1] + ky * down[1], z = kx * along[2] + ky * down[2];
        if (x < 0) x = -x, y = -y, z = -z, im = -im;
        float fx = floorf(x), fy = floorf(y), fz = floorf(z);
        int64_t ix = (int64_t)fx + 1, iy = (int64_t)fy + size / 2 + 1, iz = (int64_t)fz + size / 2 + 1;
        if (ix + 4 > across || iy < 0 || iy + 4 > side || iz < 0 || iz + 4 > side) continue;
        if (iz + 4 <= first || iz >= last) continue;
        row4 wx = weights_of(taps, terms, x - fx), wy = weights_of(taps, terms, y - fy);
        row4 wz = weights_of(taps, terms, z - fz);
        for (int k = 0; k < 4; k++) {
          if (iz + k < first || iz + k >= last) continue;
          for (int j = 0; j < 4; j++) {
            float *node = lattice + (((iz + k) * side + iy + j) * across + ix) * channels;
            float share = wz[k] * wy[j];
            if (channels == 2) {
              row8 taps_x = {wx[0] * re, wx[0] * im, wx[1] * re, wx[1] * im,
                             wx[2] * re, wx[2] * im, wx[3] * re, wx[3] * im};
              *(row8 *)node = *(row8 *)node + taps_x * share;
            } else {
              *(row4 *)node = *(row4 *)node + wx * (share * re);
            }
          }
        }
      }
    }
  }
}

EXPORT CLONES void insert_real(const float *rows, const float *values, const float *taps, float *lattice, int64_t images,
                               int64_t box, int64_t size, int64_t terms, int64_t first, int64_t last) {
  insert(rows, values, taps, lattice, images, box, size, terms, first, last, 1);
}

EXPORT CLONES void insert_complex(const float *rows, const float *values, const float *taps, float *lattice,
                                  int64_t images, int64_t box, int64_t size, int64_t terms, int64_t first,
                                  int64_t last) {
  insert(rows, values, taps, lattice, images, box, size, terms, first, last, 2);
}
