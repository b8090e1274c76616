/* The entry points of the shared object, and which kernel this machine can run. */
#include "treeshap.h"

#define VISIBLE __attribute__((visibility("default")))

enum { PORTABLE, AVX2, AVX512, KERNELS };

/* Whether this machine can run a kernel: what the processor has and the system saves. */
VISIBLE int treeshap_runs(int kernel)
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

/* The size of a node and of a tree: the compiler's layout must be this one. */
VISIBLE int treeshap_layout(void) { return (int)(sizeof(ts_node) << 16 | sizeof(ts_tree)); }

VISIBLE int treeshap_explain(const ts_model *m, const float *rows, int64_t count, float *out, int kernel)
{
#ifdef TREESHAP_X86
    if (kernel == AVX512)
        return ts_explain_avx512(m, rows, count, out);
    if (kernel == AVX2)
        return ts_explain_avx2(m, rows, count, out);
#endif
    return kernel == PORTABLE ? ts_explain_portable(m, rows, count, out) : -2;
}

VISIBLE int treeshap_pairs(const ts_model *m, const ts_pair_plan *plan, const float *rows, int64_t count, float *out,
                           int kernel)
{
#ifdef TREESHAP_X86
    if (kernel == AVX512)
        return ts_pairs_avx512(m, plan, rows, count, out);
    if (kernel == AVX2)
        return ts_pairs_avx2(m, plan, rows, count, out);
#endif
    return kernel == PORTABLE ? ts_pairs_portable(m, plan, rows, count, out) : -2;
}
