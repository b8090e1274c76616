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
    const __m512 threshold = _mm512_set1_ps(n->threshold);
    __mmask64 left = 0;
    if (n->flags & TS_CATEGORICAL)
        for (int row = 0; row < WIDE; row++)
            left |= (__mmask64)(ts_goes_left(m, n, x[row]) != 0) << row;
    else if (n->flags & TS_DEFAULT_LEFT) /* not greater or equal, or missing */
        for (int part = 0; part < 4; part++)
            left |= (__mmask64)_mm512_cmp_ps_mask(_mm512_load_ps(x + 16 * part), threshold, _CMP_NGE_UQ) << 16 * part;
    else
        for (int part = 0; part < 4; part++)
            left |= (__mmask64)_mm512_cmp_ps_mask(_mm512_load_ps(x + 16 * part), threshold, _CMP_LT_OQ) << 16 * part;
    return left;
}

TS_INLINE __m512i inherit64(__m512i bits, const ts_node *n, __mmask64 side)
{
    const __m512i place = _mm512_set1_epi8((char)(1 << n->bit));
    if (n->flags & TS_REPEATED)
        return _mm512_mask_blend_epi8(side, _mm512_andnot_si512(place, bits), bits);
    return _mm512_mask_blend_epi8(side, bits, _mm512_or_si512(bits, place));
}

/* Sixteen floats of a table of up to 64, by the low bits of each index. */
TS_INLINE __m512 permute(const __m512 *table, int bits, __m512i index, __mmask16 upper)
{
    if (bits <= 4)
        return _mm512_permutexvar_ps(index, table[0]);
    const __m512 low = _mm512_permutex2var_ps(table[0], index, table[1]);
    if (bits == 5)
        return low;
    return _mm512_mask_blend_ps(upper, low, _mm512_permutex2var_ps(table[2], index, table[3]));
}

/* `features` and `bits` are constants where it is called, so that all tables stay in registers. */
TS_INLINE void add_tables(ts_block *b, const float *table, const int32_t *path, const uint8_t *indexes, int features,
                          int bits)
{
    const int registers = bits <= 4 ? 1 : bits == 5 ? 2 : 4;
    __m512 tables[TS_TABLE_BITS][4];
    float *phi[TS_TABLE_BITS];
#pragma GCC unroll 6
    for (int feature = 0; feature < features; feature++) {
        phi[feature] = b->phi + (size_t)path[feature] * TS_BLOCK;
#pragma GCC unroll 4
        for (int part = 0; part < registers; part++)
            tables[feature][part] = _mm512_loadu_ps(table + (feature * registers + part) * 16);
    }
    const char *next = (const char *)(table + features * registers * 16);
    for (int row = 0; row < b->rows; row += 16) {
        _mm_prefetch(next, _MM_HINT_T0); /* what lies behind the last table is harmless: a prefetch never faults */
        _mm_prefetch(next + 64, _MM_HINT_T0);
        next += 128;
        const __m512i index = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)(indexes + row)));
        const __mmask16 upper = bits == 6 ? _mm512_test_epi32_mask(index, _mm512_set1_epi32(32)) : 0;
#pragma GCC unroll 6
        for (int feature = 0; feature < features; feature++)
            _mm512_store_ps(phi[feature] + row, _mm512_add_ps(_mm512_load_ps(phi[feature] + row),
                                                              permute(tables[feature], bits, index, upper)));
    }
}

/* Sixteen floats of a table of 128 or 256: pairs of registers by the low bits, then halves by each upper bit. */
TS_INLINE __m512 permute_wide(const __m512 *table, int registers, __m512i index)
{
    __m512 found[8];
    int left = registers / 2;
#pragma GCC unroll 8
    for (int pair = 0; pair < left; pair++)
        found[pair] = _mm512_permutex2var_ps(table[2 * pair], index, table[2 * pair + 1]);
#pragma GCC unroll 3
    for (int bit = 32; left > 1; bit *= 2) {
        const __mmask16 upper = _mm512_test_epi32_mask(index, _mm512_set1_epi32(bit));
        left /= 2;
#pragma GCC unroll 4
        for (int half = 0; half < left; half++)
            found[half] = _mm512_mask_blend_ps(upper, found[2 * half], found[2 * half + 1]);
    }
    return found[0];
}

