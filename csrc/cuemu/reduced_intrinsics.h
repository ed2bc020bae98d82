// The functions of cuda_fp16.h and cuda_bf16.h. Both families have the same ones, under names that differ in `half` and
// `bfloat16`, so each is written once.
#pragma once

#include <math.h>

#include "cuemu/conversions.h"
#include "cuemu/reduced_precision.h"

namespace cuemu {

// The neighbour of `nearest`, the 16-bit number next to `value`, on the side of `value` that is wanted.
template <class T>
T round_directed(float value, T nearest, bool up, bool down) {
  const float got = nearest;
  if (got == value || got != got) return nearest;
  const bool is_too_low = got < value;
  if (is_too_low ? !up : !down) return nearest;
  // The bits of numbers of one sign are ordered as their magnitudes are.
  const bool away_from_zero = is_too_low == (value > 0);
  nearest.bits = static_cast<std::uint16_t>(away_from_zero ? nearest.bits + 1 : nearest.bits - 1);
  return nearest;
}

template <class T>
T from_bits(unsigned short bits) {
  T value;
  value.bits = bits;
  return value;
}

template <class T>
T saturate(T value) {
  const float wide = value;
  return wide > 0.0f ? (wide < 1.0f ? value : T(1.0f)) : T(0.0f);
}

}  // namespace cuemu

// Functions of one value or pair that have the same name for both types.
#define CUEMU_REDUCED_UNARY(Type, Pair, name, expression) \
  inline Type h##name(Type value) {                       \
    const float x = value;                                \
    return Type(static_cast<float>(expression));          \
  }                                                       \
  inline Pair h2##name(Pair value) { return {h##name(value.x), h##name(value.y)}; }

