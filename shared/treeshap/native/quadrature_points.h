/* quadrature.h's work for POINTS points, a constant, so that loops over points are unrolled. No include guard. */

/* What a pair's leaves give together, times the product: where the row goes left (first), and where right. */
static void JOIN(make_pair_factors, POINTS)(const node *n, const double *t, const double *u, float *to)
{
    for (int q = 0; q < POINTS; q++) {
        const double left = u[q] * n->left_ratio * n->left_value, right = u[q] * n->right_ratio * n->right_value;
        to[q] = (float)(left + t[q] * n->left_value + right);
        to[POINTS + q] = (float)(left + right + t[q] * n->right_value);
    }
}

/* What a side of a split multiplies the product with, where its bit stays and where it is lost here; and its G. */
ALWAYS void JOIN(make_side_factors, POINTS)(const double *rule, double ratio, double value, const double *above, float *to)
{
    const double *t = rule, *u = rule + MOST_POINTS, *w = rule + 2 * MOST_POINTS;
    for (int q = 0; q < POINTS; q++) {
        const double lost = u[q] * ratio, kept = lost + t[q];
        to[q] = (float)(kept * above[q] * value);
        to[POINTS + q] = (float)(lost * above[q] * value);
        to[2 * POINTS + q] = (float)(w[q] * (1 - ratio) / kept);
    }
}

static void JOIN(make_factors, POINTS)(const node *n, const double *rule, float *to)
{
    const double *t = rule, *u = rule + MOST_POINTS, *w = rule + 2 * MOST_POINTS;
    double above[POINTS]; /* one over the feature's factor so far, which this split's takes the place of */
    if (is_simple_pair(n)) {
        JOIN(make_pair_factors, POINTS)(n, t, u, to);
        return;
    }
    for (int q = 0; q < POINTS; q++)
        above[q] = n->flags & REPEATED ? 1 / (t[q] + u[q] * n->ratio_above) : 1;
    JOIN(make_side_factors, POINTS)(rule, n->left_ratio, n->left < 0 ? n->left_value : 1, above, to);
    JOIN(make_side_factors, POINTS)(rule, n->right_ratio, n->right < 0 ? n->right_value : 1, above, to + 3 * POINTS);
    for (int q = 0; q < POINTS; q++)
        to[6 * POINTS + q] = (float)(w[q] * (1 - n->ratio_above) * above[q]);
}

/* The sum over all points of h G. */
ALWAYS vec JOIN(contribution, POINTS)(const pass *p, const vec *h, const float *gain, mask set)
{
    vec with = all_of(0.0f), without = with;
    for (int q = 0; q < POINTS; q++) {
        with = multiply_add(h[q], all_of(gain[q]), with);
        without = multiply_add(h[q], all_of(p->zero[q]), without);
    }
    return choose(set, with, without);
}

ALWAYS vec JOIN(visit_pair, POINTS)(const pass *p, const node *n, const float *factors, mask left, vec *h)
{
    const vec *product = p->products + (size_t)n->level * POINTS;
    vec total = all_of(0.0f);
    for (int q = 0; q < POINTS; q++) {
        total = multiply_add(product[q], all_of(p->w[q]), total);
        h[q] = multiply(product[q], choose(left, all_of(factors[q]), all_of(factors[POINTS + q])));
    }
    const float to_left = (float)((1 - n->left_ratio) * n->left_value - n->right_ratio * n->right_value);
    const float to_right = (float)((1 - n->right_ratio) * n->right_value - n->left_ratio * n->left_value);
    return multiply(total, choose(left, all_of(to_left), all_of(to_right)));
}

static void JOIN(visit, POINTS)(const pass *p, const node *n, mask reached, vec *h);

