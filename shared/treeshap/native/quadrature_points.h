/* quadrature.h's work for POINTS points, a constant, so that loops over points are unrolled. Included once for each
 * number, so it has no include guard. */
#include "quadrature.h"

#ifndef POINTS
#define POINTS 1 /* for a look at this file alone */
#endif

/* The sum of a pair's leaves, times the product: where the row goes left (first), and where right. */
static void TS_JOIN(make_pair_factors, POINTS)(const ts_node *n, const double *t, const double *u, float *to)
{
    for (int q = 0; q < POINTS; q++) {
        const double left = u[q] * n->left_ratio * n->left_value, right = u[q] * n->right_ratio * n->right_value;
        to[q] = (float)(left + t[q] * n->left_value + right);
        to[POINTS + q] = (float)(left + right + t[q] * n->right_value);
    }
}

/* The factors of a side of a split, where its bit stays and where it is lost here; and its G. */
TS_INLINE void TS_JOIN(make_side_factors, POINTS)(const double *rule, double ratio, double value, const double *above,
                                                  float *to)
{
    const double *t = rule, *u = rule + TS_MOST_POINTS, *w = rule + 2 * TS_MOST_POINTS;
    for (int q = 0; q < POINTS; q++) {
        const double lost = u[q] * ratio, kept = lost + t[q];
        to[q] = (float)(kept * above[q] * value);
        to[POINTS + q] = (float)(lost * above[q] * value);
        to[2 * POINTS + q] = (float)(w[q] * (1 - ratio) / kept);
    }
}

static void TS_JOIN(make_factors, POINTS)(const ts_node *n, const double *rule, float *to)
{
    const double *t = rule, *u = rule + TS_MOST_POINTS, *w = rule + 2 * TS_MOST_POINTS;
    double above[POINTS]; /* one over the feature's factor so far, which this split's takes the place of */
    if (ts_is_simple_pair(n)) {
        TS_JOIN(make_pair_factors, POINTS)(n, t, u, to);
        return;
    }
    for (int q = 0; q < POINTS; q++)
        above[q] = n->flags & TS_REPEATED ? 1 / (t[q] + u[q] * n->ratio_above) : 1;
    TS_JOIN(make_side_factors, POINTS)(rule, n->left_ratio, n->left < 0 ? n->left_value : 1, above, to);
    TS_JOIN(make_side_factors, POINTS)(rule, n->right_ratio, n->right < 0 ? n->right_value : 1, above, to + 3 * POINTS);
    for (int q = 0; q < POINTS; q++)
        to[6 * POINTS + q] = (float)(w[q] * (1 - n->ratio_above) * above[q]);
}

/* The sum over all points of h G. */
TS_INLINE vec TS_JOIN(contribution, POINTS)(const ts_pass *p, const vec *h, const float *gain, mask set)
{
    vec with = vec_all(0.0f), without = with;
    for (int q = 0; q < POINTS; q++) {
        with = vec_multiply_add(h[q], vec_all(gain[q]), with);
        without = vec_multiply_add(h[q], vec_all(p->zero[q]), without);
    }
    return vec_choose(set, with, without);
}

TS_INLINE vec TS_JOIN(visit_pair, POINTS)(const ts_pass *p, const ts_node *n, const float *factors, mask left, vec *h)
{
    const vec *product = p->products + (size_t)n->level * POINTS;
    vec total = vec_all(0.0f);
    for (int q = 0; q < POINTS; q++) {
        total = vec_multiply_add(product[q], vec_all(p->w[q]), total);
        h[q] = vec_multiply(product[q], vec_choose(left, vec_all(factors[q]), vec_all(factors[POINTS + q])));
    }
    const float to_left = (float)((1 - n->left_ratio) * n->left_value - n->right_ratio * n->right_value);
    const float to_right = (float)((1 - n->right_ratio) * n->right_value - n->left_ratio * n->left_value);
    return vec_multiply(total, vec_choose(left, vec_all(to_left), vec_all(to_right)));
}

static void TS_JOIN(visit, POINTS)(const ts_pass *p, const ts_node *n, mask reached, vec *h);

