/* Tells which kernels this machine can run, and whether the compiler's layout is theirs. */
#include "treeshap.h"

enum { PORTABLE, AVX2, AVX512 };

/* Whether this machine can run a kernel: what the processor has and the system saves. */
TS_VISIBLE int treeshap_runs(int kernel)
{
#ifdef TREESHAP_X86
    __builtin_cpu_init();
    if (kernel == AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (kernel == AVX2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return kernel == PORTABLE;
}

/* The size of a node and of a tree. */
TS_VISIBLE int treeshap_layout(void) { return (int)(sizeof(ts_node) << 16 | sizeof(ts_tree)); }
