// Floating-point functions that CUDA adds to those of C. The fast approximations (`__expf` ...) become the exact
// functions: the emulator can show that a kernel is wrong, not how many last bits the hardware's approximation loses.
#pragma once

#include <fenv.h>
#include <math.h>

#include "cuemu/conversions.h"

// glibc declares some of these names itself, hence macros.
#define __expf expf
#define __exp10f exp10f
#define __logf logf
#define __log2f log2f
#define __log10f log10f
#define __sinf sinf
#define __cosf cosf
#define __tanf tanf
#define __tanhf tanhf
#define __powf powf
#define __sincosf sincosf

inline float __fdividef(float a, float b) { return a / b; }
inline float fdividef(float a, float b) { return a / b; }
inline float __saturatef(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }
inline float __frsqrt_rn(float a) { return static_cast<float>(1.0 / sqrt(double(a))); }
inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
inline double rsqrt(double a) { return 1.0 / sqrt(a); }
inline float rcbrtf(float a) { return 1.0f / cbrtf(a); }
inline double rcbrt(double a) { return 1.0 / cbrt(a); }

namespace cuemu {
constexpr double kPi = 3.14159265358979323846;
}
// The remainder first, which is exact, so that whole and half numbers give exact results.
inline double sinpi(double a) {
  const double turn = remainder(a, 2.0);
  return fabs(turn) == 1.0 ? 0.0 * turn : sin(cuemu::kPi * turn);
}
inline double cospi(double a) {
  const double turn = fabs(remainder(a, 2.0));
  return turn == 0.5 ? 0.0 : cos(cuemu::kPi * turn);
}
inline float sinpif(float a) { return static_cast<float>(sinpi(double(a))); }
inline float cospif(float a) { return static_cast<float>(cospi(double(a))); }
inline void sincospi(double a, double* sine, double* cosine) {
  *sine = sinpi(a);
  *cosine = cospi(a);
}
inline void sincospif(float a, float* sine, float* cosine) {
  *sine = sinpif(a);
  *cosine = cospif(a);
}
inline double normcdf(double a) { return 0.5 * erfc(-a * 0.70710678118654752440); }
inline float normcdff(float a) { return static_cast<float>(normcdf(a)); }
inline double rhypot(double a, double b) { return 1.0 / hypot(a, b); }
inline float rhypotf(float a, float b) { return static_cast<float>(rhypot(a, b)); }
inline double norm3d(double a, double b, double c) { return sqrt(a * a + b * b + c * c); }
inline float norm3df(float a, float b, float c) { return static_cast<float>(norm3d(a, b, c)); }

// One operation, rounded as the name says: to nearest, to zero, down, up.
#define CUEMU_ROUNDED_ONE(name, type, expression)                  \
  inline type name##_rn(type a_) {                                 \
    const type a = a_;                                             \
    return expression;                                             \
  }                                                                \
  CUEMU_ROUNDED_ONE_TO(name##_rz, type, expression, FE_TOWARDZERO) \
  CUEMU_ROUNDED_ONE_TO(name##_rd, type, expression, FE_DOWNWARD)   \
  CUEMU_ROUNDED_ONE_TO(name##_ru, type, expression, FE_UPWARD)
#define CUEMU_ROUNDED_ONE_TO(name, type, expression, direction)             \
  inline type name(type a_) {                                               \
    volatile type a = a_;                                                   \
    return cuemu::rounded(direction, [&]() -> type { return expression; }); \
  }
#define CUEMU_ROUNDED_TWO(name, type, operation)                  \
  inline type name##_rn(type a, type b) { return a operation b; } \
  CUEMU_ROUNDED_TWO_TO(name##_rz, type, operation, FE_TOWARDZERO) \
  CUEMU_ROUNDED_TWO_TO(name##_rd, type, operation, FE_DOWNWARD)   \
  CUEMU_ROUNDED_TWO_TO(name##_ru, type, operation, FE_UPWARD)
#define CUEMU_ROUNDED_TWO_TO(name, type, operation, direction)                 \
  inline type name(type a_, type b_) {                                         \
    volatile type a = a_, b = b_;                                              \
    return cuemu::rounded(direction, [&]() -> type { return a operation b; }); \
  }
#define CUEMU_ROUNDED_FMA(name, type, function)                               \
  inline type name##_rn(type a, type b, type c) { return function(a, b, c); } \
  CUEMU_ROUNDED_FMA_TO(name##_rz, type, function, FE_TOWARDZERO)              \
  CUEMU_ROUNDED_FMA_TO(name##_rd, type, function, FE_DOWNWARD)                \
  CUEMU_ROUNDED_FMA_TO(name##_ru, type, function, FE_UPWARD)
#define CUEMU_ROUNDED_FMA_TO(name, type, function, direction)                      \
  inline type name(type a_, type b_, type c_) {                                    \
    volatile type a = a_, b = b_, c = c_;                                          \
    return cuemu::rounded(direction, [&]() -> type { return function(a, b, c); }); \
  }
CUEMU_ROUNDED_TWO(__fadd, float, +)
CUEMU_ROUNDED_TWO(__fsub, float, -)
CUEMU_ROUNDED_TWO(__fmul, float, *)
CUEMU_ROUNDED_TWO(__fdiv, float, /)
CUEMU_ROUNDED_TWO(__dadd, double, +)
CUEMU_ROUNDED_TWO(__dsub, double, -)
CUEMU_ROUNDED_TWO(__dmul, double, *)
CUEMU_ROUNDED_TWO(__ddiv, double, /)
CUEMU_ROUNDED_FMA(__fmaf, float, fmaf)
CUEMU_ROUNDED_FMA(__fma, double, fma)
CUEMU_ROUNDED_ONE(__frcp, float, 1.0f / a)
CUEMU_ROUNDED_ONE(__fsqrt, float, sqrtf(a))
CUEMU_ROUNDED_ONE(__drcp, double, 1.0 / a)
CUEMU_ROUNDED_ONE(__dsqrt, double, sqrt(a))
#undef CUEMU_ROUNDED_ONE
#undef CUEMU_ROUNDED_ONE_TO
#undef CUEMU_ROUNDED_TWO
#undef CUEMU_ROUNDED_TWO_TO
#undef CUEMU_ROUNDED_FMA
#undef CUEMU_ROUNDED_FMA_TO

// As on the GPU, a NaN loses against a number.
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline double min(float a, double b) { return fmin(a, b); }
inline double min(double a, float b) { return fmin(a, b); }
inline double max(float a, double b) { return fmax(a, b); }
inline double max(double a, float b) { return fmax(a, b); }
