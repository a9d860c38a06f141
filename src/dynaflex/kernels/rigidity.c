/* Rigidity energy of tetrahedra and its gradient: sum over cells of weight times |F - R|^2.
 *
 * F is a cell's deformation gradient, R the nearest rotation: the largest tr R^T F is the largest root of the quartic
 * of Davenport's matrix, found by Newton's method from above, and R is a polynomial in F and that root. Positions and
 * gradient are (images, 3, nodes); vertices (groups, 4, LANES), inverse_edges (groups, 3, 3, LANES) and weights
 * (groups, LANES) hold a cell to a lane, lanes that fill the last group with weight 0. */
#include "kernels.h"

#include <math.h>
#include <string.h>

#define STEPS 8
#define SQUARINGS 40

typedef struct {
  vec at[3][3];
} matrix;

INLINE vec norm2(const matrix *m) {
  vec sum = {0};
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) sum += m->at[i][j] * m->at[i][j];
  return sum;
}

INLINE void cofactors(const matrix *m, matrix *out) {
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) {
      int i1 = (i + 1) % 3, i2 = (i + 2) % 3, j1 = (j + 1) % 3, j2 = (j + 2) % 3;
      out->at[i][j] = m->at[i1][j1] * m->at[i2][j2] - m->at[i1][j2] * m->at[i2][j1];
    }
}

/* m^T m, of which the upper triangle is filled in twice. */
INLINE void gram(const matrix *m, matrix *out) {
  for (int i = 0; i < 3; i++)
    for (int j = i; j < 3; j++) {
      vec sum = m->at[0][i] * m->at[0][j] + m->at[1][i] * m->at[1][j] + m->at[2][i] * m->at[2][j];
      out->at[i][j] = out->at[j][i] = sum;
    }
}

/* The nearest rotation by the root of the quartic; what it is worth says the largest entry of R^T R - 1. */
INLINE vec rotation_by_root(const matrix *F, matrix *R) {
  float size[LANES];
  *(vec_u *)size = norm2(F);
  for (int l = 0; l < LANES; l++) size[l] = 1.0f / sqrtf(size[l] + 1e-30f);
  vec scale = load(size);
  matrix M, C, G;
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) M.at[i][j] = F->at[i][j] * scale;
  cofactors(&M, &C);
  gram(&M, &G);
  vec d = 8 * (M.at[0][0] * C.at[0][0] + M.at[0][1] * C.at[0][1] + M.at[0][2] * C.at[0][2]);
  vec constant = 1 - 4 * norm2(&C), root = splat1(1.7320508f), least = splat1(1e-5f);
  for (int step = 0; step < STEPS; step++) {
    vec square = root * root, slope = 4 * root * (square - 1) - d;
    root -= ((square - 2) * square - d * root + constant) / select_vec(slope > least, slope, least);
  }
  vec square = root * root, slope = 4 * root * (square - 1) - d;
  vec per_slope = 4 / select_vec(slope > least, slope, least);
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) {
      vec cubic = M.at[i][0] * G.at[0][j] + M.at[i][1] * G.at[1][j] + M.at[i][2] * G.at[2][j];
      R->at[i][j] = ((square + 1) * M.at[i][j] + 2 * root * C.at[i][j] - 2 * cubic) * per_slope;
    }
  gram(R, &G);
  vec worst = {0};
  for (int i = 0; i < 3; i++)
    for (int j = i; j < 3; j++) {
      vec error = G.at[i][j] - (i == j ? 1.0f : 0.0f);
      error = select_vec(error < 0, -error, error);
      worst = select_vec(error < worst, worst, error);
    }
  return worst;
}

/* One lane again where two roots meet and Newton's digits are lost: repeated squaring of Davenport's matrix, made
 * positive, leaves the quaternions of its largest eigenvalue. Any column is a rotation, the best or one of the best. */
