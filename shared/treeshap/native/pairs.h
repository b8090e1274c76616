/* The state of pairs.c for a block of rows, and for one tree and one register of rows. */
#ifndef TREESHAP_PAIRS_H
#define TREESHAP_PAIRS_H

#include "splits.h"
#include "treeshap.h"
#include "vector.h"

typedef struct {
    const ts_model *m;
    const ts_pair_plan *plan;
    int rows;            /* of this block, rounded up to what is computed */
    float *x;            /* used x plan->block: the rows, transposed */
    float *chunk;        /* pairs x plan->block: what the chunk's trees give */
    double *sum;         /* pairs x plan->block: what all trees give */
    double *diagonal;    /* used: of one row */
    uint8_t *touched;    /* pairs: those that the chunk's trees have */
    float *products, *sums, *gains, *bits;
} ts_pair_block;

/* One tree and one register of rows. */
typedef struct {
    const ts_pair_block *b;
    const ts_node *root;
    const float *factors;    /* PAIR_FACTORS x points for each node of the tree */
    const float *lost, *root_weights; /* -sqrt(w) / (1 - t), the gain of a lost bit, and sqrt(w) */
    vec *products;           /* points for each level */
    vec *sums;               /* 2 x points for each level */
    vec *gains;              /* points for each feature of the path */
    mask *bits;              /* by the features' places on the path */
    int row;                 /* the first of the rows that are visited */
} ts_pair_pass;

#endif
