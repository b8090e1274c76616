/* Interactions: what each two features of a path give together. Compiled once for each instruction set, with PAIRS as
 * the name of its entry.
 *
 * A leaf of value v gives the pair i, j of its path's features, with b the row's bits and r the cover ratios,
 *     v / 2 (b_i - r_i)(b_j - r_j) * integral over t from 0 to 1 of the product over k != i, j of F_k,
 *     F_k = t b_k + (1 - t) r_k,
 * which Gauss and Legendre's points give exactly. As in quadrature.h the products are made on the way down, and the
 * sums h of v * product over the leaves below come back up. Here each feature of the path also keeps its gain
 * G = sqrt(w) (b - r) / F at each point: at a split on feature i, h G_i of both sides, times G_j of each feature j
 * above, is what the pair i, j gets of the leaves below. Where i is repeated, what h gave with its earlier gain is
 * taken off. So a split costs as many sums over the points as it has features above it, and no leaf costs any.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "pairs.h"
#include "treeshap.h"

#define POINTS 1
#include "pairs_points.h"
#define POINTS 2
#include "pairs_points.h"
#define POINTS 3
#include "pairs_points.h"
#define POINTS 4
#include "pairs_points.h"
#define POINTS 5
#include "pairs_points.h"
#define POINTS 6
#include "pairs_points.h"
#define POINTS 8
#include "pairs_points.h"
#define POINTS 12
#include "pairs_points.h"
#define POINTS 16
#include "pairs_points.h"

static void add_tree(ts_pair_block *b, const ts_tree *t, const float *factors)
{
    switch (t->points) {
    case 1: add_tree1(b, t, factors); break;
    case 2: add_tree2(b, t, factors); break;
    case 3: add_tree3(b, t, factors); break;
    case 4: add_tree4(b, t, factors); break;
    case 5: add_tree5(b, t, factors); break;
    case 6: add_tree6(b, t, factors); break;
    case 8: add_tree8(b, t, factors); break;
    case 12: add_tree12(b, t, factors); break;
    default: add_tree16(b, t, factors);
    }
}

static void touch(ts_pair_block *b, const ts_tree *t)
{
    const ts_pair_plan *plan = b->plan;
    for (int64_t at = plan->first_slot[t->first], end = plan->first_slot[t->first + t->nodes]; at < end; at++)
        b->touched[plan->slots[at]] = 1;
}

static void add_output(ts_pair_block *b, int output)
{
    const ts_model *m = b->m;
    const size_t plane = (size_t)b->plan->pairs * (size_t)b->plan->block;
    memset(b->sum, 0, sizeof(double) * plane);
    memset(b->chunk, 0, sizeof(float) * plane);
    memset(b->touched, 0, (size_t)b->plan->pairs);
    for (int at = m->first_tree[output]; at < m->first_tree[output + 1]; at++) {
        const ts_tree *t = m->trees + at;
        if (t->nodes && b->plan->pairs) {
            touch(b, t);
            add_tree(b, t, b->plan->factors + (size_t)b->plan->first_factor[at] * TS_TABLE_ROW);
        }
        if (t->ends_chunk)
            ts_add_chunk(b->plan->pairs, b->plan->block, b->rows, b->touched, b->chunk, b->sum);
    }
    ts_add_chunk(b->plan->pairs, b->plan->block, b->rows, b->touched, b->chunk, b->sum);
}

/* One row's pairs, one after the other. */
static void write_line(const ts_pair_block *b, int row, float *line)
{
    for (int pair = 0; pair < b->plan->pairs; pair++)
        line[pair] = (float)(b->sum[(size_t)pair * (size_t)b->plan->block + (size_t)row] / 2);
}

/* One row's matrix, which is zero before; on its diagonal what the feature's pairs give to others. */
static void write_matrix(const ts_pair_block *b, int row, float *matrix)
{
    const ts_model *m = b->m;
    const size_t width = (size_t)m->features + 1;
    memset(b->diagonal, 0, sizeof(double) * (size_t)m->used);
    for (int pair = 0; pair < b->plan->pairs; pair++) {
        const int32_t i = b->plan->lower[pair], j = b->plan->upper[pair];
        const double given = b->sum[(size_t)pair * (size_t)b->plan->block + (size_t)row] / 2;
        matrix[(size_t)m->columns[i] * width + (size_t)m->columns[j]] = (float)given;
        matrix[(size_t)m->columns[j] * width + (size_t)m->columns[i]] = (float)given;
        b->diagonal[i] -= given;
        b->diagonal[j] -= given;
    }
    for (int column = 0; column < m->used; column++)
        matrix[(size_t)m->columns[column] * (width + 1)] = (float)b->diagonal[column];
}

static void write_out(const ts_pair_block *b, int output, int count, float *out)
{
    const ts_model *m = b->m;
    const size_t width = (size_t)m->features + 1, each = b->plan->dense ? width * width : (size_t)b->plan->pairs;
    for (int row = 0; row < count; row++) {
        float *to = out + ((size_t)row * (size_t)m->outputs + (size_t)output) * each;
        if (b->plan->dense)
            write_matrix(b, row, to);
        else
            write_line(b, row, to);
    }
}

/* Cuts what a block needs out of one piece of memory, and returns how many bytes that takes. */
static size_t lay_out(ts_pair_block *b, char *memory)
{
    const size_t block = (size_t)b->plan->block, pairs = (size_t)b->plan->pairs, used = (size_t)b->m->used;
    const size_t points = sizeof(float) * TS_STEP * TS_MOST_POINTS, levels = (size_t)b->m->levels + 1;
    size_t at = 0;
    b->x = ts_cut(memory, &at, sizeof(float) * used * block);
    b->chunk = ts_cut(memory, &at, sizeof(float) * pairs * block);
    b->sum = ts_cut(memory, &at, sizeof(double) * pairs * block);
    b->diagonal = ts_cut(memory, &at, sizeof(double) * used);
    b->touched = ts_cut(memory, &at, pairs);
    b->products = ts_cut(memory, &at, points * levels);
    b->sums = ts_cut(memory, &at, 2 * points * levels);
    b->gains = ts_cut(memory, &at, points * 2 * TS_MOST_POINTS);
    b->bits = ts_cut(memory, &at, sizeof(float) * TS_STEP * 2 * TS_MOST_POINTS);
    return at + 64; /* never nothing */
}

int PAIRS(const ts_model *m, const ts_pair_plan *plan, const float *rows, int64_t count, float *out)
{
    ts_pair_block b = {.m = m, .plan = plan};
    const size_t width = (size_t)m->features + 1, each = plan->dense ? width * width : (size_t)plan->pairs;
    char *memory = aligned_alloc(64, lay_out(&b, NULL));
    if (!memory)
        return -1;
    lay_out(&b, memory);
    for (int64_t done = 0; done < count; done += plan->block) {
        const int here = count - done < plan->block ? (int)(count - done) : plan->block;
        b.rows = (here + TS_STEP - 1) / TS_STEP * TS_STEP;
        ts_transpose(m, rows + done * m->features, here, b.rows, plan->block, b.x);
        for (int output = 0; output < m->outputs; output++) {
            add_output(&b, output);
            write_out(&b, output, here, out + (size_t)done * (size_t)m->outputs * each);
        }
    }
    free(memory);
    return 0;
}
