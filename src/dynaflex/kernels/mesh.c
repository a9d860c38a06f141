/* Points carried by tetrahedra, spread onto images by cubic B-splines, and the adjoints; see mesh_table.py.
 *
 * Positions are (images, nodes, 2) in pixels, x then y. Rows offsets[g] to offsets[g + 1] belong to group g of
 * LANES segments, one segment to a lane: vertices (groups, 4, LANES) are those of its tetrahedron, blend (groups, 3, 4,
 * LANES) the gradients per lattice step and the value at the segment's origin of the last three barycentric
 * coordinates, and steps (rows, 3, LANES) its points, counted from that origin. Weights (rows, LANES) are 0 in padding.
 * A point whose 4 x 4 pixels do not all exist adds nothing. */
#include "spline.h"

#include <string.h>

#define ROWS (BLOCK / LANES)

/* One affine map per lane, or its gradient: three columns and the position of the origin, x row then y row. */
typedef float affine[2][4][LANES];

/* A position, moved as one: as two floats, and as the halves of an integer, of which x is the lower. */
typedef float point __attribute__((vector_size(8), aligned(4), may_alias));
typedef uint64_t pair __attribute__((aligned(4), may_alias));

/* Four positions, and the eight floats that they are: wider ones are slow where a compiler has to cut them. */
typedef uint64_t pairs __attribute__((vector_size(32)));
typedef float eight __attribute__((vector_size(32), aligned(4), may_alias));

/* The lower halves of both for even and odd lanes, and the upper ones; the same puts them together again. */
INLINE pairs lower(pairs even, pairs odd) { return (even & 0xffffffffu) | (odd << 32); }
INLINE pairs upper(pairs even, pairs odd) { return (even >> 32) | (odd & 0xffffffff00000000u); }

/* The positions of sixteen vertices, x and y apart. */
INLINE void fetch(const float *positions, const int32_t *vertices, float *x, float *y) {
  for (int l = 0; l < LANES; l += 8) {
#define AT(i) (*(const pair *)(positions + 2 * vertices[l + i]))
    pairs even = {AT(0), AT(2), AT(4), AT(6)}, odd = {AT(1), AT(3), AT(5), AT(7)};
#undef AT
    *(eight *)(x + l) = (eight)lower(even, odd), *(eight *)(y + l) = (eight)upper(even, odd);
  }
}

/* Differences to the first vertex keep rounding errors as small as the tetrahedron, not as large as the image. */
INLINE void blend_vertices(const float *positions, const int32_t *vertices, const float *blend, affine map) {
  float first[2][LANES], edge[3][2][LANES];
  fetch(positions, vertices, first[0], first[1]);
  for (int k = 0; k < 3; k++) {
    fetch(positions, vertices + (k + 1) * LANES, edge[k][0], edge[k][1]);
    for (int axis = 0; axis < 2; axis++)
      for (int l = 0; l < LANES; l++) edge[k][axis][l] -= first[axis][l];
  }
  for (int axis = 0; axis < 2; axis++)
    for (int c = 0; c < 4; c++) {
      const float *b = blend + c * LANES;
      vec moved = load(edge[0][axis]) * load(b) + load(edge[1][axis]) * load(b + 4 * LANES) +
                  load(edge[2][axis]) * load(b + 8 * LANES);
      *(vec_u *)map[axis][c] = c == 3 ? moved + load(first[axis]) : moved;
    }
}

/* The adjoint of fetch, added to d_positions. */
INLINE void add_back(const float *x, const float *y, const int32_t *vertices, float *d_positions) {
  for (int l = 0; l < LANES; l += 8) {
    pairs px = (pairs)*(const eight *)(x + l), py = (pairs)*(const eight *)(y + l);
    union {
      pairs all[2];
      point each[2][4];
    } d = {{lower(px, py), upper(px, py)}};
    for (int i = 0; i < 8; i++) {
      point *to = (point *)(d_positions + 2 * vertices[l + i]);
      *to = *to + d.each[i % 2][i / 2];
    }
  }
}

/* The adjoint of blend_vertices, added to d_positions. */
INLINE void scatter_to_vertices(affine d_map, const int32_t *vertices, const float *blend, float *d_positions) {
  float out[4][2][LANES];
  for (int axis = 0; axis < 2; axis++) {
    vec first = load(d_map[axis][3]);
    for (int k = 0; k < 3; k++) {
      const float *b = blend + k * 4 * LANES;
      vec other = load(d_map[axis][0]) * load(b) + load(d_map[axis][1]) * load(b + LANES) +
                  load(d_map[axis][2]) * load(b + 2 * LANES) + load(d_map[axis][3]) * load(b + 3 * LANES);
      *(vec_u *)out[k + 1][axis] = other;
      first -= other;
    }
    *(vec_u *)out[0][axis] = first;
  }
  for (int k = 0; k < 4; k++) add_back(out[k][0], out[k][1], vertices + k * LANES, d_positions);
}

/* Apart from what follows, because int8 and float together would be cut to the width of 16 int8. */
INLINE void decode(const int8_t *steps, int rows, float *decoded) {
  for (int i = 0; i < rows * 3 * LANES; i++) decoded[i] = steps[i];
}

