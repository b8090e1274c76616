/* Explains blocks of rows. Compiled once for each instruction set, with KERNEL as the name of its entry.
 *
 * A block's rows lie columns first, so that a node compares its feature in many rows at once. Going down a
 * tree, a row carries one bit for each different feature of the path: whether it has satisfied all splits on
 * that feature so far. At a leaf those bits are all that its contributions depend on. Two ways lead from there:
 *
 * - a table (lookup.h): the leaf children of a node share one, made by the compiler, indexed by the bits;
 * - quadrature (quadrature.h): the Shapley weights as an integral over polynomials, for deep trees and interactions.
 */
#include <sched.h>
#include <stdlib.h>

#include "block.h"
#include "lookup.h"
#include "pairs.h"
#include "treeshap.h"
#include "values.h"

/* The numbers of points that quadrature is compiled for: each of them has visitors of its own. */
#define EACH_POINTS(DO) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(8) DO(12) DO(16)

#define VISITORS(POINTS)                                                                                               \
    static void visit_values##POINTS(const ts_pass *p, const ts_node *n, mask reached, vec *h)                         \
    {                                                                                                                  \
        ts_visit_values(p, n, reached, h, POINTS, visit_values##POINTS);                                               \
    }                                                                                                                  \
    static void visit_pairs##POINTS(const ts_pass *p, const ts_node *n, mask reached, vec *h)                          \
    {                                                                                                                  \
        (void)reached;                                                                                                 \
        ts_visit_pairs(p, n, h, POINTS, visit_pairs##POINTS);                                                          \
    }
EACH_POINTS(VISITORS)

#define INTEGRATE(POINTS)                                                                                              \
    case POINTS: ts_integrate(b, t, POINTS, b->plan ? visit_pairs##POINTS : visit_values##POINTS); break;

static void integrate(ts_block *b, const ts_tree *t)
{
    switch (t->points) {
        EACH_POINTS(INTEGRATE)
    }
}

/* Whether a tree is explained by quadrature. Few rows wait for memory: factors lie in the order in which they are read,
 * a row's floats of all tables do not. But to make factors for one row alone takes longer than to look it up. */
static int is_integrated(const ts_block *b, const ts_tree *t)
{
    if (b->plan || !t->has_tables || t->has_tables == TS_ONLY_TABLES)
        return b->plan || !t->has_tables;
    if (t->factors < 0)
        return b->count > 1 && !TS_TABLES_ARE_FASTER;
    return b->count <= VEC_LANES || !TS_TABLES_ARE_FASTER;
}

static void touch(ts_block *b, const ts_tree *t)
{
    const ts_pair_plan *plan = b->plan;
    if (plan)
        for (int64_t at = plan->first_slot[t->first], end = plan->first_slot[t->first + t->nodes]; at < end; at++)
            b->touched[plan->slots[at]] = 1;
    else
        for (int i = 0; i < t->nodes; i++)
            b->touched[b->m->nodes[t->first + i].column] = 1;
}

static void add_tree(ts_block *b, const ts_tree *t)
{
    touch(b, t);
    if (!t->nodes)
        for (int row = 0; row < b->rows; row++)
            b->margin[row] += t->leaf;
    else if (is_integrated(b, t))
        integrate(b, t);
    else
        ts_look_up(b, t);
}

static void explain_output(ts_block *b, int output)
{
    const ts_model *m = b->m;
    const size_t numbers = (size_t)b->lines * (size_t)b->stride;
    for (int row = 0; row < b->rows; row++)
        b->margin[row] = m->start[output];
    memset(b->sum, 0, sizeof(double) * numbers);
    memset(b->chunk, 0, sizeof(float) * numbers);
    memset(b->touched, 0, (size_t)b->lines);
    for (int at = m->first_tree[output]; at < m->first_tree[output + 1]; at++) {
        add_tree(b, m->trees + at);
        if (m->trees[at].ends_chunk)
            ts_add_chunk(b);
    }
    ts_add_chunk(b);
}

/* How many numbers each row has for an output. */
static size_t width_of(const ts_block *b)
{
    const size_t features = (size_t)b->m->features;
    if (!b->plan)
        return features + 2;
    return b->plan->dense ? (features + 1) * (features + 1) : (size_t)b->lines;
}

/* One row's values, base value and margin. */
static void write_values(const ts_block *b, int output, int row, float *to)
{
    const ts_model *m = b->m;
    for (int column = 0; column < m->used; column++)
        to[m->columns[column]] = (float)b->sum[(size_t)column * (size_t)b->stride + (size_t)row];
    to[m->features] = m->base[output];
    to[m->features + 1] = b->margin[row];
}

/* One row's pairs one after the other, or its matrix, which is zero before; on its diagonal what the feature's pairs
 * give to others. */
static void write_pairs(const ts_block *b, int row, float *to)
{
    const ts_model *m = b->m;
    const size_t width = (size_t)m->features + 1;
    memset(b->diagonal, 0, sizeof(double) * (size_t)m->used);
    for (int pair = 0; pair < b->lines; pair++) {
        const double given = b->sum[(size_t)pair * (size_t)b->stride + (size_t)row] / 2;
        if (!b->plan->dense) {
            to[pair] = (float)given;
            continue;
        }
        const int32_t i = b->plan->lower[pair], j = b->plan->upper[pair];
        to[(size_t)m->columns[i] * width + (size_t)m->columns[j]] = (float)given;
        to[(size_t)m->columns[j] * width + (size_t)m->columns[i]] = (float)given;
        b->diagonal[i] -= given;
        b->diagonal[j] -= given;
    }
    for (int column = 0; b->plan->dense && column < m->used; column++)
        to[(size_t)m->columns[column] * (width + 1)] = (float)b->diagonal[column];
}

int KERNEL(const ts_model *m, const ts_pair_plan *plan, const float *rows, int64_t count, float *out)
{
    ts_block b = {.m = m, .plan = plan, .lines = plan ? plan->pairs : m->used, .stride = plan ? plan->block : TS_BLOCK};
    if (count < b.stride - 63)
        b.stride = ((int)count + 63) / 64 * 64; /* few rows need little memory */
    const size_t width = width_of(&b);
    char *memory = aligned_alloc(64, ts_lay_out(&b, NULL));
    if (!memory)
        return -1;
    ts_lay_out(&b, memory);
    for (int64_t done = 0; done < count; done += b.count) {
        if (done)
            sched_yield(); /* Linux may let a computation run until the next scheduler tick, for which others wait 4 ms
                            */
        b.count = count - done < b.stride ? (int)(count - done) : b.stride;
        b.rows = (b.count + TS_STEP - 1) / TS_STEP * TS_STEP;
        ts_transpose(&b, rows + done * m->features);
        for (int output = 0; output < m->outputs; output++) {
            explain_output(&b, output);
            for (int row = 0; row < b.count; row++) {
                float *to = out + ((size_t)(done + row) * (size_t)m->outputs + (size_t)output) * width;
                if (plan)
                    write_pairs(&b, row, to);
                else
                    write_values(&b, output, row, to);
            }
        }
    }
    free(memory);
    return 0;
}