/* One side of a split: leaves its h, and returns what the split's feature gets of it. */
TS_INLINE vec TS_JOIN(visit_side, POINTS)(const ts_pass *p, const ts_node *n, int right, mask side, mask before,
                                          mask reached, vec *h)
{
    const float *factors = p->factors + (size_t)(n - p->root) * TS_FACTORS * POINTS + (right ? 3 * POINTS : 0);
    const vec *product = p->products + (size_t)n->level * POINTS;
    const int child = right ? n->right : n->left;
    vec *to = child < 0 ? h : p->products + (size_t)(n->level + 1) * POINTS;
    const mask set = mask_and(side, before);
    for (int q = 0; q < POINTS; q++)
        to[q] = vec_multiply(product[q], vec_choose(set, vec_all(factors[q]), vec_all(factors[POINTS + q])));
    if (n->flags & TS_REPEATED) {
        const double share = right ? n->right_share : n->left_share;
        const double value = child >= 0 ? 1 : right ? n->right_value : n->left_value;
        for (int q = 0; q < POINTS; q++)
            to[q] = vec_choose(before, to[q], vec_multiply(product[q], vec_all((float)(share * value))));
    }
    if (child >= 0) {
        p->bits[n->bit] = set;
        TS_JOIN(visit, POINTS)(p, p->nodes + child, mask_and(reached, side), h);
    }
    return TS_JOIN(contribution, POINTS)(p, h, factors + 2 * POINTS, set);
}

/* Adds what the splits from this node on give, and leaves in h the sum of v * product of all leaves below. */
static void TS_JOIN(visit, POINTS)(const ts_pass *p, const ts_node *n, mask reached, vec *h)
{
    const float *factors = p->factors + (size_t)(n - p->root) * TS_FACTORS * POINTS;
    const mask left = lanes_to_left(p, n), right = mask_and_not(mask_all(), left);
    const mask before = n->flags & TS_REPEATED ? p->bits[n->bit] : mask_all();
    float *margin = p->b->margin + p->row;
    float *phi = p->b->phi + (size_t)n->column * TS_BLOCK + p->row;
    if (n->left < 0)
        add_where(margin, mask_and(reached, left), n->left_value);
    if (n->right < 0)
        add_where(margin, mask_and(reached, right), n->right_value);
    if (ts_is_simple_pair(n)) {
        vec_store(phi, vec_add(vec_load(phi), TS_JOIN(visit_pair, POINTS)(p, n, factors, left, h)));
        return;
    }
    vec *from_left = p->sums + (size_t)n->level * 2 * POINTS, *from_right = from_left + POINTS;
    vec given = TS_JOIN(visit_side, POINTS)(p, n, 0, left, before, reached, from_left);
    given = vec_add(given, TS_JOIN(visit_side, POINTS)(p, n, 1, right, before, reached, from_right));
    for (int q = 0; q < POINTS; q++)
        h[q] = vec_add(from_left[q], from_right[q]);
    if (n->flags & TS_REPEATED) {
        p->bits[n->bit] = before;
        const vec taken_back = TS_JOIN(contribution, POINTS)(p, h, factors + 6 * POINTS, before);
        given = vec_add(given, vec_multiply(taken_back, vec_all(-1.0f)));
    }
    vec_store(phi, vec_add(vec_load(phi), given));
}

static void TS_JOIN(integrate, POINTS)(ts_block *b, const ts_tree *t)
{
    const double *rule = b->m->points + (size_t)POINTS * 4 * TS_MOST_POINTS;
    const ts_node *root = b->m->nodes + t->first;
    const float *factors = t->factors < 0 ? b->factors : b->m->factors + (size_t)t->factors * TS_TABLE_ROW;
    if (t->factors < 0)
        for (int i = 0; i < t->nodes; i++)
            TS_JOIN(make_factors, POINTS)(root + i, rule, b->factors + (size_t)i * TS_FACTORS * POINTS);
    float w[POINTS], zero[POINTS];
    for (int q = 0; q < POINTS; q++) {
        w[q] = (float)rule[2 * TS_MOST_POINTS + q];
        zero[q] = (float)rule[3 * TS_MOST_POINTS + q];
    }
    ts_pass p = {.b = b,
                 .nodes = b->m->nodes,
                 .root = root,
                 .factors = factors,
                 .bits = (mask *)b->path_bits,
                 .products = (vec *)b->products,
                 .sums = (vec *)b->sums,
                 .w = w,
                 .zero = zero};
    vec h[POINTS];
    for (p.row = 0; p.row < b->count; p.row += VEC_LANES) {
        for (int q = 0; q < POINTS; q++)
            p.products[q] = vec_all(1.0f);
        TS_JOIN(visit, POINTS)(&p, root, mask_all(), h);
    }
}

#undef POINTS