INLINE void carry(affine map, const float *steps, int rows, float *px, float *py) {
  for (int r = 0; r < rows; r++)
    for (int l = 0; l < LANES; l++) {
      const float *step = steps + r * 3 * LANES + l;
      float x = step[0], y = step[LANES], z = step[2 * LANES];
      px[r * LANES + l] = map[0][0][l] * x + map[0][1][l] * y + map[0][2][l] * z + map[0][3][l];
      py[r * LANES + l] = map[1][0][l] * x + map[1][1][l] * y + map[1][2][l] * z + map[1][3][l];
    }
}

/* The adjoint of carry, added to d_map. */
INLINE void carry_back(const float *dx, const float *dy, const float *steps, int rows, affine d_map) {
  vec sum[8];
  for (int i = 0; i < 8; i++) sum[i] = load(d_map[i / 4][i % 4]);
  for (int r = 0; r < rows; r++) {
    const float *step = steps + r * 3 * LANES;
    vec x = load(step), y = load(step + LANES), z = load(step + 2 * LANES);
    vec gx = load(dx + r * LANES), gy = load(dy + r * LANES);
    sum[0] += gx * x, sum[1] += gx * y, sum[2] += gx * z, sum[3] += gx;
    sum[4] += gy * x, sum[5] += gy * y, sum[6] += gy * z, sum[7] += gy;
  }
  for (int i = 0; i < 8; i++) *(vec_u *)d_map[i / 4][i % 4] = sum[i];
}

INLINE int rows_from(int64_t row, int64_t last) { return (int)(last - row < ROWS ? last - row : ROWS); }

/* images[b] = sum over points of weight times spline, for b in [first, last). */
EXPORT CLONES void mesh_splat_forward(const float *positions, const int32_t *vertices, const float *blend,
                                      const int8_t *steps, const int64_t *offsets, const float *weights, float *images,
                                      int64_t first, int64_t last, int64_t groups, int64_t nodes, int64_t box) {
  affine map;
  float local[3 * BLOCK], x[BLOCK], y[BLOCK];
  for (int64_t b = first; b < last; b++) {
    float *image = images + b * box * box;
    memset(image, 0, (size_t)(box * box) * sizeof(float));
    for (int64_t g = 0; g < groups; g++) {
      blend_vertices(positions + b * 2 * nodes, vertices + g * 4 * LANES, blend + g * 12 * LANES, map);
      for (int64_t r = offsets[g]; r < offsets[g + 1]; r += ROWS) {
        int rows = rows_from(r, offsets[g + 1]);
        decode(steps + r * 3 * LANES, rows, local);
        carry(map, local, rows, x, y);
        spread(x, y, weights + r * LANES, rows * LANES, image, box, box);
      }
    }
  }
}

/* Gradients with respect to positions and weights, for groups in [first, last). d_positions (batch, nodes, 2) belongs
 * to this call alone and is added to, as are the rows of these groups of d_weights (rows, LANES). */
EXPORT CLONES void mesh_splat_backward(const float *positions, const int32_t *vertices, const float *blend,
                                       const int8_t *steps, const int64_t *offsets, const float *weights,
                                       const float *images, float *d_positions, float *d_weights, int64_t batch,
                                       int64_t first, int64_t last, int64_t nodes, int64_t box) {
  affine map, d_map;
  float local[3 * BLOCK], x[BLOCK], y[BLOCK], value[BLOCK], dx[BLOCK], dy[BLOCK];
  for (int64_t b = 0; b < batch; b++)
    for (int64_t g = first; g < last; g++) {
      blend_vertices(positions + b * 2 * nodes, vertices + g * 4 * LANES, blend + g * 12 * LANES, map);
      memset(d_map, 0, sizeof d_map);
      for (int64_t r = offsets[g]; r < offsets[g + 1]; r += ROWS) {
        int rows = rows_from(r, offsets[g + 1]), count = rows * LANES;
        const float *weight = weights + r * LANES;
        float *d_weight = d_weights + r * LANES;
        decode(steps + r * 3 * LANES, rows, local);
        carry(map, local, rows, x, y);
        sample_slope(x, y, count, images + b * box * box, box, box, value, dx, dy);
        for (int i = 0; i < count; i++) d_weight[i] += value[i], dx[i] *= weight[i], dy[i] *= weight[i];
        carry_back(dx, dy, local, rows, d_map);
      }
      scatter_to_vertices(d_map, vertices + g * 4 * LANES, blend + g * 12 * LANES, d_positions + b * 2 * nodes);
    }
}

/* totals += sum over images of the image at the points, for groups in [first, last): the adjoint of mesh_splat_forward
 * in the weights. */
EXPORT CLONES void mesh_splat_gather(const float *positions, const int32_t *vertices, const float *blend,
                                     const int8_t *steps, const int64_t *offsets, const float *images, float *totals,
                                     int64_t batch, int64_t first, int64_t last, int64_t nodes, int64_t box) {
  affine map;
  float local[3 * BLOCK], x[BLOCK], y[BLOCK], value[BLOCK];
  for (int64_t b = 0; b < batch; b++)
    for (int64_t g = first; g < last; g++) {
      blend_vertices(positions + b * 2 * nodes, vertices + g * 4 * LANES, blend + g * 12 * LANES, map);
      for (int64_t r = offsets[g]; r < offsets[g + 1]; r += ROWS) {
        int rows = rows_from(r, offsets[g + 1]), count = rows * LANES;
        decode(steps + r * 3 * LANES, rows, local);
        carry(map, local, rows, x, y);
        sample(x, y, count, images + b * box * box, box, box, value);
        for (int i = 0; i < count; i++) totals[r * LANES + i] += value[i];
      }
    }
}
