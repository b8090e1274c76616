/* Explains blocks of rows. Compiled once for each instruction set, with EXPLAIN as the name of its entry.
 *
 * A block's rows lie columns first, so that a node compares its feature in many rows at once. Going down a
 * tree, a row carries one bit for each different feature of the path: whether it has satisfied all splits on
 * that feature so far. At a leaf those bits are all that its contributions depend on. Two ways lead from there:
 *
 * - a table (lookup.h): the leaf children of a node share one, made by the compiler, indexed by the bits;
 * - quadrature (quadrature.h): the Shapley weights as an integral over polynomials, for deep trees.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "lookup.h"
#include "arrays.h"
#include "quadrature.h"
#include "treeshap.h"

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

static void integrate(ts_block *b, const ts_tree *t)
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

/* Whether a tree is explained by quadrature. Few rows wait for memory: factors lie in the order in which they are read,
 * a row's floats of all tables do not. But to make factors for one row alone takes longer than to look it up. */
static int is_integrated(const ts_block *b, const ts_tree *t)
{
    if (!t->has_tables || t->has_tables == TS_ONLY_TABLES)
        return !t->has_tables;
    if (t->factors < 0)
        return b->count > 1 && !TS_TABLES_ARE_FASTER;
    return b->count <= VEC_LANES || !TS_TABLES_ARE_FASTER;
}

static void add_tree(ts_block *b, const ts_tree *t)
{
    for (int i = 0; i < t->nodes; i++)
        b->touched[b->m->nodes[t->first + i].column] = 1;
    if (!t->nodes)
        for (int row = 0; row < b->rows; row++)
            b->margin[row] += t->leaf;
    else if (is_integrated(b, t))
        integrate(b, t);
    else if (b->count == 1)
        look_up_row(b, t);
    else
        look_up(b, t);
}

static void explain_output(ts_block *b, int output)
{
    const ts_model *m = b->m;
    for (int row = 0; row < b->rows; row++)
        b->margin[row] = m->start[output];
    memset(b->sum, 0, sizeof(double) * TS_BLOCK * (size_t)m->used);
    memset(b->phi, 0, sizeof(float) * TS_BLOCK * (size_t)m->used);
    memset(b->touched, 0, (size_t)m->used);
    for (const ts_tree *t = m->trees + m->first_tree[output], *end = m->trees + m->first_tree[output + 1]; t < end;
         t++) {
        add_tree(b, t);
        if (t->ends_chunk)
            ts_add_chunk(m->used, TS_BLOCK, b->rows, b->touched, b->phi, b->sum);
    }
    ts_add_chunk(m->used, TS_BLOCK, b->rows, b->touched, b->phi, b->sum);
}

static void write_out(const ts_block *b, int output, int count, float *out)
{
    const ts_model *m = b->m;
    const size_t width = (size_t)m->features + 2, step = width * (size_t)m->outputs;
    for (int row = 0; row < count; row++) {
        float *line = out + (size_t)row * step + (size_t)output * width;
        for (int column = 0; column < m->used; column++)
            line[m->columns[column]] = (float)b->sum[(size_t)column * TS_BLOCK + row];
        line[m->features] = m->base[output];
        line[m->features + 1] = b->margin[row];
    }
}

/* Cuts what a block needs out of one piece of memory, and returns how many bytes that takes. */
static size_t lay_out(ts_block *b, char *memory)
{
    const ts_model *m = b->m;
    const size_t levels = (size_t)m->levels + 1, plane = TS_BLOCK * (size_t)m->used;
    const size_t points = sizeof(float) * TS_STEP * TS_MOST_POINTS;
    size_t at = 0;
    b->sum = ts_cut(memory, &at, sizeof(double) * plane);
    b->x = ts_cut(memory, &at, sizeof(float) * plane);
    b->phi = ts_cut(memory, &at, sizeof(float) * plane);
    b->touched = ts_cut(memory, &at, (size_t)m->used);
    b->margin = ts_cut(memory, &at, sizeof(float) * TS_BLOCK);
    b->bits = ts_cut(memory, &at, 2 * TS_BLOCK * levels);
    b->factors = ts_cut(memory, &at, sizeof(float) * TS_FACTORS * TS_MOST_POINTS * (size_t)m->most_nodes);
    b->products = ts_cut(memory, &at, points * levels);
    b->sums = ts_cut(memory, &at, 2 * points * levels);
    b->path_bits = ts_cut(memory, &at, sizeof(float) * TS_STEP * 2 * TS_MOST_POINTS);
    return at;
}

int EXPLAIN(const ts_model *m, const float *rows, int64_t count, float *out)
{
    ts_block b = {.m = m};
    char *memory = aligned_alloc(64, lay_out(&b, NULL));
    if (!memory)
        return -1;
    lay_out(&b, memory);
    for (int64_t done = 0; done < count; done += TS_BLOCK) {
        if (done)
            sched_yield(); /* Linux may let a computation run until the next scheduler tick, for which others wait 4 ms
                            */
        const int here = count - done < TS_BLOCK ? (int)(count - done) : TS_BLOCK;
        b.count = here;
        b.rows = (here + TS_STEP - 1) / TS_STEP * TS_STEP;
        /* A register of bytes looks as far as 64 rows. */
        ts_transpose(m, rows + done * m->features, here, (here + 63) / 64 * 64, TS_BLOCK, b.x);
        for (int output = 0; output < m->outputs; output++) {
            explain_output(&b, output);
            write_out(&b, output, here, out + done * m->outputs * (m->features + 2));
        }
    }
    free(memory);
    return 0;
}
