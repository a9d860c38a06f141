/* The number by which Python knows whether this library is the one that it was written for. */
#include "kernels.h"

EXPORT int64_t dynaflex_interface(void) { return INTERFACE; }
