/* A block of rows that goes down the trees together, columns first, and the memory that this takes. */
#ifndef TREESHAP_BLOCK_H
#define TREESHAP_BLOCK_H

#include <stddef.h>
#include <string.h>

#include "treeshap.h"
#include "vector.h"

typedef struct {
    const ts_model *m;
    const ts_pair_plan *plan; /* NULL for values */
    int lines;           /* numbers of a row: one for each used column, or for each pair */
    int count, rows;     /* rows of this block, and rounded up to what is computed */
    int stride;          /* floats from one line to the next */
    float *x;            /* used x stride: the rows, transposed */
    float *chunk;        /* lines x stride: what the chunk's trees give */
    double *sum;         /* lines x stride: what all trees give */
    double *diagonal;    /* used: of one row's matrix of interactions */
    uint8_t *touched;    /* lines: those that the chunk's trees have */
    float *margin;       /* BLOCK: the sum of the leaves reached, in the order in which XGBoost adds them */
    uint8_t *bits;       /* 2 for each level x BLOCK: each node's, see ts_slot() */
    float *factors;      /* from here on quadrature.h's: of one tree without */
    vec *products;       /* points for each level */
    vec *sums;           /* 2 x points for each level */
    vec *gains;          /* points for each feature of the path */
    mask *path_bits;     /* by the features' places on the path */
} ts_block;

/* Where a node's bits lie: while the left subtree is visited, the right child's must stay. */
static inline int ts_slot(const ts_node *n) { return 2 * n->level + n->right_child; }

/* The next piece of memory; where there is none yet, only its size counts. */
static inline void *ts_cut(char *memory, size_t *at, size_t bytes)
{
    void *piece = memory ? memory + *at : NULL;
    *at += (bytes + 63) & ~(size_t)63;
    return piece;
}

/* Cuts what a block needs out of one piece of memory, and returns how many bytes that takes. */
static inline size_t ts_lay_out(ts_block *b, char *memory)
{
    const size_t used = (size_t)b->m->used, lines = (size_t)b->lines, stride = (size_t)b->stride;
    const size_t levels = (size_t)b->m->levels + 1, points = sizeof(vec) * TS_MOST_POINTS;
    size_t at = 64; /* never nothing */
    b->x = ts_cut(memory, &at, sizeof(float) * used * stride);
    b->chunk = ts_cut(memory, &at, sizeof(float) * lines * stride);
    b->sum = ts_cut(memory, &at, sizeof(double) * lines * stride);
    b->diagonal = ts_cut(memory, &at, sizeof(double) * used);
    b->touched = ts_cut(memory, &at, lines);
    b->margin = ts_cut(memory, &at, sizeof(float) * TS_BLOCK);
    b->bits = ts_cut(memory, &at, 2 * TS_BLOCK * levels);
    b->factors = ts_cut(memory, &at, sizeof(float) * TS_FACTORS * TS_MOST_POINTS * (size_t)b->m->most_nodes);
    b->products = ts_cut(memory, &at, points * levels);
    b->sums = ts_cut(memory, &at, 2 * points * levels);
    b->gains = ts_cut(memory, &at, points * 2 * TS_MOST_POINTS);
    b->path_bits = ts_cut(memory, &at, sizeof(mask) * 2 * TS_MOST_POINTS);
    return at;
}

/* Puts the used columns of rows one after the other, and zeros behind them: a register of bytes looks at 64 rows. */
static inline void ts_transpose(ts_block *b, const float *rows)
{
    const int looked_at = (b->count + 63) / 64 * 64, padded = looked_at < b->stride ? looked_at : b->stride;
    float *to = b->x;
    for (int column = 0; column < b->m->used; column++, to += b->stride) {
        const float *from = rows + b->m->columns[column];
        for (int row = 0; row < b->count; row++)
            to[row] = from[(size_t)row * (size_t)b->m->features];
        for (int row = b->count; row < padded; row++)
            to[row] = 0.0f;
    }
}

/* Adds a chunk's touched lines to the sums and clears them. Float is exact enough for some trees, and as fast as can
 * be; with sums in double a thousand trees are as exact as few. */
static inline void ts_add_chunk(ts_block *b)
{
    float *chunk = b->chunk;
    double *sum = b->sum;
    for (int line = 0; line < b->lines; line++, chunk += b->stride, sum += b->stride) {
        if (!b->touched[line])
            continue;
        b->touched[line] = 0;
        for (int row = 0; row < b->rows; row++)
            sum[row] += (double)chunk[row];
        memset(chunk, 0, sizeof(float) * (size_t)b->rows);
    }
}

#endif
