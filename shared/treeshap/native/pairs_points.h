/* pairs.c's work for POINTS points, a constant, so that loops over points are unrolled. Included once for each number,
 * so it has no include guard. */
#include <math.h>
#include <string.h>

#include "pairs.h"

#ifndef POINTS
#define POINTS 1 /* for a look at this file alone */
#endif

/* Adds to the pairs of the node's feature and each other one of the path what `own`, the sum of its h G, gives. */
TS_INLINE void TS_JOIN(add_pairs, POINTS)(const ts_pair_pass *p, const ts_node *n, const vec *own)
{
    const ts_pair_plan *plan = p->b->plan;
    const int32_t *slot = plan->slots + plan->first_slot[n - p->b->m->nodes];
    for (int place = 0; place < n->above; place++) {
        if (place == n->bit)
            continue;
        const vec *gain = p->gains + (size_t)place * POINTS;
        float *to = p->b->chunk + (size_t)*slot++ * (size_t)plan->block + p->row;
        vec total = vec_load(to);
        for (int q = 0; q < POINTS; q++)
            total = vec_multiply_add(own[q], gain[q], total);
        vec_store(to, total);
    }
}

/* The gain of a feature at each point: by its bit the one for a set bit, or that of a lost one. */
TS_INLINE void TS_JOIN(take_gain, POINTS)(const ts_pair_pass *p, const float *gain, mask set, vec *to)
{
    for (int q = 0; q < POINTS; q++)
        to[q] = vec_choose(set, vec_all(gain[q]), vec_all(p->lost[q]));
}

/* Two leaves under a new feature: h, and h G, are the product times one of two numbers each. */
TS_INLINE void TS_JOIN(visit_two_leaves, POINTS)(const ts_pair_pass *p, const ts_node *n, const float *factors,
                                                 mask left, vec *h)
{
    const vec *product = p->products + (size_t)n->level * POINTS;
    const float to_left = (float)((1 - n->left_ratio) * n->left_value - n->right_ratio * n->right_value);
    const float to_right = (float)((1 - n->right_ratio) * n->right_value - n->left_ratio * n->left_value);
    const vec side = vec_choose(left, vec_all(to_left), vec_all(to_right));
    vec own[POINTS];
    for (int q = 0; q < POINTS; q++) {
        own[q] = vec_multiply(vec_multiply(product[q], vec_all(p->root_weights[q])), side);
        h[q] = vec_multiply(product[q], vec_choose(left, vec_all(factors[q]), vec_all(factors[POINTS + q])));
    }
    TS_JOIN(add_pairs, POINTS)(p, n, own);
}

static void TS_JOIN(visit, POINTS)(const ts_pair_pass *p, const ts_node *n, vec *h);

/* One side of a split: leaves its h, and adds h G to `own`. */
TS_INLINE void TS_JOIN(visit_side, POINTS)(const ts_pair_pass *p, const ts_node *n, int right, mask side, mask before,
                                           vec *h, vec *own)
{
    const float *factors = p->factors + (size_t)(n - p->root) * TS_FACTORS * POINTS + (right ? 3 * POINTS : 0);
    const vec *product = p->products + (size_t)n->level * POINTS;
    const int child = right ? n->right : n->left;
    vec *to = child < 0 ? h : p->products + (size_t)(n->level + 1) * POINTS;
    const mask set = mask_and(side, before);
    vec gain[POINTS];
    TS_JOIN(take_gain, POINTS)(p, factors + 2 * POINTS, set, gain);
    for (int q = 0; q < POINTS; q++)
        to[q] = vec_multiply(product[q], vec_choose(set, vec_all(factors[q]), vec_all(factors[POINTS + q])));
    if (n->flags & TS_REPEATED) { /* where the bit was lost above, its factor only shrinks by this split's share */
        const double share = right ? n->right_share : n->left_share;
        const double value = child >= 0 ? 1 : right ? n->right_value : n->left_value;
        for (int q = 0; q < POINTS; q++)
            to[q] = vec_choose(before, to[q], vec_multiply(product[q], vec_all((float)(share * value))));
    }
    if (child >= 0) {
        p->bits[n->bit] = set;
        memcpy(p->gains + (size_t)n->bit * POINTS, gain, sizeof gain);
        TS_JOIN(visit, POINTS)(p, p->b->m->nodes + child, h);
    }
    for (int q = 0; q < POINTS; q++)
        own[q] = vec_multiply_add(h[q], gain[q], own[q]);
}

/* Adds what the splits from this node on give, and leaves in h the sum of v * product of all leaves below. */
static void TS_JOIN(visit, POINTS)(const ts_pair_pass *p, const ts_node *n, vec *h)
{
    const float *factors = p->factors + (size_t)(n - p->root) * TS_FACTORS * POINTS;
    const mask left = ts_lanes_left(p->b->m, n, p->b->x + (size_t)n->column * (size_t)p->b->plan->block + p->row);
    if (ts_is_simple_pair(n)) {
        TS_JOIN(visit_two_leaves, POINTS)(p, n, factors, left, h);
        return;
    }
    const mask before = n->flags & TS_REPEATED ? p->bits[n->bit] : mask_all(), right = mask_and_not(mask_all(), left);
    vec *from_left = p->sums + (size_t)n->level * 2 * POINTS, *from_right = from_left + POINTS;
    vec own[POINTS];
    for (int q = 0; q < POINTS; q++)
        own[q] = vec_all(0.0f);
    TS_JOIN(visit_side, POINTS)(p, n, 0, left, before, from_left, own);
    TS_JOIN(visit_side, POINTS)(p, n, 1, right, before, from_right, own);
    for (int q = 0; q < POINTS; q++)
        h[q] = vec_add(from_left[q], from_right[q]);
    if (n->flags & TS_REPEATED) {
        vec *gain = p->gains + (size_t)n->bit * POINTS;
        p->bits[n->bit] = before;
        TS_JOIN(take_gain, POINTS)(p, factors + 6 * POINTS, before, gain);
        for (int q = 0; q < POINTS; q++)
            own[q] = vec_add(own[q], vec_multiply(vec_multiply(h[q], gain[q]), vec_all(-1.0f)));
    }
    TS_JOIN(add_pairs, POINTS)(p, n, own);
}

static void TS_JOIN(add_tree, POINTS)(ts_pair_block *b, const ts_tree *t, const float *factors)
{
    const double *rule = b->m->points + (size_t)POINTS * 4 * TS_MOST_POINTS;
    const ts_node *root = b->m->nodes + t->first;
    float lost[POINTS], root_weights[POINTS];
    for (int q = 0; q < POINTS; q++) {
        const double root_weight = sqrt(rule[2 * TS_MOST_POINTS + q]);
        root_weights[q] = (float)root_weight;
        lost[q] = (float)(-root_weight / rule[TS_MOST_POINTS + q]);
    }
    ts_pair_pass p = {.b = b,
                      .root = root,
                      .factors = factors,
                      .lost = lost,
                      .root_weights = root_weights,
                      .products = (vec *)b->products,
                      .sums = (vec *)b->sums,
                      .gains = (vec *)b->gains,
                      .bits = (mask *)b->bits};
    vec h[POINTS];
    for (p.row = 0; p.row < b->rows; p.row += VEC_LANES) {
        for (int q = 0; q < POINTS; q++)
            p.products[q] = vec_all(1.0f);
        TS_JOIN(visit, POINTS)(&p, root, h);
    }
}

#undef POINTS
