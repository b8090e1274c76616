/* Which side of a split rows take: XGBoost's rule, to the bit. */
#ifndef TREESHAP_SPLITS_H
#define TREESHAP_SPLITS_H

#include "treeshap.h"
#include "vector.h"

/* A category in the set goes right; any other number, and one beyond the set, goes left. */
static inline int ts_category_goes_left(const uint32_t *set, int words, float x)
{
    if (!(x >= 0.0f && x < 16777216.0f))
        return 1;
    uint32_t category = (uint32_t)x;
    return category / 32 >= (uint32_t)words || !(set[category / 32] >> (category % 32) & 1);
}

static inline int ts_goes_left(const ts_model *m, const ts_node *n, float x)
{
    if (n->flags & TS_CATEGORICAL)
        return x != x ? n->flags & TS_DEFAULT_LEFT : ts_category_goes_left(m->categories + n->categories, n->words, x);
    return n->flags & TS_DEFAULT_LEFT ? !(x >= n->threshold) : x < n->threshold;
}

/* The same for a register of rows, of which `x` holds the node's feature. */
TS_INLINE mask ts_lanes_left(const ts_model *m, const ts_node *n, const float *x)
{
    if (n->flags & TS_CATEGORICAL) {
        _Alignas(64) int32_t left[VEC_LANES];
        for (int lane = 0; lane < VEC_LANES; lane++)
            left[lane] = ts_goes_left(m, n, x[lane]) ? -1 : 0;
        return mask_from_ints(left);
    }
    const vec lanes = *(const vec *)x, threshold = vec_all(n->threshold);
    return n->flags & TS_DEFAULT_LEFT ? vec_not_greater_equal(lanes, threshold) : vec_less(lanes, threshold);
}

#endif
