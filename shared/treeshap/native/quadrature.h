/* Trees without tables: the Shapley weights as an integral, which Gauss and Legendre's points give exactly.
 *
 * With b the row's bit and r the cover ratio of each feature, a leaf of value v gives feature j
 *     v (b_j - r_j) * integral over t from 0 to 1 of the product over i != j of F_i,  F_i = t b_i + (1 - t) r_i.
 * Going down, each node has the product over all features so far, at each point t. Coming back, the leaves'
 * v * product are summed up (h), and at the last split on a feature above them its factor is divided out:
 *     G(b, r) = w (b - r) / F, which is -w / (1 - t) for b = 0.
 * Where a feature is repeated, the lower split has changed its factor: what the leaves below it gave to the upper
 * split is taken back there.
 */
#ifndef TREESHAP_QUADRATURE_H
#define TREESHAP_QUADRATURE_H

#include "block.h"
#include "splits.h"
#include "vector.h"

typedef struct {
    ts_block *b;
    const ts_node *nodes;     /* the whole model's */
    const ts_node *root;
    const float *factors;  /* FACTORS x points for each node of the tree */
    vec *products;         /* points for each level */
    vec *sums;             /* 2 x points for each level */
    mask *bits;            /* by the features' places on the path */
    const float *w, *zero; /* the weights, and G for b = 0 */
    int row;               /* the first of the rows that are visited */
} ts_pass;

TS_INLINE mask lanes_to_left(const ts_pass *p, const ts_node *n)
{
    return ts_lanes_left(p->b->m, n, p->b->x + (size_t)n->column * TS_BLOCK + p->row);
}

TS_INLINE void add_where(float *to, mask m, float value)
{
    vec_store(to, vec_add(vec_load(to), vec_choose(m, vec_all(value), vec_all(0.0f))));
}

#endif
