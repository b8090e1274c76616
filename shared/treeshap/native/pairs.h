/* Interactions: what each two features of a path give together.
 *
 * A leaf of value v gives the pair i, j of its path's features, with b the row's bits and r the cover ratios,
 *     v / 2 (b_i - r_i)(b_j - r_j) * integral over t from 0 to 1 of the product over k != i, j of F_k,
 * which is the sum over the points of v / 2 * product * G_i G_j / w. As for values the products are made on the way
 * down, and the sums h of v * product over the leaves below come back up. Here each feature of the path also keeps its
 * gain G at each point: at a split on feature i, h G_i / w of both sides, times G_j of each feature j above, is what
 * the pair i, j gets of the leaves below. Where i is repeated, what h gave with its earlier gain is taken off. So a
 * split costs as many sums over the points as it has features above it, and no leaf costs any.
 */
#ifndef TREESHAP_PAIRS_H
#define TREESHAP_PAIRS_H

#include "quadrature.h"

/* Adds to the pairs of the node's feature and each other one of the path what `own`, the sum of its h G / w, gives. */
TS_INLINE void ts_add_pairs(const ts_pass *p, const ts_node *n, const vec *own, const int points)
{
    const ts_pair_plan *plan = p->b->plan;
    const int32_t *slot = plan->slots + plan->first_slot[n - p->nodes];
    for (int place = 0; place < n->above; place++) {
        if (place == n->bit)
            continue;
        const vec *gain = p->gains + (size_t)place * points;
        vec *to = (vec *)ts_lanes(p, p->b->chunk, *slot++), total = *to;
        for (int q = 0; q < points; q++)
            total += own[q] * gain[q];
        *to = total;
    }
}

/* The gain of a feature at each point: by its bit the one for a set bit, or that of a lost one. */
TS_INLINE void ts_take_gain(const ts_pass *p, const float *gain, mask set, vec *to, const int points)
{
    for (int q = 0; q < points; q++)
        to[q] = vec_choose(set, vec_all(gain[q]), vec_all(p->lost[q]));
}

/* One side of a split: leaves its h, and adds h G to `own`. */
TS_INLINE void ts_add_side(const ts_pass *p, const ts_node *n, int right, mask side, mask before, vec *h, vec *own,
                           const int points, ts_visit *visit)
{
    const mask set = side & before;
    vec *gain = p->gains + (size_t)n->bit * points;
    ts_take_gain(p, ts_factors(p, n, points) + (right ? 5 : 2) * points, set, gain, points);
    ts_visit_child(p, n, right, set, before, mask_all(), h, points, visit);
    for (int q = 0; q < points; q++)
        own[q] += h[q] * gain[q];
}

TS_INLINE void ts_visit_pairs(const ts_pass *p, const ts_node *n, vec *h, const int points, ts_visit *visit)
{
    const mask left = ts_lanes_left(p->b->m, n, ts_lanes(p, p->b->x, n->column)),
               before = n->flags & TS_REPEATED ? p->bits[n->bit] : mask_all();
    vec own[TS_MOST_POINTS];
    if (ts_is_simple_pair(n)) {
        const vec side = ts_visit_simple_pair(p, n, left, h, points);
        for (int q = 0; q < points; q++)
            own[q] = p->products[(size_t)n->level * points + q] * side;
        ts_add_pairs(p, n, own, points);
        return;
    }
    vec *from_left = p->sums + (size_t)n->level * 2 * points, *from_right = from_left + points;
    for (int q = 0; q < points; q++)
        own[q] = vec_all(0.0f);
    ts_add_side(p, n, 0, left, before, from_left, own, points, visit);
    ts_add_side(p, n, 1, ~left, before, from_right, own, points, visit);
    for (int q = 0; q < points; q++)
        h[q] = from_left[q] + from_right[q];
    if (n->flags & TS_REPEATED) {
        vec *gain = p->gains + (size_t)n->bit * points;
        p->bits[n->bit] = before;
        ts_take_gain(p, ts_factors(p, n, points) + 6 * points, before, gain, points);
        for (int q = 0; q < points; q++)
            own[q] -= h[q] * gain[q];
    }
    for (int q = 0; q < points; q++)
        own[q] *= p->one_over_w[q];
    ts_add_pairs(p, n, own, points);
}

#endif
