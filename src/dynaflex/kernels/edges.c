/* Lengths of the edges of a graph over moving points, and their adjoint.
 *
 * Points are (batch, 3, points): all x, then all y, then all z. Edges are (edges, 2). Lengths are (batch, edges). */
#include "kernels.h"

#include <math.h>
#include <string.h>

EXPORT CLONES void edge_lengths_forward(const float *points, const int32_t *edges, float *lengths, int64_t first,
                                        int64_t last, int64_t count, int64_t edge_count) {
  for (int64_t b = first; b < last; b++) {
    const float *x = points + b * 3 * count, *y = x + count, *z = y + count;
    float *out = lengths + b * edge_count;
    for (int64_t e = 0; e < edge_count; e++) {
      int32_t i = edges[2 * e], j = edges[2 * e + 1];
      float dx = x[i] - x[j], dy = y[i] - y[j], dz = z[i] - z[j];
      out[e] = sqrtf(dx * dx + dy * dy + dz * dz);
    }
  }
}

/* d_points += sum over edges of d_length times the unit vector; a collapsed edge has no direction and adds nothing. */
EXPORT CLONES void edge_lengths_backward(const float *points, const int32_t *edges, const float *lengths,
                                         const float *d_lengths, float *d_points, int64_t first, int64_t last,
                                         int64_t count, int64_t edge_count) {
  for (int64_t b = first; b < last; b++) {
    const float *x = points + b * 3 * count, *y = x + count, *z = y + count;
    float *gx = d_points + b * 3 * count, *gy = gx + count, *gz = gy + count;
    memset(gx, 0, (size_t)(3 * count) * sizeof(float));
    for (int64_t e = 0; e < edge_count; e++) {
      int32_t i = edges[2 * e], j = edges[2 * e + 1];
      float length = lengths[b * edge_count + e];
      float scale = length > 1e-12f ? d_lengths[b * edge_count + e] / length : 0.0f;
      float dx = scale * (x[i] - x[j]), dy = scale * (y[i] - y[j]), dz = scale * (z[i] - z[j]);
      gx[i] += dx, gy[i] += dy, gz[i] += dz;
      gx[j] -= dx, gy[j] -= dy, gz[j] -= dz;
    }
  }
}
