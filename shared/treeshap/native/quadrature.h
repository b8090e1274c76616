/* The Shapley weights as an integral, which Gauss and Legendre's points give exactly.
 *
 * With b the row's bit and r the cover ratio of each feature, a leaf of value v gives feature j
 *     v (b_j - r_j) * integral over t from 0 to 1 of the product over i != j of F_i,  F_i = t b_i + (1 - t) r_i.
 * Going down, each node has the product over all features so far, at each point t. Coming back, the leaves'
 * v * product are summed up (h), and at the last split on a feature above them its factor is divided out:
 *     G(b, r) = w (b - r) / F, which is -w / (1 - t) for b = 0.
 * Where a feature is repeated, the lower split has changed its factor: what the leaves below it gave to the upper
 * split is taken back there.
 *
 * `points` is a constant wherever these functions are called, so that loops over points are unrolled.
 */
#ifndef TREESHAP_QUADRATURE_H
#define TREESHAP_QUADRATURE_H

#include "block.h"
#include "splits.h"
#include "vector.h"

/* One tree and one register of rows. */
typedef struct {
    const ts_block *b;
    const ts_node *nodes;  /* the whole model's */
    const ts_node *root;
    const float *factors;  /* FACTORS x points for each node of the tree */
    vec *products, *sums, *gains;
    mask *bits;
    const float *w, *one_over_w, *lost; /* the weights, and G for b = 0 */
    int row;               /* the first of the rows that are visited */
} ts_pass;

/* Adds what the splits from this node on give to the rows that are `reached`, and leaves in h the sum of v * product of
 * all leaves below. */
typedef void ts_visit(const ts_pass *p, const ts_node *n, mask reached, vec *h);

/* Two leaves under a feature that is new: what they give together is the product so far times one of two numbers. */
static inline int ts_is_simple_pair(const ts_node *n)
{
    return n->left < 0 && n->right < 0 && !(n->flags & TS_REPEATED);
}

/* The factors of a side of a split, where its bit stays and where it is lost here; and its G. */
TS_INLINE void ts_make_side(const double *rule, double ratio, double value, const double *above, float *to,
                            const int points)
{
    const double *t = rule, *u = rule + TS_MOST_POINTS, *w = rule + 2 * TS_MOST_POINTS;
    for (int q = 0; q < points; q++) {
        const double lost = u[q] * ratio, kept = lost + t[q];
        to[q] = (float)(kept * above[q] * value);
        to[points + q] = (float)(lost * above[q] * value);
        to[2 * points + q] = (float)(w[q] * (1 - ratio) / kept);
    }
}

/* Makes what tables.py makes in advance: a block of rows hides the time that this takes. */
TS_INLINE void ts_make_factors(const ts_node *n, const double *rule, float *to, const int points)
{
    const double *t = rule, *u = rule + TS_MOST_POINTS, *w = rule + 2 * TS_MOST_POINTS;
    double above[TS_MOST_POINTS]; /* one over the feature's factor so far, which this split's takes the place of */
    if (ts_is_simple_pair(n)) {   /* the sum of the leaves, where the row goes left (first), and where right */
        for (int q = 0; q < points; q++) {
            const double left = u[q] * n->left_ratio * n->left_value, right = u[q] * n->right_ratio * n->right_value;
            to[q] = (float)(left + t[q] * n->left_value + right);
            to[points + q] = (float)(left + right + t[q] * n->right_value);
        }
        return;
    }
    for (int q = 0; q < points; q++)
        above[q] = n->flags & TS_REPEATED ? 1 / (t[q] + u[q] * n->ratio_above) : 1;
    ts_make_side(rule, n->left_ratio, n->left < 0 ? n->left_value : 1, above, to, points);
    ts_make_side(rule, n->right_ratio, n->right < 0 ? n->right_value : 1, above, to + 3 * points, points);
    for (int q = 0; q < points; q++)
        to[6 * points + q] = (float)(w[q] * (1 - n->ratio_above) * above[q]);
}

