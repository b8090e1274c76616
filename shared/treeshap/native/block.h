/* A block of rows that goes down the trees together, and the memory that this takes. */
#ifndef TREESHAP_BLOCK_H
#define TREESHAP_BLOCK_H

#include <stddef.h>

#include "treeshap.h"

typedef struct {
    const ts_model *m;
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
} ts_block;

/* Where a node's bits lie: while the left subtree is visited, the right child's must stay. */
static inline int ts_slot(const ts_node *n) { return 2 * n->level + n->right_child; }

#endif
