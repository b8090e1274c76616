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
/* How many floats a node's factors take for each point. */
enum { FACTORS = 7 };

typedef struct {
    block *b;
    const node *nodes;     /* the whole model's */
    const node *root;
    const float *factors;  /* FACTORS x points for each node of the tree */
    vec *products;         /* points for each level */
    vec *sums;             /* 2 x points for each level */
    mask *bits;            /* by the features' places on the path */
    const float *w, *zero; /* the weights, and G for b = 0 */
    int row;               /* the first of the rows that are visited */
} pass;

ALWAYS mask lanes_to_left(const pass *p, const node *n)
{
    return lanes_left(p->b->m, n, p->b->x + (size_t)n->column * BLOCK + p->row);
}

ALWAYS void add_where(float *to, mask m, float value)
{
    store(to, add(load(to), choose(m, all_of(value), all_of(0.0f))));
}

#define POINTS 1
#include "quadrature_points.h"
#define POINTS 2
#include "quadrature_points.h"
#define POINTS 3
#include "quadrature_points.h"
#define POINTS 4
#include "quadrature_points.h"
#define POINTS 5
#include "quadrature_points.h"
#define POINTS 6
#include "quadrature_points.h"
#define POINTS 8
#include "quadrature_points.h"
#define POINTS 12
#include "quadrature_points.h"
#define POINTS 16
#include "quadrature_points.h"

static void integrate(block *b, const tree *t)
{
    switch (t->points) {
    case 1: integrate1(b, t); break;
    case 2: integrate2(b, t); break;
    case 3: integrate3(b, t); break;
    case 4: integrate4(b, t); break;
    case 5: integrate5(b, t); break;
    case 6: integrate6(b, t); break;
    case 8: integrate8(b, t); break;
    case 12: integrate12(b, t); break;
    default: integrate16(b, t);
    }
}