static void rotation_by_squaring(const matrix *F, matrix *R, int lane) {
  double f[3][3], K[4][4], trace, shift = 1e-300;
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) f[i][j] = F->at[i][j][lane], shift += fabs(f[i][j]);
  K[0][0] = f[0][0] + f[1][1] + f[2][2], K[1][1] = f[0][0] - f[1][1] - f[2][2];
  K[2][2] = f[1][1] - f[0][0] - f[2][2], K[3][3] = f[2][2] - f[0][0] - f[1][1];
  K[0][1] = K[1][0] = f[2][1] - f[1][2], K[0][2] = K[2][0] = f[0][2] - f[2][0], K[0][3] = K[3][0] = f[1][0] - f[0][1];
  K[1][2] = K[2][1] = f[0][1] + f[1][0], K[1][3] = K[3][1] = f[0][2] + f[2][0], K[2][3] = K[3][2] = f[1][2] + f[2][1];
  for (int i = 0; i < 4; i++) K[i][i] += shift;
  for (int step = 0; step < SQUARINGS; step++) {
    double P[4][4];
    trace = K[0][0] + K[1][1] + K[2][2] + K[3][3];
    for (int i = 0; i < 4; i++)
      for (int j = 0; j < 4; j++) P[i][j] = K[i][j] / trace;
    for (int i = 0; i < 4; i++)
      for (int j = 0; j < 4; j++)
        K[i][j] = P[i][0] * P[0][j] + P[i][1] * P[1][j] + P[i][2] * P[2][j] + P[i][3] * P[3][j];
  }
  int best = 0;
  for (int i = 1; i < 4; i++) best = K[i][i] > K[best][best] ? i : best;
  double *q = K[best], length = sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  double w = q[0] / length, x = q[1] / length, y = q[2] / length, z = q[3] / length;
  double rotation[3][3] = {{1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)},
                           {2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)},
                           {2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)}};
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) R->at[i][j][lane] = (float)rotation[i][j];
}

INLINE void nearest_rotation(const matrix *F, matrix *R) {
  float error[LANES], size[LANES];
  *(vec_u *)error = rotation_by_root(F, R);
  *(vec_u *)size = norm2(F);
  for (int l = 0; l < LANES; l++)
    if (!(error[l] < 1e-5f) && isfinite(size[l])) rotation_by_squaring(F, R, l);
}

/* Edges of the cells times the inverse of what they were at rest. */
INLINE void deformation(const float *positions, int64_t nodes, const int32_t *vertices, vec inverse[3][3],
                        matrix *F) {
  for (int i = 0; i < 3; i++) {
    const float *p = positions + i * nodes;
    float edges[3][LANES];
    for (int k = 0; k < 3; k++)
      for (int l = 0; l < LANES; l++) edges[k][l] = p[vertices[(k + 1) * LANES + l]] - p[vertices[l]];
    for (int j = 0; j < 3; j++)
      F->at[i][j] = load(edges[0]) * inverse[0][j] + load(edges[1]) * inverse[1][j] + load(edges[2]) * inverse[2][j];
  }
}

/* The adjoint of deformation, added to d_positions. */
INLINE void scatter_to_vertices(const matrix *d_F, int64_t nodes, const int32_t *vertices, vec inverse[3][3],
                                float *d_positions) {
  for (int i = 0; i < 3; i++) {
    float *d = d_positions + i * nodes;
    float first[LANES], others[3][LANES];
    vec sum = {0};
    for (int k = 0; k < 3; k++) {
      vec other = d_F->at[i][0] * inverse[k][0] + d_F->at[i][1] * inverse[k][1] + d_F->at[i][2] * inverse[k][2];
      *(vec_u *)others[k] = other;
      sum += other;
    }
    *(vec_u *)first = -sum;
    for (int l = 0; l < LANES; l++) {
      d[vertices[l]] += first[l];
      for (int k = 0; k < 3; k++) d[vertices[(k + 1) * LANES + l]] += others[k][l];
    }
  }
}

/* Energies (images) and their gradients for images in [first, last). */
EXPORT CLONES void rigidity_energy(const float *positions, const int32_t *vertices, const float *inverse_edges,
                                   const float *weights, float *energies, float *gradient, int64_t first, int64_t last,
                                   int64_t groups, int64_t nodes) {
  memset(gradient + first * 3 * nodes, 0, (size_t)((last - first) * 3 * nodes) * sizeof(float));
  for (int64_t b = first; b < last; b++) {
    double energy = 0;
    for (int64_t g = 0; g < groups; g++) {
      const int32_t *corners = vertices + g * 4 * LANES;
      vec inverse[3][3], weight = load(weights + g * LANES);
      matrix F, R;
      for (int i = 0; i < 9; i++) inverse[i / 3][i % 3] = load(inverse_edges + (g * 9 + i) * LANES);
      deformation(positions + b * 3 * nodes, nodes, corners, inverse, &F);
      nearest_rotation(&F, &R);
      for (int i = 0; i < 9; i++) F.at[i / 3][i % 3] -= R.at[i / 3][i % 3];
      energy += lane_sum(weight * norm2(&F));
      for (int i = 0; i < 9; i++) F.at[i / 3][i % 3] *= 2 * weight;
      scatter_to_vertices(&F, nodes, corners, inverse, gradient + b * 3 * nodes);
    }
    energies[b] = (float)energy;
  }
}
