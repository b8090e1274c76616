/* As many rows as a register holds: `vec` a float of each, `mask` a yes or no. The few operations that are needed. */
#ifndef TREESHAP_VECTOR_H
#define TREESHAP_VECTOR_H

#include <stdint.h>

#define TS_INLINE static inline __attribute__((always_inline))

#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define TS_AVX512 1
#else
#define TS_AVX512 0
#endif

#if TS_AVX512

#include <immintrin.h>
enum { VEC_LANES = 16 };
typedef __m512 vec;
typedef __mmask16 mask;
TS_INLINE vec vec_load(const float *from) { return _mm512_loadu_ps(from); }
TS_INLINE void vec_store(float *to, vec a) { _mm512_storeu_ps(to, a); }
TS_INLINE vec vec_all(float a) { return _mm512_set1_ps(a); }
TS_INLINE vec vec_add(vec a, vec b) { return _mm512_add_ps(a, b); }
TS_INLINE vec vec_multiply(vec a, vec b) { return _mm512_mul_ps(a, b); }
TS_INLINE vec vec_multiply_add(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
TS_INLINE vec vec_choose(mask m, vec yes, vec no) { return _mm512_mask_blend_ps(m, no, yes); }
TS_INLINE mask mask_and(mask a, mask b) { return a & b; }
TS_INLINE mask mask_and_not(mask a, mask b) { return a & (mask)~b; }
TS_INLINE mask mask_all(void) { return 0xffff; }
TS_INLINE mask vec_less(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
TS_INLINE mask vec_not_greater_equal(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_NGE_UQ); }
TS_INLINE mask mask_from_ints(const int32_t *ints) { return _mm512_movepi32_mask(_mm512_loadu_si512(ints)); }

#elif defined(__AVX2__) && defined(__FMA__)

#include <immintrin.h>
enum { VEC_LANES = 8 };
typedef __m256 vec;
typedef __m256 mask;
TS_INLINE vec vec_load(const float *from) { return _mm256_loadu_ps(from); }
TS_INLINE void vec_store(float *to, vec a) { _mm256_storeu_ps(to, a); }
TS_INLINE vec vec_all(float a) { return _mm256_set1_ps(a); }
TS_INLINE vec vec_add(vec a, vec b) { return _mm256_add_ps(a, b); }
TS_INLINE vec vec_multiply(vec a, vec b) { return _mm256_mul_ps(a, b); }
TS_INLINE vec vec_multiply_add(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
TS_INLINE vec vec_choose(mask m, vec yes, vec no) { return _mm256_blendv_ps(no, yes, m); }
TS_INLINE mask mask_and(mask a, mask b) { return _mm256_and_ps(a, b); }
TS_INLINE mask mask_and_not(mask a, mask b) { return _mm256_andnot_ps(b, a); }
TS_INLINE mask mask_all(void) { return _mm256_castsi256_ps(_mm256_set1_epi32(-1)); }
TS_INLINE mask vec_less(vec a, vec b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
TS_INLINE mask vec_not_greater_equal(vec a, vec b) { return _mm256_cmp_ps(a, b, _CMP_NGE_UQ); }
TS_INLINE mask mask_from_ints(const int32_t *ints) { return _mm256_loadu_ps((const float *)ints); }

#else /* four floats, as the compiler supports them on this machine */

#include <string.h>
enum { VEC_LANES = 4 };
typedef float vec __attribute__((vector_size(16)));
typedef int32_t mask __attribute__((vector_size(16)));
TS_INLINE vec vec_load(const float *from)
{
    vec a;
    memcpy(&a, from, sizeof a);
    return a;
}
TS_INLINE void vec_store(float *to, vec a) { memcpy(to, &a, sizeof a); }
TS_INLINE vec vec_all(float a) { return (vec){a, a, a, a}; }
TS_INLINE vec vec_add(vec a, vec b) { return a + b; }
TS_INLINE vec vec_multiply(vec a, vec b) { return a * b; }
TS_INLINE vec vec_multiply_add(vec a, vec b, vec c) { return a * b + c; }
TS_INLINE vec vec_choose(mask m, vec yes, vec no) { return (vec)((m & (mask)yes) | (~m & (mask)no)); }
TS_INLINE mask mask_and(mask a, mask b) { return a & b; }
TS_INLINE mask mask_and_not(mask a, mask b) { return a & ~b; }
TS_INLINE mask mask_all(void) { return (mask){-1, -1, -1, -1}; }
TS_INLINE mask vec_less(vec a, vec b) { return a < b; }
TS_INLINE mask vec_not_greater_equal(vec a, vec b) { return ~(a >= b); }
TS_INLINE mask mask_from_ints(const int32_t *ints)
{
    mask m;
    memcpy(&m, ints, sizeof m);
    return m;
}

#endif
#endif
