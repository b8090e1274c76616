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

#include "splits.h"
#include "treeshap.h"
#include "vector.h"

typedef struct {
    const model *m;
    int count, rows;     /* of this block, and rounded up to what is computed */
    float *x;            /* used x BLOCK: the rows, transposed */
    float *phi;          /* used x BLOCK: contributions of the chunk's trees */
    double *sum;         /* used x BLOCK: contributions of all trees */
    uint8_t *touched;    /* used: the columns that the chunk's trees split on */
    float *margin;       /* BLOCK: the sum of the leaves reached, in the order in which XGBoost adds them */
    uint8_t *bits;       /* 2 for each level x BLOCK: each node's, see slot() */
    float *factors;      /* from here on quadrature.h's */
    float *products, *sums;
    float *path_bits;
} block;

/* Where a node's bits lie: while the left subtree is visited, the right child's must stay. */
static inline int slot(const node *n)
{
    return 2 * n->level + n->right_child;
}

#include "lookup.h"
#include "quadrature.h"

/* Float is exact enough for some trees, and as fast as can be; what they give goes to double, so that a thousand
 * trees are as exact as few. */
static void add_chunk(block *b)
{
    for (int column = 0; column < b->m->used; column++) {
        if (!b->touched[column])
            continue;
        b->touched[column] = 0;
        float *phi = b->phi + (size_t)column * BLOCK;
        double *sum = b->sum + (size_t)column * BLOCK;
        for (int row = 0; row < b->rows; row++)
            sum[row] += (double)phi[row];
        memset(phi, 0, sizeof(float) * (size_t)b->rows);
    }
}

/* Whether a tree is explained by quadrature. Few rows wait for memory: factors lie in the order in which they are read, a
 * row's floats of all tables do not. But to make factors for one row alone takes longer than to look it up. */
static int is_integrated(const block *b, const tree *t)
{
    if (!t->has_tables || t->has_tables == ONLY_TABLES)
        return !t->has_tables;
    if (t->factors < 0)
        return b->count > 1 && !TABLES_ARE_FASTER;
    return b->count <= LANES || !TABLES_ARE_FASTER;
}

static void add_tree(block *b, const tree *t)
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

static void explain_output(block *b, int output)
{
    const model *m = b->m;
    for (int row = 0; row < b->rows; row++)
        b->margin[row] = m->start[output];
    memset(b->sum, 0, sizeof(double) * BLOCK * (size_t)m->used);
    memset(b->phi, 0, sizeof(float) * BLOCK * (size_t)m->used);
    memset(b->touched, 0, (size_t)m->used);
    for (const tree *t = m->trees + m->first_tree[output], *end = m->trees + m->first_tree[output + 1]; t < end; t++) {
        add_tree(b, t);
        if (t->ends_chunk)
            add_chunk(b);
    }
    add_chunk(b);
}

static void transpose(block *b, const float *rows, int count)
{
    const model *m = b->m;
    for (int column = 0; column < m->used; column++) {
        const float *from = rows + m->columns[column];
        float *to = b->x + (size_t)column * BLOCK;
        for (int row = 0; row < count; row++)
            to[row] = from[(size_t)row * (size_t)m->features];
        for (int row = count; row < (count + 63) / 64 * 64; row++) /* a register of bytes looks that far */
            to[row] = 0.0f;
    }
}

static void write_out(const block *b, int output, int count, float *out)
{
    const model *m = b->m;
    const size_t width = (size_t)m->features + 2, step = width * (size_t)m->outputs;
    for (int row = 0; row < count; row++) {
        float *line = out + (size_t)row * step + (size_t)output * width;
        for (int column = 0; column < m->used; column++)
            line[m->columns[column]] = (float)b->sum[(size_t)column * BLOCK + row];
        line[m->features] = m->base[output];
        line[m->features + 1] = b->margin[row];
    }
}

/* The next piece of memory; where there is none yet, only its size counts. */
static void *cut(char *memory, size_t *at, size_t bytes)
{
    void *piece = memory ? memory + *at : NULL;
    *at += (bytes + 63) & ~(size_t)63;
    return piece;
}

/* Cuts what a block needs out of one piece of memory, and returns how many bytes that takes. */
static size_t lay_out(block *b, char *memory)
{
    const model *m = b->m;
    const size_t levels = (size_t)m->levels + 1, plane = BLOCK * (size_t)m->used;
    const size_t points = sizeof(float) * STEP * MOST_POINTS;
    size_t at = 0;
    b->sum = cut(memory, &at, sizeof(double) * plane);
    b->x = cut(memory, &at, sizeof(float) * plane);
    b->phi = cut(memory, &at, sizeof(float) * plane);
    b->touched = cut(memory, &at, (size_t)m->used);
    b->margin = cut(memory, &at, sizeof(float) * BLOCK);
    b->bits = cut(memory, &at, 2 * BLOCK * levels);
    b->factors = cut(memory, &at, sizeof(float) * FACTORS * MOST_POINTS * (size_t)m->most_nodes);
    b->products = cut(memory, &at, points * levels);
    b->sums = cut(memory, &at, 2 * points * levels);
    b->path_bits = cut(memory, &at, sizeof(float) * STEP * 2 * MOST_POINTS);
    return at;
}

int EXPLAIN(const model *m, const float *rows, int64_t count, float *out)
{
    block b = {.m = m};
    char *memory = aligned_alloc(64, lay_out(&b, NULL));
    if (!memory)
        return -1;
    lay_out(&b, memory);
    for (int64_t done = 0; done < count; done += BLOCK) {
        if (done)
            sched_yield(); /* a newer Linux interrupts what only computes at the next tick, which others wait 4 ms for */
        const int here = count - done < BLOCK ? (int)(count - done) : BLOCK;
        b.count = here;
        b.rows = (here + STEP - 1) / STEP * STEP;
        transpose(&b, rows + done * m->features, here);
        for (int output = 0; output < m->outputs; output++) {
            explain_output(&b, output);
            write_out(&b, output, here, out + done * m->outputs * (m->features + 2));
        }
    }
    free(memory);
    return 0;
}
