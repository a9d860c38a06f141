/* The coordinate network, forward and recomputing backward, without storing activations.
 *
 *   h_0 = elu(spatial[:, n] + latent[b]),   h_l = elu(W_l h_(l-1) + bias_l),   out = W_out h_L
 *
 * spatial (H, N), latent (B, H), W (L, H, H), bias (L, H), W_out (3, H), out (B, 3, N). N is a multiple of LANES: a
 * lane is a point, so every operation is a full vector. A call handles points [first, last), multiples of LANES. */
#include "kernels.h"

#include <string.h>

#define MAX_LAYERS 12
#define MAX_WIDTH 64

/* exp(x) for x <= 0: 2^n times a degree-6 polynomial on [-1/2, 1/2], relative error below 1e-7. */
INLINE vec exp_negative(vec x) {
  x = select_vec(x > -87.0f, x, splat1(-87.0f));
  vec t = x * 1.44269504f;
  ivec n = __builtin_convertvector(t - 0.5f, ivec);
  vec f = t - __builtin_convertvector(n, vec);
  vec p = f * 1.535336188e-4f + 1.339887440e-3f;
  p = p * f + 9.618437357e-3f;
  p = p * f + 5.550332471e-2f;
  p = p * f + 2.402264791e-1f;
  p = p * f + 6.931472028e-1f;
  p = p * f + 1.0f;
  return p * (vec)((n + 127) << 23);
}

INLINE vec elu(vec x) {
  ivec positive = x > 0.0f;
  return select_vec(positive, x, exp_negative(select_vec(positive, splat1(0), x)) - 1.0f);
}

/* The derivative of elu as a function of its value. */
INLINE vec elu_slope(vec y) { return select_vec(y < 0.0f, y, splat1(0)) + 1.0f; }

/* out = bias + weights in, weights (H, H) row-major. */
INLINE void affine(const int H, const float *weights, const float *bias, const vec *in, vec *out) {
  for (int o = 0; o < H; o += 8) {
    const float *w = weights + o * H;
    vec a0 = splat1(bias ? bias[o] : 0), a1 = splat1(bias ? bias[o + 1] : 0);
    vec a2 = splat1(bias ? bias[o + 2] : 0), a3 = splat1(bias ? bias[o + 3] : 0);
    vec a4 = splat1(bias ? bias[o + 4] : 0), a5 = splat1(bias ? bias[o + 5] : 0);
    vec a6 = splat1(bias ? bias[o + 6] : 0), a7 = splat1(bias ? bias[o + 7] : 0);
    for (int k = 0; k < H; k++) {
      vec v = in[k];
      a0 += v * w[k], a1 += v * w[H + k], a2 += v * w[2 * H + k], a3 += v * w[3 * H + k];
      a4 += v * w[4 * H + k], a5 += v * w[5 * H + k], a6 += v * w[6 * H + k], a7 += v * w[7 * H + k];
    }
    out[o] = a0, out[o + 1] = a1, out[o + 2] = a2, out[o + 3] = a3;
    out[o + 4] = a4, out[o + 5] = a5, out[o + 6] = a6, out[o + 7] = a7;
  }
}

INLINE void hidden(const int H, int layers, const float *spatial, int64_t points, int64_t n, const float *latent,
                   const float *weights, const float *biases, vec *h) {
  for (int k = 0; k < H; k++) h[k] = elu(load(spatial + k * points + n) + latent[k]);
  for (int l = 0; l < layers; l++) {
    vec *next = h + (l + 1) * H;
    affine(H, weights + l * H * H, biases + l * H, h + l * H, next);
    for (int k = 0; k < H; k++) next[k] = elu(next[k]);
  }
}

INLINE void forward(const int H, int layers, const float *spatial, const float *latent, const float *weights,
                    const float *biases, const float *w_out, float *out, int64_t batch, int64_t first, int64_t last,
                    int64_t points) {
  vec h[(MAX_LAYERS + 1) * MAX_WIDTH];
  for (int64_t n = first; n < last; n += LANES)
    for (int64_t b = 0; b < batch; b++) {
      hidden(H, layers, spatial, points, n, latent + b * H, weights, biases, h);
      for (int j = 0; j < 3; j++) {
        vec sum = splat1(0);
        for (int k = 0; k < H; k++) sum += h[layers * H + k] * w_out[j * H + k];
        *(vec_u *)(out + (b * 3 + j) * points + n) = sum;
      }
    }
}

