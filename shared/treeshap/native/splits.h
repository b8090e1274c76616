/* Which side of a split rows take: XGBoost's rule, to the bit. */
#ifndef SPLITS_H
#define SPLITS_H

#include "treeshap.h"
#include "vector.h"

/* A category in the set goes right; one that is none, or beyond the set, goes left. */
static inline int category_goes_left(const uint32_t *set, int words, float x)
{
    if (!(x >= 0.0f && x < 16777216.0f))
        return 1;
    uint32_t category = (uint32_t)x;
    return category / 32 >= (uint32_t)words || !(set[category / 32] >> (category % 32) & 1);
}

static inline int goes_left(const model *m, const node *n, float x)
{
    if (n->flags & CATEGORICAL)
        return x != x ? n->flags & DEFAULT_LEFT : category_goes_left(m->categories + n->categories, n->words, x);
    return n->flags & DEFAULT_LEFT ? !(x >= n->threshold) : x < n->threshold;
}

/* The same for a register of rows, of which `x` holds the node's feature. */
ALWAYS mask lanes_left(const model *m, const node *n, const float *x)
{
    if (n->flags & CATEGORICAL) {
        int32_t left[LANES];
        for (int lane = 0; lane < LANES; lane++)
            left[lane] = goes_left(m, n, x[lane]) ? -1 : 0;
        return from_ints(left);
    }
    const vec threshold = all_of(n->threshold);
    return n->flags & DEFAULT_LEFT ? not_greater_equal(load(x), threshold) : less(load(x), threshold);
}

/* Two leaves under a feature that is new: what they give together is the product so far times one of two numbers. */
ALWAYS int is_simple_pair(const node *n)
{
    return n->left < 0 && n->right < 0 && !(n->flags & REPEATED);
}

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

#endif
