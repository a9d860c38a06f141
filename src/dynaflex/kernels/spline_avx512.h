/* Reading images between their pixels sixteen points at a time, with AVX-512: a vector holds one row of four pixels of
 * four points. Asked for at run time; elsewhere the plain loops of spline.h serve. */
#ifndef DYNAFLEX_SPLINE_AVX512_H
#define DYNAFLEX_SPLINE_AVX512_H

#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f")))
#define AVX512_INLINE static inline __attribute__((always_inline)) AVX512

AVX512_INLINE __m512 row_of_four_points(const float *row, const int32_t *offset) {
  __m512 four = _mm512_castps128_ps512(_mm_loadu_ps(row + offset[0]));
  four = _mm512_insertf32x4(four, _mm_loadu_ps(row + offset[4]), 1);
  four = _mm512_insertf32x4(four, _mm_loadu_ps(row + offset[8]), 2);
  return _mm512_insertf32x4(four, _mm_loadu_ps(row + offset[12]), 3);
}

/* Vector k holds the four columns of points k, k + 4, k + 8 and k + 12; then column k of all sixteen in their order. */
AVX512_INLINE void columns_of_sixteen(__m512 v[4]) {
  __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(v[0], v[1])), b = _mm512_castps_pd(_mm512_unpacklo_ps(v[2], v[3]));
  __m512d c = _mm512_castps_pd(_mm512_unpackhi_ps(v[0], v[1])), d = _mm512_castps_pd(_mm512_unpackhi_ps(v[2], v[3]));
  v[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), v[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
  v[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d)), v[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
}

/* Which lanes of the taps belong to the points of vector k. */
AVX512_INLINE __m512i points_of(int k) {
  return _mm512_add_epi32(_mm512_set1_epi32(k), _mm512_set_epi32(12, 12, 12, 12, 8, 8, 8, 8, 4, 4, 4, 4, 0, 0, 0, 0));
}

static inline AVX512 void sample_avx512(const footprint *f, int count, const float *image, int64_t width,
                                        float *value) {
  for (int i = 0; i < count; i += LANES) {
    __m512 along[4];
    for (int k = 0; k < 4; k++) {
      __m512i points = points_of(k);
      along[k] = _mm512_setzero_ps();
      for (int j = 0; j < 4; j++) {
        __m512 row = row_of_four_points(image + j * width, f->offset + i + k);
        along[k] = _mm512_fmadd_ps(row, _mm512_permutexvar_ps(points, _mm512_loadu_ps(f->wy[j] + i)), along[k]);
      }
    }
    columns_of_sixteen(along);
    __m512 sum = _mm512_setzero_ps();
    for (int c = 0; c < 4; c++) sum = _mm512_fmadd_ps(along[c], _mm512_loadu_ps(f->wx[c] + i), sum);
    _mm512_storeu_ps(value + i, _mm512_mul_ps(sum, _mm512_loadu_ps(f->inside + i)));
  }
}

static inline AVX512 void sample_slope_avx512(const footprint *f, int count, const float *image, int64_t width,
                                              float *value, float *slope_x, float *slope_y) {
  for (int i = 0; i < count; i += LANES) {
    __m512 along[4], slope[4];
    for (int k = 0; k < 4; k++) {
      __m512i points = points_of(k);
      along[k] = slope[k] = _mm512_setzero_ps();
      for (int j = 0; j < 4; j++) {
        __m512 row = row_of_four_points(image + j * width, f->offset + i + k);
        along[k] = _mm512_fmadd_ps(row, _mm512_permutexvar_ps(points, _mm512_loadu_ps(f->wy[j] + i)), along[k]);
        slope[k] = _mm512_fmadd_ps(row, _mm512_permutexvar_ps(points, _mm512_loadu_ps(f->dy[j] + i)), slope[k]);
      }
    }
    columns_of_sixteen(along);
    columns_of_sixteen(slope);
    __m512 sum = _mm512_setzero_ps(), sum_x = sum, sum_y = sum, inside = _mm512_loadu_ps(f->inside + i);
    for (int c = 0; c < 4; c++) {
      __m512 across = _mm512_loadu_ps(f->wx[c] + i);
      sum = _mm512_fmadd_ps(along[c], across, sum);
      sum_x = _mm512_fmadd_ps(along[c], _mm512_loadu_ps(f->dx[c] + i), sum_x);
      sum_y = _mm512_fmadd_ps(slope[c], across, sum_y);
    }
    _mm512_storeu_ps(value + i, _mm512_mul_ps(sum, inside));
    _mm512_storeu_ps(slope_x + i, _mm512_mul_ps(sum_x, inside));
    _mm512_storeu_ps(slope_y + i, _mm512_mul_ps(sum_y, inside));
  }
}

#endif
