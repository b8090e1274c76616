/* As many rows as a register holds: `vec` a float of each, `mask` a yes or no. The compiler knows the arithmetic. */
#ifndef TREESHAP_VECTOR_H
#define TREESHAP_VECTOR_H

#include <stdint.h>

#define TS_INLINE static inline __attribute__((always_inline))

#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#include <immintrin.h>
#define TS_AVX512 1
enum { VEC_LANES = 16 };
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define TS_AVX512 0
enum { VEC_LANES = 8 };
#else
#define TS_AVX512 0
enum { VEC_LANES = 4 };
#endif

typedef float vec __attribute__((vector_size(4 * VEC_LANES)));

TS_INLINE vec vec_all(float a) { return a - (vec){0}; }

#if TS_AVX512

typedef __mmask16 mask;
TS_INLINE mask mask_from_ints(const int32_t *ints) { return _mm512_movepi32_mask(_mm512_load_si512(ints)); }
TS_INLINE mask vec_less(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
TS_INLINE mask vec_not_greater_equal(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_NGE_UQ); }
TS_INLINE vec vec_choose(mask m, vec yes, vec no) { return _mm512_mask_blend_ps(m, no, yes); }

#else

typedef int32_t mask __attribute__((vector_size(4 * VEC_LANES)));
TS_INLINE mask mask_from_ints(const int32_t *ints) { return *(const mask *)ints; }
TS_INLINE mask vec_less(vec a, vec b) { return a < b; }
TS_INLINE mask vec_not_greater_equal(vec a, vec b) { return ~(a >= b); }
TS_INLINE vec vec_choose(mask m, vec yes, vec no)
{
#ifdef __AVX2__
    return _mm256_blendv_ps(no, yes, (vec)m);
#else
    return (vec)((m & (mask)yes) | (~m & (mask)no));
#endif
}

#endif

TS_INLINE mask mask_all(void) { return ~(mask){0}; }

#endif
