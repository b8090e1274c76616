/* As many rows as a register holds: `vec` a float of each, `mask` a yes or no. The few operations that are needed. */
#ifndef VECTOR_H
#define VECTOR_H

#define ALWAYS static inline __attribute__((always_inline))

#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)

#include <immintrin.h>
enum { LANES = 16 };
typedef __m512 vec;
typedef __mmask16 mask;
ALWAYS vec load(const float *from) { return _mm512_loadu_ps(from); }
ALWAYS void store(float *to, vec a) { _mm512_storeu_ps(to, a); }
ALWAYS vec all_of(float a) { return _mm512_set1_ps(a); }
ALWAYS vec add(vec a, vec b) { return _mm512_add_ps(a, b); }
ALWAYS vec multiply(vec a, vec b) { return _mm512_mul_ps(a, b); }
ALWAYS vec multiply_add(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
ALWAYS vec choose(mask m, vec yes, vec no) { return _mm512_mask_blend_ps(m, no, yes); }
ALWAYS mask both(mask a, mask b) { return a & b; }
ALWAYS mask first_only(mask a, mask b) { return a & (mask)~b; }
ALWAYS mask everywhere(void) { return 0xffff; }
ALWAYS mask less(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
ALWAYS mask not_greater_equal(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_NGE_UQ); }
ALWAYS mask from_ints(const int32_t *ints) { return _mm512_movepi32_mask(_mm512_loadu_si512(ints)); }

#elif defined(__AVX2__) && defined(__FMA__)

#include <immintrin.h>
enum { LANES = 8 };
typedef __m256 vec;
typedef __m256 mask;
ALWAYS vec load(const float *from) { return _mm256_loadu_ps(from); }
ALWAYS void store(float *to, vec a) { _mm256_storeu_ps(to, a); }
ALWAYS vec all_of(float a) { return _mm256_set1_ps(a); }
ALWAYS vec add(vec a, vec b) { return _mm256_add_ps(a, b); }
ALWAYS vec multiply(vec a, vec b) { return _mm256_mul_ps(a, b); }
ALWAYS vec multiply_add(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
ALWAYS vec choose(mask m, vec yes, vec no) { return _mm256_blendv_ps(no, yes, m); }
ALWAYS mask both(mask a, mask b) { return _mm256_and_ps(a, b); }
ALWAYS mask first_only(mask a, mask b) { return _mm256_andnot_ps(b, a); }
ALWAYS mask everywhere(void) { return _mm256_castsi256_ps(_mm256_set1_epi32(-1)); }
ALWAYS mask less(vec a, vec b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
ALWAYS mask not_greater_equal(vec a, vec b) { return _mm256_cmp_ps(a, b, _CMP_NGE_UQ); }
ALWAYS mask from_ints(const int32_t *ints) { return _mm256_loadu_ps((const float *)ints); }

#else /* whatever four floats are on this machine */

#include <string.h>
enum { LANES = 4 };
typedef float vec __attribute__((vector_size(16)));
typedef int32_t mask __attribute__((vector_size(16)));
ALWAYS vec load(const float *from) { vec a; memcpy(&a, from, sizeof a); return a; }
ALWAYS void store(float *to, vec a) { memcpy(to, &a, sizeof a); }
ALWAYS vec all_of(float a) { return (vec){a, a, a, a}; }
ALWAYS vec add(vec a, vec b) { return a + b; }
ALWAYS vec multiply(vec a, vec b) { return a * b; }
ALWAYS vec multiply_add(vec a, vec b, vec c) { return a * b + c; }
ALWAYS vec choose(mask m, vec yes, vec no) { return (vec)((m & (mask)yes) | (~m & (mask)no)); }
ALWAYS mask both(mask a, mask b) { return a & b; }
ALWAYS mask first_only(mask a, mask b) { return a & ~b; }
ALWAYS mask everywhere(void) { return (mask){-1, -1, -1, -1}; }
ALWAYS mask less(vec a, vec b) { return a < b; }
ALWAYS mask not_greater_equal(vec a, vec b) { return ~(a >= b); }
ALWAYS mask from_ints(const int32_t *ints) { mask m; memcpy(&m, ints, sizeof m); return m; }

#endif
#endif
