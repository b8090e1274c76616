/* Values by quadrature. */
#ifndef TREESHAP_VALUES_H
#define TREESHAP_VALUES_H

#include "quadrature.h"

/* The sum over all points of h G. */
TS_INLINE vec ts_contribution(const ts_pass *p, const vec *h, const float *gain, mask set, const int points)
{
    vec with = vec_all(0.0f), without = with;
    for (int q = 0; q < points; q++) {
        with += h[q] * gain[q];
        without += h[q] * p->lost[q];
    }
    return vec_choose(set, with, without);
}

/* One side of a split: leaves its h, and returns what the split's feature gets of it. */
TS_INLINE vec ts_value_of_side(const ts_pass *p, const ts_node *n, int right, mask side, mask before, mask reached,
                               vec *h, const int points, ts_visit *visit)
{
    const mask set = side & before;
    ts_visit_child(p, n, right, set, before, reached & side, h, points, visit);
    return ts_contribution(p, h, ts_factors(p, n, points) + (right ? 5 : 2) * points, set, points);
}

TS_INLINE void ts_visit_values(const ts_pass *p, const ts_node *n, mask reached, vec *h, const int points,
                               ts_visit *visit)
{
    const mask left = ts_lanes_left(p->b->m, n, ts_lanes(p, p->b->x, n->column)), right = ~left,
               before = n->flags & TS_REPEATED ? p->bits[n->bit] : mask_all();
    vec *margin = (vec *)(p->b->margin + p->row), *value = (vec *)ts_lanes(p, p->b->chunk, n->column);
    if (n->left < 0)
        *margin += vec_choose(reached & left, vec_all(n->left_value), vec_all(0.0f));
    if (n->right < 0)
        *margin += vec_choose(reached & right, vec_all(n->right_value), vec_all(0.0f));
    if (ts_is_simple_pair(n)) {
        const vec *product = p->products + (size_t)n->level * points;
        vec total = vec_all(0.0f);
        for (int q = 0; q < points; q++)
            total += product[q] * p->w[q];
        *value += total * ts_visit_simple_pair(p, n, left, h, points);
        return;
    }
    vec *from_left = p->sums + (size_t)n->level * 2 * points, *from_right = from_left + points;
    vec given = ts_value_of_side(p, n, 0, left, before, reached, from_left, points, visit);
    given += ts_value_of_side(p, n, 1, right, before, reached, from_right, points, visit);
    for (int q = 0; q < points; q++)
        h[q] = from_left[q] + from_right[q];
    if (n->flags & TS_REPEATED) {
        p->bits[n->bit] = before;
        given -= ts_contribution(p, h, ts_factors(p, n, points) + 6 * points, before, points);
    }
    *value += given;
}

#endif