/* One side of a split: leaves its h, and returns what the split's feature gets of it. */
ALWAYS vec JOIN(visit_side, POINTS)(const pass *p, const node *n, int right, mask side, mask before, mask reached, vec *h)
{
    const float *factors = p->factors + (size_t)(n - p->root) * FACTORS * POINTS + (right ? 3 * POINTS : 0);
    const vec *product = p->products + (size_t)n->level * POINTS;
    const int child = right ? n->right : n->left;
    vec *to = child < 0 ? h : p->products + (size_t)(n->level + 1) * POINTS;
    const mask set = both(side, before);
    for (int q = 0; q < POINTS; q++)
        to[q] = multiply(product[q], choose(set, all_of(factors[q]), all_of(factors[POINTS + q])));
    if (n->flags & REPEATED) {
        const double share = right ? n->right_share : n->left_share;
        const double value = child >= 0 ? 1 : right ? n->right_value : n->left_value;
        for (int q = 0; q < POINTS; q++)
            to[q] = choose(before, to[q], multiply(product[q], all_of((float)(share * value))));
    }
    if (child >= 0) {
        p->bits[n->bit] = set;
        JOIN(visit, POINTS)(p, p->nodes + child, both(reached, side), h);
    }
    return JOIN(contribution, POINTS)(p, h, factors + 2 * POINTS, set);
}

/* Adds what the splits from this node on give, and leaves in h the sum of v * product of all leaves below. */
static void JOIN(visit, POINTS)(const pass *p, const node *n, mask reached, vec *h)
{
    const float *factors = p->factors + (size_t)(n - p->root) * FACTORS * POINTS;
    const mask left = lanes_to_left(p, n), right = first_only(everywhere(), left);
    const mask before = n->flags & REPEATED ? p->bits[n->bit] : everywhere();
    float *margin = p->b->margin + p->row;
    float *phi = p->b->phi + (size_t)n->column * BLOCK + p->row;
    if (n->left < 0)
        add_where(margin, both(reached, left), n->left_value);
    if (n->right < 0)
        add_where(margin, both(reached, right), n->right_value);
    if (is_simple_pair(n)) {
        store(phi, add(load(phi), JOIN(visit_pair, POINTS)(p, n, factors, left, h)));
        return;
    }
    vec *from_left = p->sums + (size_t)n->level * 2 * POINTS, *from_right = from_left + POINTS;
    vec given = JOIN(visit_side, POINTS)(p, n, 0, left, before, reached, from_left);
    given = add(given, JOIN(visit_side, POINTS)(p, n, 1, right, before, reached, from_right));
    for (int q = 0; q < POINTS; q++)
        h[q] = add(from_left[q], from_right[q]);
    if (n->flags & REPEATED) {
        p->bits[n->bit] = before;
        const vec taken_back = JOIN(contribution, POINTS)(p, h, factors + 6 * POINTS, before);
        given = add(given, multiply(taken_back, all_of(-1.0f)));
    }
    store(phi, add(load(phi), given));
}

static void JOIN(integrate, POINTS)(block *b, const tree *t)
{
    const double *rule = b->m->points + (size_t)POINTS * 4 * MOST_POINTS;
    const node *root = b->m->nodes + t->first;
    const float *factors = t->factors < 0 ? b->factors : b->m->factors + (size_t)t->factors * TABLE_ROW;
    if (t->factors < 0)
        for (int i = 0; i < t->nodes; i++)
            JOIN(make_factors, POINTS)(root + i, rule, b->factors + (size_t)i * FACTORS * POINTS);
    float w[POINTS], zero[POINTS];
    for (int q = 0; q < POINTS; q++) {
        w[q] = (float)rule[2 * MOST_POINTS + q];
        zero[q] = (float)rule[3 * MOST_POINTS + q];
    }
    pass p = {.b = b, .nodes = b->m->nodes, .root = root, .factors = factors, .bits = (mask *)b->path_bits,
              .products = (vec *)b->products, .sums = (vec *)b->sums,
              .w = w, .zero = zero};
    vec h[POINTS];
    for (p.row = 0; p.row < b->count; p.row += LANES) {
        for (int q = 0; q < POINTS; q++)
            p.products[q] = all_of(1.0f);
        JOIN(visit, POINTS)(&p, root, everywhere(), h);
    }
}

#undef POINTS
