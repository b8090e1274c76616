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

/* The sizes of the structures that callers fill, by which an object that was built from other sources is refused. */
TS_VISIBLE int64_t treeshap_layout(void)
{
    return (int64_t)sizeof(ts_node) << 48 | (int64_t)sizeof(ts_tree) << 32 | (int64_t)sizeof(ts_model) << 16 |
           (int64_t)sizeof(ts_pair_plan);
}
