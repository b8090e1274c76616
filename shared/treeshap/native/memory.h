/* Several arrays in one piece of memory. */
#ifndef TREESHAP_MEMORY_H
#define TREESHAP_MEMORY_H

#include <stddef.h>

/* The next piece of memory; where there is none yet, only its size counts. */
static inline void *ts_cut(char *memory, size_t *at, size_t bytes)
{
    void *piece = memory ? memory + *at : NULL;
    *at += (bytes + 63) & ~(size_t)63;
    return piece;
}

#endif