/* One feature's table fills up to half of all registers, so features come one after the other. */
TS_INLINE void add_wide_tables(ts_block *b, const float *table, const int32_t *path, const uint8_t *indexes,
                               int features, int registers)
{
    for (int feature = 0; feature < features; feature++, table += registers * 16) {
        float *phi = b->phi + (size_t)path[feature] * TS_BLOCK;
        __m512 parts[16];
#pragma GCC unroll 16
        for (int part = 0; part < registers; part++)
            parts[part] = _mm512_loadu_ps(table + part * 16);
        const char *next = (const char *)(table + registers * 16);
        for (int row = 0; row < b->rows; row += 16) {
            _mm_prefetch(next, _MM_HINT_T0); /* as above */
            next += 64;
            const __m512i index = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)(indexes + row)));
            _mm512_store_ps(phi + row, _mm512_add_ps(_mm512_load_ps(phi + row), permute_wide(parts, registers, index)));
        }
    }
}

static void add_by_shape(ts_block *b, const ts_node *n, const int32_t *path, const uint8_t *index)
{
    const float *table = b->m->tables + (size_t)n->table * TS_TABLE_ROW;
    switch (n->above * 2 + !(n->flags & TS_REPEATED)) {
    case 1: add_tables(b, table, path, index, 1, 1); break;
    case 2: add_tables(b, table, path, index, 1, 2); break;
    case 3: add_tables(b, table, path, index, 2, 2); break;
    case 4: add_tables(b, table, path, index, 2, 3); break;
    case 5: add_tables(b, table, path, index, 3, 3); break;
    case 6: add_tables(b, table, path, index, 3, 4); break;
    case 7: add_tables(b, table, path, index, 4, 4); break;
    case 8: add_tables(b, table, path, index, 4, 5); break;
    case 9: add_tables(b, table, path, index, 5, 5); break;
    case 10: add_tables(b, table, path, index, 5, 6); break;
    case 11: add_tables(b, table, path, index, 6, 6); break;
    case 12: add_wide_tables(b, table, path, index, 6, 8); break;
    case 13: add_wide_tables(b, table, path, index, 7, 8); break;
    case 14: add_wide_tables(b, table, path, index, 7, 16); break;
    case 15: add_wide_tables(b, table, path, index, 8, 16); break;
    default: break;
    }
}

TS_INLINE void add_leaves64(float *margin, const ts_node *n, __mmask64 reached, __mmask64 left)
{
    const __m512 left_value = _mm512_set1_ps(n->left_value), right_value = _mm512_set1_ps(n->right_value);
    const __mmask64 to_left = n->left < 0 ? reached & left : 0, to_right = n->right < 0 ? reached & ~left : 0;
    for (int part = 0; part < 4; part++) {
        __m512 sum = _mm512_load_ps(margin + 16 * part);
        sum = _mm512_mask_add_ps(sum, (__mmask16)(to_left >> 16 * part), sum, left_value);
        sum = _mm512_mask_add_ps(sum, (__mmask16)(to_right >> 16 * part), sum, right_value);
        _mm512_store_ps(margin + 16 * part, sum);
    }
}

static void look_up_node(ts_block *b, const ts_node *n, int32_t *path)
{
    const uint8_t *bits_here = b->bits + (size_t)ts_slot(n) * TS_BLOCK;
    uint8_t *below = b->bits + (size_t)(2 * n->level + 2) * TS_BLOCK;
    const float *x = b->x + (size_t)n->column * TS_BLOCK;
    _Alignas(64) uint8_t index[TS_BLOCK];
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

static void look_up(ts_block *b, const ts_tree *t)
{
    int32_t path[TS_MOST_BITS];
    memset(b->bits, 0, TS_BLOCK);
    for (int i = 0; i < t->nodes; i++)
        look_up_node(b, b->m->nodes + t->first + i, path);
}

#endif
#endif