#define CUEMU_REDUCED_COMPARE(Type, Pair, name, operation)                       \
  inline bool __h##name(Type a, Type b) { return float(a) operation float(b); }  \
  inline Pair __h##name##2(Pair a, Pair b) {                                     \
    return {Type(float(__h##name(a.x, b.x))), Type(float(__h##name(a.y, b.y)))}; \
  }                                                                              \
  inline bool __hb##name##2(Pair a, Pair b) { return __h##name(a.x, b.x) && __h##name(a.y, b.y); }

#define CUEMU_REDUCED_BINARY(Type, Pair, name, operation)              \
  inline Type __h##name(Type a, Type b) { return a operation b; }      \
  inline Type __h##name##_rn(Type a, Type b) { return a operation b; } \
  inline Pair __h##name##2(Pair a, Pair b) { return a operation b; }   \
  inline Pair __h##name##2_rn(Pair a, Pair b) { return a operation b; }

#define CUEMU_REDUCED_SATURATED(Type, Pair, name)                                          \
  inline Type __h##name##_sat(Type a, Type b) { return cuemu::saturate(__h##name(a, b)); } \
  inline Pair __h##name##2_sat(Pair a, Pair b) { return {__h##name##_sat(a.x, b.x), __h##name##_sat(a.y, b.y)}; }

#define CUEMU_REDUCED_INTRINSICS(Type, Pair, word)                                                                   \
  CUEMU_REDUCED_BINARY(Type, Pair, add, +)                                                                           \
  CUEMU_REDUCED_BINARY(Type, Pair, sub, -)                                                                           \
  CUEMU_REDUCED_BINARY(Type, Pair, mul, *)                                                                           \
  inline Type __hdiv(Type a, Type b) { return a / b; }                                                               \
  inline Pair __h2div(Pair a, Pair b) { return a / b; }                                                              \
  CUEMU_REDUCED_SATURATED(Type, Pair, add)                                                                           \
  CUEMU_REDUCED_SATURATED(Type, Pair, sub)                                                                           \
  CUEMU_REDUCED_SATURATED(Type, Pair, mul)                                                                           \
  inline Type __hneg(Type a) { return cuemu::from_bits<Type>(static_cast<unsigned short>(a.bits ^ 0x8000)); }        \
  inline Type __habs(Type a) { return cuemu::from_bits<Type>(static_cast<unsigned short>(a.bits & 0x7fff)); }        \
  inline Pair __hneg2(Pair a) { return {__hneg(a.x), __hneg(a.y)}; }                                                 \
  inline Pair __habs2(Pair a) { return {__habs(a.x), __habs(a.y)}; }                                                 \
  /* The product of two 16-bit floats is exact in double, and so is the sum but for its one rounding. */             \
  inline Type __hfma(Type a, Type b, Type c) {                                                                       \
    return Type(static_cast<float>(double(float(a)) * float(b) + float(c)));                                         \
  }                                                                                                                  \
  inline Type __hfma_sat(Type a, Type b, Type c) { return cuemu::saturate(__hfma(a, b, c)); }                        \
  inline Type __hfma_relu(Type a, Type b, Type c) {                                                                  \
    const Type result = __hfma(a, b, c);                                                                             \
    return float(result) < 0.0f ? Type(0.0f) : result;                                                               \
  }                                                                                                                  \
  inline Pair __hfma2(Pair a, Pair b, Pair c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }             \
  inline Pair __hfma2_sat(Pair a, Pair b, Pair c) { return {__hfma_sat(a.x, b.x, c.x), __hfma_sat(a.y, b.y, c.y)}; } \
  inline Pair __hfma2_relu(Pair a, Pair b, Pair c) {                                                                 \
    return {__hfma_relu(a.x, b.x, c.x), __hfma_relu(a.y, b.y, c.y)};                                                 \
  }                                                                                                                  \
  CUEMU_REDUCED_COMPARE(Type, Pair, eq, ==)                                                                          \
  CUEMU_REDUCED_COMPARE(Type, Pair, ne, !=)                                                                          \
  CUEMU_REDUCED_COMPARE(Type, Pair, lt, <)                                                                           \
  CUEMU_REDUCED_COMPARE(Type, Pair, le, <=)                                                                          \
  CUEMU_REDUCED_COMPARE(Type, Pair, gt, >)                                                                           \
  CUEMU_REDUCED_COMPARE(Type, Pair, ge, >=)                                                                          \
  inline bool __hisnan(Type a) { return float(a) != float(a); }                                                      \
  inline Pair __hisnan2(Pair a) { return {Type(float(__hisnan(a.x))), Type(float(__hisnan(a.y)))}; }                 \
  inline int __hisinf(Type a) { return float(a) == INFINITY ? 1 : float(a) == -INFINITY ? -1 : 0; }                  \
  /* A NaN loses against a number, except in the functions that say so. */                                           \
  inline Type __hmax(Type a, Type b) { return float(a) > float(b) || __hisnan(b) ? a : b; }                          \
  inline Type __hmin(Type a, Type b) { return float(a) < float(b) || __hisnan(b) ? a : b; }                          \
  inline Type __hmax_nan(Type a, Type b) { return __hisnan(a) ? a : __hisnan(b) ? b : __hmax(a, b); }                \
  inline Type __hmin_nan(Type a, Type b) { return __hisnan(a) ? a : __hisnan(b) ? b : __hmin(a, b); }                \
  inline Pair __hmax2(Pair a, Pair b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; }                               \
  inline Pair __hmin2(Pair a, Pair b) { return {__hmin(a.x, b.x), __hmin(a.y, b.y)}; }                               \
  inline Pair __hmax2_nan(Pair a, Pair b) { return {__hmax_nan(a.x, b.x), __hmax_nan(a.y, b.y)}; }                   \
  inline Pair __hmin2_nan(Pair a, Pair b) { return {__hmin_nan(a.x, b.x), __hmin_nan(a.y, b.y)}; }                   \
  CUEMU_REDUCED_UNARY(Type, Pair, exp, expf(x))                                                                      \
  CUEMU_REDUCED_UNARY(Type, Pair, exp2, exp2f(x))                                                                    \
  CUEMU_REDUCED_UNARY(Type, Pair, exp10, exp10(double(x)))                                                           \
  CUEMU_REDUCED_UNARY(Type, Pair, log, logf(x))                                                                      \
  CUEMU_REDUCED_UNARY(Type, Pair, log2, log2f(x))                                                                    \
  CUEMU_REDUCED_UNARY(Type, Pair, log10, log10f(x))                                                                  \
  CUEMU_REDUCED_UNARY(Type, Pair, sqrt, sqrtf(x))                                                                    \
  CUEMU_REDUCED_UNARY(Type, Pair, rsqrt, 1.0 / sqrt(double(x)))                                                      \
  CUEMU_REDUCED_UNARY(Type, Pair, rcp, 1.0 / double(x))                                                              \
  CUEMU_REDUCED_UNARY(Type, Pair, sin, sinf(x))                                                                      \
  CUEMU_REDUCED_UNARY(Type, Pair, cos, cosf(x))                                                                      \
  CUEMU_REDUCED_UNARY(Type, Pair, tanh, tanhf(x))                                                                    \
  CUEMU_REDUCED_UNARY(Type, Pair, ceil, ceilf(x))                                                                    \
  CUEMU_REDUCED_UNARY(Type, Pair, floor, floorf(x))                                                                  \
  CUEMU_REDUCED_UNARY(Type, Pair, rint, nearbyintf(x))                                                               \
  CUEMU_REDUCED_UNARY(Type, Pair, trunc, truncf(x))                                                                  \
                                                                                                                     \
  inline float __##word##2float(Type value) { return value; }                                                        \
  inline Type __float2##word(float value) { return Type(value); }                                                    \
  inline Type __float2##word##_rn(float value) { return Type(value); }                                               \
  inline Type __float2##word##_ru(float value) { return cuemu::round_directed(value, Type(value), true, false); }    \
  inline Type __float2##word##_rd(float value) { return cuemu::round_directed(value, Type(value), false, true); }    \
  inline Type __float2##word##_rz(float value) {                                                                     \
    return cuemu::round_directed(value, Type(value), value < 0.0f, value > 0.0f);                                    \
  }                                                                                                                  \
  inline Type __int2##word##_rn(int value) { return Type(static_cast<float>(value)); }                               \
  inline Type __uint2##word##_rn(unsigned value) { return Type(static_cast<float>(value)); }                         \
  inline Type __short2##word##_rn(short value) { return Type(static_cast<float>(value)); }                           \
  inline Type __ushort2##word##_rn(unsigned short value) { return Type(static_cast<float>(value)); }                 \
  inline int __##word##2int_rn(Type value) { return __float2int_rn(value); }                                         \
  inline int __##word##2int_rz(Type value) { return __float2int_rz(value); }                                         \
  inline int __##word##2int_rd(Type value) { return __float2int_rd(value); }                                         \
  inline int __##word##2int_ru(Type value) { return __float2int_ru(value); }                                         \
  inline unsigned __##word##2uint_rn(Type value) { return __float2uint_rn(value); }                                  \
  inline unsigned __##word##2uint_rz(Type value) { return __float2uint_rz(value); }                                  \
  inline float2 __##word##22float2(Pair value) { return {value.x, value.y}; }                                        \
  inline Pair __float22##word##2_rn(float2 value) { return {Type(value.x), Type(value.y)}; }                         \
  inline Pair __float2##word##2_rn(float value) { return {Type(value), Type(value)}; }                               \
  inline Pair __floats2##word##2_rn(float x, float y) { return {Type(x), Type(y)}; }                                 \
  inline Pair __halves2##word##2(Type x, Type y) { return {x, y}; }                                                  \
  inline Pair make_##word##2(Type x, Type y) { return {x, y}; }                                                      \
  inline Pair __##word##2##word##2(Type value) { return {value, value}; }                                            \
  inline Type __low2##word(Pair value) { return value.x; }                                                           \
  inline Type __high2##word(Pair value) { return value.y; }                                                          \
  inline float __low2float(Pair value) { return value.x; }                                                           \
  inline float __high2float(Pair value) { return value.y; }                                                          \
  inline Pair __low2##word##2(Pair value) { return {value.x, value.x}; }                                             \
  inline Pair __high2##word##2(Pair value) { return {value.y, value.y}; }                                            \
  inline Pair __lows2##word##2(Pair a, Pair b) { return {a.x, b.x}; }                                                \
  inline Pair __highs2##word##2(Pair a, Pair b) { return {a.y, b.y}; }                                               \
  inline Pair __lowhigh2highlow(Pair value) { return {value.y, value.x}; }                                           \
  inline Type __ushort_as_##word(unsigned short bits) { return cuemu::from_bits<Type>(bits); }                       \
  inline unsigned short __##word##_as_ushort(Type value) { return value.bits; }                                      \
  inline Type __short_as_##word(short bits) { return cuemu::from_bits<Type>(static_cast<unsigned short>(bits)); }    \
  inline short __##word##_as_short(Type value) { return static_cast<short>(value.bits); }

CUEMU_REDUCED_INTRINSICS(__half, __half2, half)
CUEMU_REDUCED_INTRINSICS(__nv_bfloat16, __nv_bfloat162, bfloat16)
#undef CUEMU_REDUCED_INTRINSICS
#undef CUEMU_REDUCED_SATURATED
#undef CUEMU_REDUCED_BINARY
#undef CUEMU_REDUCED_COMPARE
#undef CUEMU_REDUCED_UNARY
