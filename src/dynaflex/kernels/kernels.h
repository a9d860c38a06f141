/* Shared by the kernels: plain C11 with GCC/clang vector extensions, called through ctypes. No OpenMP: Python threads
 * call a kernel on disjoint ranges. CLONES makes one version per instruction set; the loader picks the best at run time. */
#ifndef DYNAFLEX_KERNELS_H
#define DYNAFLEX_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

#endif
