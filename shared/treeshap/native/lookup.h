/* Trees with tables: a leaf's contributions by its bits, looked up and added. */
#ifndef TREESHAP_LOOKUP_H
#define TREESHAP_LOOKUP_H

#include <string.h>

#include "block.h"
#include "splits.h"
#include "vector.h"

TS_INLINE uint8_t child_bits(const ts_node *n, uint8_t bits, int set)
{
    const uint8_t place = (uint8_t)(1 << n->bit);
    if (n->flags & TS_REPEATED)
        return set ? bits : bits & (uint8_t)~place;
    return set ? bits | place : bits;
}

/* For a block of one row, which touches a few floats of a table and not all of it. */
static void look_up_row(ts_block *b, const ts_tree *t)
{
    uint8_t *bits = b->bits; /* one a slot here */
    int32_t path[TS_MOST_BITS];
    bits[0] = 0;
    for (const ts_node *n = b->m->nodes + t->first, *end = n + t->nodes; n < end; n++) {
        const uint8_t here = bits[ts_slot(n)];
        const int left = ts_goes_left(b->m, n, b->x[(size_t)n->column * TS_BLOCK]) != 0;
        path[n->bit] = n->column;
        bits[2 * n->level + 2] = child_bits(n, here, left);
        bits[2 * n->level + 3] = child_bits(n, here, !left);
        if (n->table < 0)
            continue;
        if ((left ? n->left : n->right) < 0 && here == (1 << n->above) - 1)
            b->margin[0] += left ? n->left_value : n->right_value;
        const int features = n->above + !(n->flags & TS_REPEATED), size = n->above < 3 ? TS_TABLE_ROW : 2 << n->above;
        const float *table = b->m->tables + (size_t)n->table * TS_TABLE_ROW + (here | left << n->above);
        for (int feature = 0; feature < features; feature++, table += size)
            b->phi[(size_t)path[feature] * TS_BLOCK] += *table;
    }
}

#if TS_AVX512
#include "lookup_avx512.h"
enum { TS_TABLES_ARE_FASTER = 1 };
#else
#ifdef __AVX2__
enum { TS_TABLES_ARE_FASTER = 0 }; /* looking up one by one is slower than to compute in registers */
#else
enum { TS_TABLES_ARE_FASTER = 1 };
#endif

/* For each row whether it goes left, as 0 or 1. */
static void compare(const ts_model *m, const ts_node *n, const float *x, int rows, uint8_t *left)
{
    const float threshold = n->threshold;
    if (n->flags & TS_CATEGORICAL)
        for (int row = 0; row < rows; row++)
            left[row] = (uint8_t)ts_goes_left(m, n, x[row]);
    else if (n->flags & TS_DEFAULT_LEFT)
        for (int row = 0; row < rows; row++)
            left[row] = (uint8_t)!(x[row] >= threshold);
    else
        for (int row = 0; row < rows; row++)
            left[row] = x[row] < threshold;
}

/* A child's bits: a new feature's is set where the row takes its side, a repeated one's cleared where not. */
static void inherit(const uint8_t *bits, const uint8_t *left, const ts_node *n, int right, int rows, uint8_t *child)
{
    const uint8_t side = (uint8_t)right, place = n->bit, keep = n->flags & TS_REPEATED ? 0 : 1;
    if (keep)
        for (int row = 0; row < rows; row++)
            child[row] = bits[row] | (uint8_t)((left[row] ^ side) << place);
    else
        for (int row = 0; row < rows; row++)
            child[row] = bits[row] & (uint8_t)~((left[row] ^ side ^ 1) << place);
}

static void add_leaves(ts_block *b, const ts_node *n, const uint8_t *bits, const uint8_t *left)
{
    const float left_value = n->left < 0 ? n->left_value : 0.0f, right_value = n->right < 0 ? n->right_value : 0.0f;
    const uint8_t all = (uint8_t)((1u << n->above) - 1);
    float *margin = b->margin;
    for (int row = 0; row < b->rows; row++)
        margin[row] += bits[row] == all ? (left[row] ? left_value : right_value) : 0.0f;
}

static void look_up_node(ts_block *b, const ts_node *n, int32_t *path)
{
    const uint8_t *bits = b->bits + (size_t)ts_slot(n) * TS_BLOCK;
    uint8_t *below = b->bits + (size_t)(2 * n->level + 2) * TS_BLOCK;
    uint8_t left[TS_BLOCK], index[TS_BLOCK];
    compare(b->m, n, b->x + (size_t)n->column * TS_BLOCK, b->rows, left);
    path[n->bit] = n->column;
    if (n->left >= 0)
        inherit(bits, left, n, 0, b->rows, below);
    if (n->right >= 0)
        inherit(bits, left, n, 1, b->rows, below + TS_BLOCK);
    if (n->table < 0)
        return;
    add_leaves(b, n, bits, left);
    for (int row = 0; row < b->rows; row++)
        index[row] = bits[row] | (uint8_t)(left[row] << n->above);
    const int features = n->above + !(n->flags & TS_REPEATED), size = n->above < 3 ? TS_TABLE_ROW : 2 << n->above;
    const float *table = b->m->tables + (size_t)n->table * TS_TABLE_ROW;
    for (int feature = 0; feature < features; feature++, table += size) {
        float *phi = b->phi + (size_t)path[feature] * TS_BLOCK;
        for (int row = 0; row < b->rows; row++)
            phi[row] += table[index[row]];
    }
}

static void look_up(ts_block *b, const ts_tree *t)
{
    int32_t path[TS_MOST_BITS];
    memset(b->bits, 0, TS_BLOCK);
    for (int i = 0; i < t->nodes; i++)
        look_up_node(b, b->m->nodes + t->first + i, path);
}

#endif

#endif
