/* The arrays of a block of rows: columns first, all in one piece of memory. */
#ifndef TREESHAP_ARRAYS_H
#define TREESHAP_ARRAYS_H

#include <stddef.h>
#include <string.h>

#include "treeshap.h"

/* The next piece of memory; where there is none yet, only its size counts. */
static inline void *ts_cut(char *memory, size_t *at, size_t bytes)
{
    void *piece = memory ? memory + *at : NULL;
    *at += (bytes + 63) & ~(size_t)63;
    return piece;
}

/* Puts the used columns of rows one after the other, each in `stride` floats, and zeros from `count` to `padded`. */
static inline void ts_transpose(const ts_model *m, const float *rows, int count, int padded, int stride, float *to)
{
    for (int column = 0; column < m->used; column++, to += stride) {
        const float *from = rows + m->columns[column];
        for (int row = 0; row < count; row++)
            to[row] = from[(size_t)row * (size_t)m->features];
        for (int row = count; row < padded; row++)
            to[row] = 0.0f;
    }
}

/* Adds a chunk's touched lines to the sums and clears them. Float is exact enough for some trees, and as fast as can
 * be; with sums in double a thousand trees are as exact as few. */
static inline void ts_add_chunk(int lines, int stride, int rows, uint8_t *touched, float *chunk, double *sum)
{
    for (int line = 0; line < lines; line++, chunk += stride, sum += stride) {
        if (!touched[line])
            continue;
        touched[line] = 0;
        for (int row = 0; row < rows; row++)
            sum[row] += (double)chunk[row];
        memset(chunk, 0, sizeof(float) * (size_t)rows);
    }
}

#endif
