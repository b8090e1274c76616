/* pairs.c's work for POINTS points, a constant, so that loops over points are unrolled. No include guard. */

/* Adds to the pairs of the node's feature and each other one of the path what `own`, the sum of its h G, gives. */
ALWAYS void JOIN(add_pairs, POINTS)(const pair_pass *p, const node *n, const vec *own)
{
    const pair_plan *plan = p->b->plan;
    const int32_t *slot = plan->slots + plan->first_slot[n - p->b->m->nodes];
    for (int place = 0; place < n->above; place++) {
        if (place == n->bit)
            continue;
        const vec *gain = p->gains + (size_t)place * POINTS;
        float *to = p->b->chunk + (size_t)*slot++ * (size_t)plan->block + p->row;
        vec total = load(to);
        for (int q = 0; q < POINTS; q++)
            total = multiply_add(own[q], gain[q], total);
        store(to, total);
    }
}

/* The gain of a feature at each point: by its bit the one for a set bit, or that of a lost one. */
ALWAYS void JOIN(take_gain, POINTS)(const pair_pass *p, const float *gain, mask set, vec *to)
{
    for (int q = 0; q < POINTS; q++)
        to[q] = choose(set, all_of(gain[q]), all_of(p->lost[q]));
}

/* Two leaves under a new feature: h, and h G, are the product times one of two numbers each. */
ALWAYS void JOIN(visit_two_leaves, POINTS)(const pair_pass *p, const node *n, const float *factors, mask left, vec *h)
{
    const vec *product = p->products + (size_t)n->level * POINTS;
    const float to_left = (float)((1 - n->left_ratio) * n->left_value - n->right_ratio * n->right_value);
    const float to_right = (float)((1 - n->right_ratio) * n->right_value - n->left_ratio * n->left_value);
    const vec side = choose(left, all_of(to_left), all_of(to_right));
    vec own[POINTS];
    for (int q = 0; q < POINTS; q++) {
        own[q] = multiply(multiply(product[q], all_of(p->root_weights[q])), side);
        h[q] = multiply(product[q], choose(left, all_of(factors[q]), all_of(factors[POINTS + q])));
    }
    JOIN(add_pairs, POINTS)(p, n, own);
}

static void JOIN(visit, POINTS)(const pair_pass *p, const node *n, vec *h);

/* One side of a split: leaves its h, and adds h G to `own`. */
ALWAYS void JOIN(visit_side, POINTS)(const pair_pass *p, const node *n, int right, mask side, mask before, vec *h, vec *own)
{
    const float *factors = p->factors + (size_t)(n - p->root) * PAIR_FACTORS * POINTS + (right ? 3 * POINTS : 0);
    const vec *product = p->products + (size_t)n->level * POINTS;
    const int child = right ? n->right : n->left;
    vec *to = child < 0 ? h : p->products + (size_t)(n->level + 1) * POINTS;
    const mask set = both(side, before);
    vec gain[POINTS];
    JOIN(take_gain, POINTS)(p, factors + 2 * POINTS, set, gain);
    for (int q = 0; q < POINTS; q++)
        to[q] = multiply(product[q], choose(set, all_of(factors[q]), all_of(factors[POINTS + q])));
    if (n->flags & REPEATED) { /* where the bit was lost above, its factor only shrinks by this split's share */
        const double share = right ? n->right_share : n->left_share;
        const double value = child >= 0 ? 1 : right ? n->right_value : n->left_value;
        for (int q = 0; q < POINTS; q++)
            to[q] = choose(before, to[q], multiply(product[q], all_of((float)(share * value))));
    }
    if (child >= 0) {
        p->bits[n->bit] = set;
        memcpy(p->gains + (size_t)n->bit * POINTS, gain, sizeof gain);
        JOIN(visit, POINTS)(p, p->b->m->nodes + child, h);
    }
    for (int q = 0; q < POINTS; q++)
        own[q] = multiply_add(h[q], gain[q], own[q]);
}

/* Adds what the splits from this node on give, and leaves in h the sum of v * product of all leaves below. */
static void JOIN(visit, POINTS)(const pair_pass *p, const node *n, vec *h)
{
    const float *factors = p->factors + (size_t)(n - p->root) * PAIR_FACTORS * POINTS;
    const mask left = lanes_left(p->b->m, n, p->b->x + (size_t)n->column * (size_t)p->b->plan->block + p->row);
    if (is_simple_pair(n)) {
        JOIN(visit_two_leaves, POINTS)(p, n, factors, left, h);
        return;
    }
    const mask before = n->flags & REPEATED ? p->bits[n->bit] : everywhere(), right = first_only(everywhere(), left);
    vec *from_left = p->sums + (size_t)n->level * 2 * POINTS, *from_right = from_left + POINTS;
    vec own[POINTS];
    for (int q = 0; q < POINTS; q++)
        own[q] = all_of(0.0f);
    JOIN(visit_side, POINTS)(p, n, 0, left, before, from_left, own);
    JOIN(visit_side, POINTS)(p, n, 1, right, before, from_right, own);
    for (int q = 0; q < POINTS; q++)
        h[q] = add(from_left[q], from_right[q]);
    if (n->flags & REPEATED) {
        vec *gain = p->gains + (size_t)n->bit * POINTS;
        p->bits[n->bit] = before;
        JOIN(take_gain, POINTS)(p, factors + 6 * POINTS, before, gain);
        for (int q = 0; q < POINTS; q++)
            own[q] = add(own[q], multiply(multiply(h[q], gain[q]), all_of(-1.0f)));
    }
    JOIN(add_pairs, POINTS)(p, n, own);
}

static void JOIN(add_tree, POINTS)(pair_block *b, const tree *t, const float *factors)
{
    const double *rule = b->m->points + (size_t)POINTS * 4 * MOST_POINTS;
    const node *root = b->m->nodes + t->first;
    float lost[POINTS], root_weights[POINTS];
    for (int q = 0; q < POINTS; q++) {
        const double root_weight = sqrt(rule[2 * MOST_POINTS + q]);
        root_weights[q] = (float)root_weight;
        lost[q] = (float)(-root_weight / rule[MOST_POINTS + q]);
    }
    pair_pass p = {.b = b, .root = root, .factors = factors, .lost = lost, .root_weights = root_weights,
                   .products = (vec *)b->products, .sums = (vec *)b->sums, .gains = (vec *)b->gains,
                   .bits = (mask *)b->bits};
    vec h[POINTS];
    for (p.row = 0; p.row < b->rows; p.row += LANES) {
        for (int q = 0; q < POINTS; q++)
            p.products[q] = all_of(1.0f);
        JOIN(visit, POINTS)(&p, root, h);
    }
}

#undef POINTS