TS_INLINE const float *ts_factors(const ts_pass *p, const ts_node *n, const int points)
{
    return p->factors + (size_t)(n - p->root) * TS_FACTORS * points;
}

/* Where a line's numbers of the visited rows lie. */
TS_INLINE float *ts_lanes(const ts_pass *p, float *lines, int line)
{
    return lines + (size_t)line * (size_t)p->b->stride + p->row;
}

/* Leaves in h what a simple pair gives, and returns the number by which its split multiplies the product. */
TS_INLINE vec ts_visit_simple_pair(const ts_pass *p, const ts_node *n, mask left, vec *h, const int points)
{
    const float *factors = ts_factors(p, n, points);
    const vec *product = p->products + (size_t)n->level * points;
    const float to_left = (float)((1 - n->left_ratio) * n->left_value - n->right_ratio * n->right_value);
    const float to_right = (float)((1 - n->right_ratio) * n->right_value - n->left_ratio * n->left_value);
    for (int q = 0; q < points; q++)
        h[q] = product[q] * vec_choose(left, vec_all(factors[q]), vec_all(factors[points + q]));
    return vec_choose(left, vec_all(to_left), vec_all(to_right));
}

/* Visits one side of a split, which leaves its h; `before` has the feature's bits above, `set` with this split. */
TS_INLINE void ts_visit_child(const ts_pass *p, const ts_node *n, int right, mask set, mask before, mask reached,
                              vec *h, const int points, ts_visit *visit)
{
    const float *factors = ts_factors(p, n, points) + (right ? 3 * points : 0);
    const vec *product = p->products + (size_t)n->level * points;
    const int child = right ? n->right : n->left;
    vec *to = child < 0 ? h : p->products + (size_t)(n->level + 1) * points;
    for (int q = 0; q < points; q++)
        to[q] = product[q] * vec_choose(set, vec_all(factors[q]), vec_all(factors[points + q]));
    if (n->flags & TS_REPEATED) { /* where the bit was lost above, its factor only shrinks by this split's share */
        const double share = right ? n->right_share : n->left_share;
        const double value = child >= 0 ? 1 : right ? n->right_value : n->left_value;
        for (int q = 0; q < points; q++)
            to[q] = vec_choose(before, to[q], product[q] * (float)(share * value));
    }
    if (child >= 0) {
        p->bits[n->bit] = set;
        visit(p, p->nodes + child, reached, h);
    }
}

/* Visits a tree for all rows of a block. */
TS_INLINE void ts_integrate(ts_block *b, const ts_tree *tree, const int points, ts_visit *visit)
{
    const double *rule = b->m->points + (size_t)points * 4 * TS_MOST_POINTS;
    const ts_node *root = b->m->nodes + tree->first;
    float w[TS_MOST_POINTS], one_over_w[TS_MOST_POINTS], lost[TS_MOST_POINTS];
    vec h[TS_MOST_POINTS];
    ts_pass p = {.b = b,
                 .nodes = b->m->nodes,
                 .root = root,
                 .factors = tree->factors < 0 ? b->factors : b->m->factors + (size_t)tree->factors * TS_TABLE_ROW,
                 .products = b->products,
                 .sums = b->sums,
                 .gains = b->gains,
                 .bits = b->path_bits,
                 .w = w,
                 .one_over_w = one_over_w,
                 .lost = lost};
    for (int i = 0; tree->factors < 0 && i < tree->nodes; i++)
        ts_make_factors(root + i, rule, b->factors + (size_t)i * TS_FACTORS * points, points);
    for (int q = 0; q < points; q++) {
        w[q] = (float)rule[2 * TS_MOST_POINTS + q];
        one_over_w[q] = (float)(1 / rule[2 * TS_MOST_POINTS + q]);
        lost[q] = (float)rule[3 * TS_MOST_POINTS + q];
    }
    for (p.row = 0; p.row < b->count; p.row += VEC_LANES) {
        for (int q = 0; q < points; q++)
            p.products[q] = vec_all(1.0f);
        visit(&p, root, mask_all(), h);
    }
}

#endif
