/* The arrays that the compiler (shared/treeshap/compiler.py) writes and the kernels read. Each number was checked by
 * table_file.py before a kernel sees it: indexes lie in their arrays, children come after their parents. */
#ifndef TREESHAP_H
#define TREESHAP_H

#include <stdint.h>

enum {
    TS_BLOCK = 256,       /* rows that go down the trees together */
    TS_STEP = 16,         /* what the rows of a block are rounded up to */
    TS_MOST_POINTS = 16,  /* quadrature points: exact for 32 different features on a path */
    TS_TABLE_BITS = 6,    /* bits that index a table */
    TS_MOST_BITS = 8,     /* the same in trees that have ONLY_TABLES */
    TS_TABLE_ROW = 16     /* floats that a feature's table has at least: one AVX-512 register */
};

enum { TS_DEFAULT_LEFT = 1, TS_CATEGORICAL = 2, TS_REPEATED = 4 }; /* a node's flags */
/* Floats that a node takes for each point: kept, lost, gain of each side; the gain so far. */
enum { TS_FACTORS = 7 };

enum { TS_ONLY_TABLES = 2 }; /* a tree's has_tables, where quadrature would give something else */

/* An inner node. Those of a tree lie in one piece, each before its left subtree, that before the right one. */
typedef struct {
    double ratio_above;          /* the feature's cover ratio on the path so far; 1 if it is new here */
    double left_ratio, right_ratio; /* the same for the children, this split included */
    double left_share, right_share; /* this split alone: cover of the child / cover of the node */
    float threshold;
    int32_t column;              /* among the columns that the model uses */
    int32_t left, right;         /* the children's nodes, or -1 for a leaf */
    float left_value, right_value;
    int32_t table;               /* in units of TABLE_ROW floats; -1: no leaf below, or no table */
    int32_t categories, words;   /* a categorical split's set: those that go right */
    uint16_t level;              /* the root's is 0 */
    uint8_t right_child;         /* 1 if it is its parent's right child */
    uint8_t bit;                 /* the feature's place among those of the path */
    uint8_t above;               /* how many different features the path has so far */
    uint8_t flags;
    uint8_t unused[6];
} ts_node;

typedef struct {
    int32_t first, nodes;        /* none: a tree of one leaf */
    int32_t points;              /* quadrature points that are exact for it: 1 to 6, 8, 12 or 16 */
    int32_t has_tables;
    float leaf;                  /* the leaf of a tree without nodes */
    int32_t levels;
    int32_t ends_chunk;          /* 1: what the trees since the last such one gave is small enough for one float */
    int32_t factors;             /* in units of TABLE_ROW floats; -1: the kernel makes them */
} ts_tree;

typedef struct {
    const int32_t *columns;      /* the feature of each used column, ascending */
    const int32_t *first_tree;   /* outputs + 1: the trees of each output lie in one piece */
    const ts_tree *trees;
    const ts_node *nodes;
    const uint32_t *categories;
    const float *start;          /* the margin before the first tree, for each output */
    const float *base;           /* the base value of each output */
    const float *tables;
    const float *factors;        /* FACTORS x points for each node of some trees */
    const double *points;        /* MOST_POINTS + 1 rules of 4 x MOST_POINTS: t, 1 - t, w, -w / (1 - t) */
    int32_t outputs, used, features, levels, most_nodes;
} ts_model;

/* The plan of interactions; made by pairs.py from a model that was checked. */
typedef struct {
    const int64_t *first_slot;   /* nodes + 1 */
    const int32_t *slots;        /* for each other feature of a node's path, in its order: the pair */
    const int32_t *lower, *upper; /* pairs: their two columns, the lower one first */
    int32_t pairs, block;        /* block: rows that are taken together, a multiple of STEP */
    int32_t dense;               /* 1: matrices with their diagonals; 0: the pairs alone */
} ts_pair_plan;

#define TS_VISIBLE __attribute__((visibility("default")))

/* Each explains rows x features, and adds to what is zero before. Returns 0, or -1 without memory.
 *
 * Without a plan `out` is rows x outputs x (features + 2): contributions, base value, margin. With a dense plan it is
 * rows x outputs x (features + 1)^2, symmetric, on the diagonal minus the sum of the feature's pairs; else
 * rows x outputs x pairs.
 */
typedef int ts_explain(const ts_model *m, const ts_pair_plan *plan, const float *rows, int64_t count, float *out);

TS_VISIBLE ts_explain treeshap_portable, treeshap_avx2, treeshap_avx512;

#endif
