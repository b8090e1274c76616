/* The same with AVX-512: a feature's table of 64 floats stands in four registers, and a permute looks 16 rows up. */
#ifndef TREESHAP_LOOKUP_AVX512_H
#define TREESHAP_LOOKUP_AVX512_H

#include <string.h>

#include "block.h"
#include "splits.h"
#include "vector.h"

#if TS_AVX512
enum { WIDE = 64 }; /* rows whose bits are one register */

/* One bit a row: whether it goes left. */
TS_INLINE __mmask64 compare64(const ts_model *m, const ts_node *n, const float *x)
{
    __mmask64 left = 0;
    for (int row = 0; row < WIDE; row += VEC_LANES)
        left |= (__mmask64)ts_lanes_left(m, n, x + row) << row;
    return left;
}

TS_INLINE __m512i inherit64(__m512i bits, const ts_node *n, __mmask64 side)
{
    const __m512i place = _mm512_set1_epi8((char)(1 << n->bit));
    if (n->flags & TS_REPEATED)
        return _mm512_mask_blend_epi8(side, _mm512_andnot_si512(place, bits), bits);
    return _mm512_mask_blend_epi8(side, bits, _mm512_or_si512(bits, place));
}

/* Sixteen floats of a table of up to 256: pairs of registers by the low bits, then halves by each upper bit. */
TS_INLINE vec permute(const vec *table, int registers, __m512i index)
{
    vec found[8];
    int left = registers / 2;
    if (registers == 1)
        return _mm512_permutexvar_ps(index, table[0]);
#pragma GCC unroll 8
    for (int pair = 0; pair < left; pair++)
        found[pair] = _mm512_permutex2var_ps(table[2 * pair], index, table[2 * pair + 1]);
#pragma GCC unroll 3
    for (int bit = 32; left > 1; bit *= 2) {
        const mask upper = _mm512_test_epi32_mask(index, _mm512_set1_epi32(bit));
        left /= 2;
#pragma GCC unroll 4
        for (int half = 0; half < left; half++)
            found[half] = vec_choose(upper, found[2 * half + 1], found[2 * half]);
    }
    return found[0];
}

/* `features` and `registers` are constants where it is called, so that all tables stay in registers. */
TS_INLINE void add_tables(ts_block *b, const float *table, const int32_t *path, const uint8_t *indexes, int features,
                          int registers)
{
    vec tables[TS_TABLE_BITS][16];
    vec *values[TS_TABLE_BITS];
#pragma GCC unroll 6
    for (int feature = 0; feature < features; feature++) {
        values[feature] = (vec *)(b->chunk + (size_t)path[feature] * (size_t)b->stride);
#pragma GCC unroll 16
        for (int part = 0; part < registers; part++)
            tables[feature][part] = _mm512_loadu_ps(table + (feature * registers + part) * VEC_LANES);
    }
    const char *next = (const char *)(table + features * registers * VEC_LANES);
    for (int part = 0; part < b->rows / VEC_LANES; part++, next += 128) {
        _mm_prefetch(next, _MM_HINT_T0); /* what lies behind the last table is harmless: a prefetch never faults */
        _mm_prefetch(next + 64, _MM_HINT_T0);
        const __m512i index = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)indexes + part));
#pragma GCC unroll 6
        for (int feature = 0; feature < features; feature++)
            values[feature][part] += permute(tables[feature], registers, index);
    }
}

/* Tables of seven or eight bits: one fills up to half of all registers, so features come one after the other. */
TS_INLINE void add_wide_tables(ts_block *b, const float *table, const int32_t *path, const uint8_t *indexes,
                               int features, int registers)
{
    for (int feature = 0; feature < features; feature++, table += registers * VEC_LANES)
        add_tables(b, table, path + feature, indexes, 1, registers);
}

static void add_by_shape(ts_block *b, const ts_node *n, const int32_t *path, const uint8_t *index)
{
    const float *table = b->m->tables + (size_t)n->table * TS_TABLE_ROW;
    const int features = n->above + !(n->flags & TS_REPEATED);
    switch (features + 16 * n->above) {
    case 1 + 16 * 0:
    case 1 + 16 * 1: add_tables(b, table, path, index, 1, 1); break;
    case 2 + 16 * 1:
    case 2 + 16 * 2: add_tables(b, table, path, index, 2, 1); break;
    case 3 + 16 * 2:
    case 3 + 16 * 3: add_tables(b, table, path, index, 3, 1); break;
    case 4 + 16 * 3: add_tables(b, table, path, index, 4, 1); break;
    case 4 + 16 * 4: add_tables(b, table, path, index, 4, 2); break;
    case 5 + 16 * 4: add_tables(b, table, path, index, 5, 2); break;
    case 5 + 16 * 5: add_tables(b, table, path, index, 5, 4); break;
    case 6 + 16 * 5: add_tables(b, table, path, index, 6, 4); break;
    case 6 + 16 * 6:
    case 7 + 16 * 6: add_wide_tables(b, table, path, index, features, 8); break;
    default: add_wide_tables(b, table, path, index, features, 16);
    }
}

TS_INLINE void add_leaves64(float *margin, const ts_node *n, __mmask64 reached, __mmask64 left)
{
    const __mmask64 to_left = n->left < 0 ? reached & left : 0, to_right = n->right < 0 ? reached & ~left : 0;
    for (int row = 0; row < WIDE; row += VEC_LANES) {
        vec *sum = (vec *)(margin + row);
        *sum = _mm512_mask_add_ps(*sum, (mask)(to_left >> row), *sum, vec_all(n->left_value));
        *sum = _mm512_mask_add_ps(*sum, (mask)(to_right >> row), *sum, vec_all(n->right_value));
    }
}

static void look_up_in_registers(ts_block *b, const ts_tree *t)
{
    int32_t path[TS_MOST_BITS];
    _Alignas(64) uint8_t index[TS_BLOCK];
    memset(b->bits, 0, TS_BLOCK);
    for (const ts_node *n = b->m->nodes + t->first, *end = n + t->nodes; n < end; n++) {
        const uint8_t *bits_here = b->bits + (size_t)ts_slot(n) * TS_BLOCK;
        uint8_t *below = b->bits + (size_t)(2 * n->level + 2) * TS_BLOCK;
        const float *x = b->x + (size_t)n->column * (size_t)b->stride;
        const __m512i all = _mm512_set1_epi8((char)((1 << n->above) - 1));
        const __m512i own = _mm512_set1_epi8((char)(1 << n->above));
        path[n->bit] = n->column;
        for (int row = 0; row < b->rows; row += WIDE) {
            const __m512i bits = _mm512_load_si512(bits_here + row);
            const __mmask64 left = compare64(b->m, n, x + row);
            if (n->left >= 0)
                _mm512_store_si512(below + row, inherit64(bits, n, left));
            if (n->right >= 0)
                _mm512_store_si512(below + TS_BLOCK + row, inherit64(bits, n, ~left));
            if (n->table >= 0) {
                _mm512_store_si512(index + row, _mm512_mask_blend_epi8(left, bits, _mm512_or_si512(bits, own)));
                add_leaves64(b->margin + row, n, _mm512_cmpeq_epi8_mask(bits, all), left);
            }
        }
        if (n->table >= 0)
            add_by_shape(b, n, path, index);
    }
}

#endif
#endif
