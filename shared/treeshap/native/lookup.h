/* Trees with tables: a leaf's contributions by its bits, looked up and added. */
#ifndef TREESHAP_LOOKUP_H
#define TREESHAP_LOOKUP_H

#include <string.h>

#include "block.h"
#include "splits.h"
#include "vector.h"

#if TS_AVX512
#include "lookup_avx512.h"
#endif

enum {
#if defined(__AVX2__) && !TS_AVX512
    TS_TABLES_ARE_FASTER = 0 /* looking up one by one is slower than to compute in registers */
#else
    TS_TABLES_ARE_FASTER = 1
#endif
};

/* A child's bits: a new feature's is set where the row takes its side, a repeated one's cleared where not. */
TS_INLINE void inherit(const uint8_t *bits, const uint8_t *left, const ts_node *n, int right, int rows, uint8_t *child)
{
    const uint8_t side = (uint8_t)right, place = n->bit;
    if (n->flags & TS_REPEATED)
        for (int row = 0; row < rows; row++)
            child[row] = bits[row] & (uint8_t)~((left[row] ^ side ^ 1) << place);
    else
        for (int row = 0; row < rows; row++)
            child[row] = bits[row] | (uint8_t)((left[row] ^ side) << place);
}

TS_INLINE void add_leaves(ts_block *b, const ts_node *n, const uint8_t *bits, const uint8_t *left, int rows)
{
    const float left_value = n->left < 0 ? n->left_value : 0.0f, right_value = n->right < 0 ? n->right_value : 0.0f;
    const uint8_t all = (uint8_t)((1u << n->above) - 1);
    float *margin = b->margin;
    for (int row = 0; row < rows; row++)
        margin[row] += bits[row] == all ? (left[row] ? left_value : right_value) : 0.0f;
}

TS_INLINE void add_table(ts_block *b, const ts_node *n, const uint8_t *index, const int32_t *path, int rows)
{
    const int features = n->above + !(n->flags & TS_REPEATED), size = n->above < 3 ? TS_TABLE_ROW : 2 << n->above;
    const float *table = b->m->tables + (size_t)n->table * TS_TABLE_ROW;
    for (int feature = 0; feature < features; feature++, table += size) {
        float *value = b->chunk + (size_t)path[feature] * (size_t)b->stride;
        for (int row = 0; row < rows; row++)
            value[row] += table[index[row]];
    }
}

/* Where `rows` is the constant 1, no loop over rows is left. */
TS_INLINE void look_up_rows(ts_block *b, const ts_tree *t, const int rows)
{
    int32_t path[TS_MOST_BITS];
    uint8_t left[TS_BLOCK], index[TS_BLOCK];
    memset(b->bits, 0, (size_t)rows);
    for (const ts_node *n = b->m->nodes + t->first, *end = n + t->nodes; n < end; n++) {
        const uint8_t *bits = b->bits + (size_t)ts_slot(n) * TS_BLOCK;
        uint8_t *below = b->bits + (size_t)(2 * n->level + 2) * TS_BLOCK;
        const float *x = b->x + (size_t)n->column * (size_t)b->stride;
        for (int row = 0; row < rows; row++)
            left[row] = ts_goes_left(b->m, n, x[row]) != 0;
        path[n->bit] = n->column;
        if (n->left >= 0)
            inherit(bits, left, n, 0, rows, below);
        if (n->right >= 0)
            inherit(bits, left, n, 1, rows, below + TS_BLOCK);
        if (n->table < 0)
            continue;
        add_leaves(b, n, bits, left, rows);
        for (int row = 0; row < rows; row++)
            index[row] = bits[row] | (uint8_t)(left[row] << n->above);
        add_table(b, n, index, path, rows);
    }
}

static void ts_look_up(ts_block *b, const ts_tree *t)
{
    if (b->count == 1) /* it touches a few floats of a table and not all of it */
        look_up_rows(b, t, 1);
    else
#if TS_AVX512
        look_up_in_registers(b, t);
#else
        look_up_rows(b, t, b->rows);
#endif
}

#endif
