// Conversions between numbers (CUDA math API, "Type Casting Intrinsics"). Floating point to integer saturates and turns
// a NaN into 0, as the hardware's `cvt` does and a C++ cast does not.
#pragma once

#include <fenv.h>
#include <math.h>

#include <cstdint>
#include <cstring>

#include "cuemu/reduced_precision.h"

namespace cuemu {

// The result of `operation` in another rounding direction than to nearest. The operands must be volatile, or the
// compiler would compute the result beforehand.
template <class Operation>
auto rounded(int direction, Operation operation) {
  const int before = fegetround();
  fesetround(direction);
  volatile auto result = operation();
  fesetround(before);
  return +result;
}

template <class To>
To saturating_cast(double integer) {
  constexpr bool is_signed = To(-1) < To(0);
  constexpr int bits = sizeof(To) * 8 - is_signed;
  constexpr double limit = 2.0 * static_cast<double>(std::uint64_t{1} << (bits - 1));  // one more than the largest
  constexpr To largest = static_cast<To>(~std::uint64_t{0} >> (64 - bits));
  if (integer != integer) return 0;
  if (integer >= limit) return largest;
  if (integer < (is_signed ? -limit : 0.0)) return is_signed ? static_cast<To>(-largest - 1) : To(0);
  return static_cast<To>(integer);
}

}  // namespace cuemu

#define CUEMU_TO_INTEGER(from, from_word, to, to_word)                                                          \
  inline to __##from_word##2##to_word##_rn(from a) { return cuemu::saturating_cast<to>(nearbyint(double(a))); } \
  inline to __##from_word##2##to_word##_rz(from a) { return cuemu::saturating_cast<to>(trunc(double(a))); }     \
  inline to __##from_word##2##to_word##_rd(from a) { return cuemu::saturating_cast<to>(floor(double(a))); }     \
  inline to __##from_word##2##to_word##_ru(from a) { return cuemu::saturating_cast<to>(ceil(double(a))); }
#define CUEMU_TO_INTEGERS(from, from_word)          \
  CUEMU_TO_INTEGER(from, from_word, int, int)       \
  CUEMU_TO_INTEGER(from, from_word, unsigned, uint) \
  CUEMU_TO_INTEGER(from, from_word, long long, ll)  \
  CUEMU_TO_INTEGER(from, from_word, unsigned long long, ull)
CUEMU_TO_INTEGERS(float, float)
CUEMU_TO_INTEGERS(double, double)
#undef CUEMU_TO_INTEGERS
#undef CUEMU_TO_INTEGER

#define CUEMU_TO_FLOATING(from, from_word, to, to_word)                           \
  inline to __##from_word##2##to_word##_rn(from a) { return static_cast<to>(a); } \
  inline to __##from_word##2##to_word##_rz(from a) {                              \
    volatile from value = a;                                                      \
    return cuemu::rounded(FE_TOWARDZERO, [&] { return static_cast<to>(value); }); \
  }                                                                               \
  inline to __##from_word##2##to_word##_rd(from a) {                              \
    volatile from value = a;                                                      \
    return cuemu::rounded(FE_DOWNWARD, [&] { return static_cast<to>(value); });   \
  }                                                                               \
  inline to __##from_word##2##to_word##_ru(from a) {                              \
    volatile from value = a;                                                      \
    return cuemu::rounded(FE_UPWARD, [&] { return static_cast<to>(value); });     \
  }
CUEMU_TO_FLOATING(int, int, float, float)
CUEMU_TO_FLOATING(unsigned, uint, float, float)
CUEMU_TO_FLOATING(long long, ll, float, float)
CUEMU_TO_FLOATING(unsigned long long, ull, float, float)
CUEMU_TO_FLOATING(long long, ll, double, double)
CUEMU_TO_FLOATING(unsigned long long, ull, double, double)
CUEMU_TO_FLOATING(double, double, float, float)
#undef CUEMU_TO_FLOATING
inline double __int2double_rn(int a) { return a; }
inline double __uint2double_rn(unsigned a) { return a; }

#define CUEMU_REINTERPRET(name, from, to)                                          \
  inline to name(from a) {                                                         \
    static_assert(sizeof(from) == sizeof(to), "the same bits have the same size"); \
    to result;                                                                     \
    std::memcpy(&result, &a, sizeof result);                                       \
    return result;                                                                 \
  }
CUEMU_REINTERPRET(__int_as_float, int, float)
CUEMU_REINTERPRET(__float_as_int, float, int)
CUEMU_REINTERPRET(__uint_as_float, unsigned, float)
CUEMU_REINTERPRET(__float_as_uint, float, unsigned)
CUEMU_REINTERPRET(__longlong_as_double, long long, double)
CUEMU_REINTERPRET(__double_as_longlong, double, long long)
#undef CUEMU_REINTERPRET

inline int __double2hiint(double a) { return static_cast<int>(__double_as_longlong(a) >> 32); }
inline int __double2loint(double a) { return static_cast<int>(__double_as_longlong(a)); }
inline double __hiloint2double(int high, int low) {
  return __longlong_as_double(static_cast<long long>(static_cast<std::uint64_t>(static_cast<unsigned>(high)) << 32 |
                                                     static_cast<unsigned>(low)));
}