/* d_weights[o][k] += sum over lanes of g[o] h[k]: h is turned point-major, so that k runs along the vector. */
INLINE void outer(const int H, const vec *g, const vec *h, float *d_weights) {
  float turned[LANES][MAX_WIDTH] __attribute__((aligned(64)));
  for (int k = 0; k < H; k++)
    for (int i = 0; i < LANES; i++) turned[i][k] = h[k][i];
  const float *scalar = (const float *)g;
  for (int o = 0; o < H; o += 4)
    for (int k = 0; k < H; k += 2 * LANES) {
      float *d = d_weights + o * H + k;
      vec a0 = load(d), a1 = load(d + H), a2 = load(d + 2 * H), a3 = load(d + 3 * H);
      vec b0 = load(d + LANES), b1 = load(d + H + LANES), b2 = load(d + 2 * H + LANES), b3 = load(d + 3 * H + LANES);
      for (int i = 0; i < LANES; i++) {
        vec u = *(const vec *)(turned[i] + k), v = *(const vec *)(turned[i] + k + LANES);
        float s0 = scalar[o * LANES + i], s1 = scalar[(o + 1) * LANES + i];
        float s2 = scalar[(o + 2) * LANES + i], s3 = scalar[(o + 3) * LANES + i];
        a0 += u * s0, a1 += u * s1, a2 += u * s2, a3 += u * s3;
        b0 += v * s0, b1 += v * s1, b2 += v * s2, b3 += v * s3;
      }
      *(vec_u *)d = a0, *(vec_u *)(d + H) = a1, *(vec_u *)(d + 2 * H) = a2, *(vec_u *)(d + 3 * H) = a3;
      *(vec_u *)(d + LANES) = b0, *(vec_u *)(d + H + LANES) = b1;
      *(vec_u *)(d + 2 * H + LANES) = b2, *(vec_u *)(d + 3 * H + LANES) = b3;
    }
}

/* weights_t holds the transposed W. The d_ buffers of parameters belong to this call alone and are added to. */
INLINE void backward(const int H, int layers, const float *spatial, const float *latent, const float *weights,
                     const float *weights_t, const float *biases, const float *w_out, const float *d_out,
                     float *d_spatial, float *d_latent, float *d_weights, float *d_biases, float *d_w_out,
                     int64_t batch, int64_t first, int64_t last, int64_t points) {
  vec h[(MAX_LAYERS + 1) * MAX_WIDTH], gh[MAX_WIDTH], ga[MAX_WIDTH];
  vec sum_spatial[MAX_WIDTH], sum_out[3 * MAX_WIDTH] = {0}, sum_bias[MAX_LAYERS * MAX_WIDTH] = {0};
  for (int64_t n = first; n < last; n += LANES) {
    memset(sum_spatial, 0, sizeof sum_spatial);
    for (int64_t b = 0; b < batch; b++) {
      hidden(H, layers, spatial, points, n, latent + b * H, weights, biases, h);
      const float *g = d_out + b * 3 * points + n;
      vec g0 = load(g), g1 = load(g + points), g2 = load(g + 2 * points);
      const vec *top = h + layers * H;
      for (int k = 0; k < H; k++) {
        gh[k] = g0 * w_out[k] + g1 * w_out[H + k] + g2 * w_out[2 * H + k];
        sum_out[k] += g0 * top[k], sum_out[H + k] += g1 * top[k], sum_out[2 * H + k] += g2 * top[k];
      }
      for (int l = layers - 1; l >= 0; l--) {
        for (int k = 0; k < H; k++) {
          ga[k] = gh[k] * elu_slope(h[(l + 1) * H + k]);
          sum_bias[l * H + k] += ga[k];
        }
        outer(H, ga, h + l * H, d_weights + l * H * H);
        affine(H, weights_t + l * H * H, NULL, ga, gh);
      }
      for (int k = 0; k < H; k++) {
        vec q = gh[k] * elu_slope(h[k]);
        sum_spatial[k] += q;
        d_latent[b * H + k] += lane_sum(q);
      }
    }
    for (int k = 0; k < H; k++) *(vec_u *)(d_spatial + k * points + n) = sum_spatial[k];
  }
  for (int k = 0; k < 3 * H; k++) d_w_out[k] += lane_sum(sum_out[k]);
  for (int k = 0; k < layers * H; k++) d_biases[k] += lane_sum(sum_bias[k]);
}

/* One entry point per width: a constant H lets the compiler keep rows in registers. */
#define ENTRY(H)                                                                                                      \
  EXPORT CLONES void mlp_forward_##H(const float *spatial, const float *latent, const float *weights,                 \
                                     const float *biases, const float *w_out, float *out, int64_t layers,             \
                                     int64_t batch, int64_t first, int64_t last, int64_t points) {                    \
    forward(H, (int)layers, spatial, latent, weights, biases, w_out, out, batch, first, last, points);                \
  }                                                                                                                   \
  EXPORT CLONES void mlp_backward_##H(                                                                                \
      const float *spatial, const float *latent, const float *weights, const float *weights_t, const float *biases,   \
      const float *w_out, const float *d_out, float *d_spatial, float *d_latent, float *d_weights, float *d_biases,   \
      float *d_w_out, int64_t layers, int64_t batch, int64_t first, int64_t last, int64_t points) {                   \
    backward(H, (int)layers, spatial, latent, weights, weights_t, biases, w_out, d_out, d_spatial, d_latent,          \
             d_weights, d_biases, d_w_out, batch, first, last, points);                                               \
  }

ENTRY(32)
ENTRY(64)
