/* Shared by the kernels: plain C11 with GCC/clang vector extensions, called through ctypes. No OpenMP: Python threads
 * call a kernel on disjoint ranges. CLONES makes one version per instruction set; the loader picks the best at run
 * time. */
#ifndef DYNAFLEX_KERNELS_H
#define DYNAFLEX_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Raise it, here and in native/signatures.py, with every change of an argument, of the layout of an array, or of what
 * either means: a library that was not compiled anew is then refused, not called. */
#define INTERFACE 2

#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

/* Sixteen floats at once: the compiler cuts them to what the machine has. */
#define LANES 16

typedef float vec __attribute__((vector_size(64)));
typedef float vec_u __attribute__((vector_size(64), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(64)));

INLINE vec load(const float *p) { return *(const vec_u *)p; }
INLINE vec splat1(float x) { return (vec){0} + x; }
INLINE vec select_vec(ivec mask, vec yes, vec no) { return (vec)((mask & (ivec)yes) | (~mask & (ivec)no)); }
INLINE float lane_sum(vec v) {
  float sum = 0;
  for (int i = 0; i < LANES; i++) sum += v[i];
  return sum;
}

#endif
