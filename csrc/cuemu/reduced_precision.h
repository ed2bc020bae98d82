// `__half` and `__nv_bfloat16`, alone and in pairs: 16-bit storage, arithmetic in float rounded to nearest even after
// every operation. reduced_intrinsics.h has the functions.
#pragma once

#include <cstdint>
#include <cstring>

#include "cuemu/language.h"

namespace cuemu {

inline std::uint32_t float_bits(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float bits_float(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline float bfloat16_to_float(std::uint16_t bits) { return bits_float(static_cast<std::uint32_t>(bits) << 16); }

inline std::uint16_t float_to_bfloat16(float value) {
  std::uint32_t bits = float_bits(value);
  if (value != value) return 0x7fff;
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float half_to_float(std::uint16_t bits) {
  std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16;
  std::uint32_t magnitude = bits & 0x7fff;
  if (magnitude >= 0x7c00) return bits_float(sign | 0x7f800000 | ((magnitude & 0x3ff) << 13));
  // Moving exponent and mantissa to their places leaves the exponent 112 too small; the product puts that right, and
  // also normalises subnormal numbers.
  return bits_float(sign | float_bits(bits_float(magnitude << 13) * bits_float(0x77800000)));
}

inline std::uint16_t float_to_half(float value) {
  std::uint32_t bits = float_bits(value);
  std::uint32_t sign = (bits >> 16) & 0x8000;
  std::uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7fff;
  if (magnitude >= 0x477ff000) return static_cast<std::uint16_t>(sign | 0x7c00);  // rounds to 65536 or more
  if (magnitude < 0x38800000) {
    // Subnormal: adding one half aligns the mantissa so that the float addition itself does the rounding.
    float aligned = bits_float(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (float_bits(aligned) - 0x3f000000));
  }
  std::uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000) >> 13));
}

}  // namespace cuemu

#define CUEMU_REDUCED_TYPE(Type, Pair, to_float, from_float)                           \
  struct Type {                                                                        \
    std::uint16_t bits;                                                                \
    Type() = default;                                                                  \
    Type(float value) : bits(cuemu::from_float(value)) {}                              \
    Type(double value) : Type(static_cast<float>(value)) {}                            \
    Type(int value) : Type(static_cast<float>(value)) {}                               \
    operator float() const { return cuemu::to_float(bits); }                           \
    Type& operator+=(Type other) { return *this = Type(float(*this) + float(other)); } \
    Type& operator-=(Type other) { return *this = Type(float(*this) - float(other)); } \
    Type& operator*=(Type other) { return *this = Type(float(*this) * float(other)); } \
    Type& operator/=(Type other) { return *this = Type(float(*this) / float(other)); } \
  };                                                                                   \
  inline Type operator+(Type a, Type b) { return Type(float(a) + float(b)); }          \
  inline Type operator-(Type a, Type b) { return Type(float(a) - float(b)); }          \
  inline Type operator*(Type a, Type b) { return Type(float(a) * float(b)); }          \
  inline Type operator/(Type a, Type b) { return Type(float(a) / float(b)); }          \
  inline Type operator-(Type a) { return Type(-float(a)); }                            \
  inline bool operator==(Type a, Type b) { return float(a) == float(b); }              \
  inline bool operator!=(Type a, Type b) { return float(a) != float(b); }              \
  inline bool operator<(Type a, Type b) { return float(a) < float(b); }                \
  inline bool operator>(Type a, Type b) { return float(a) > float(b); }                \
  inline bool operator<=(Type a, Type b) { return float(a) <= float(b); }              \
  inline bool operator>=(Type a, Type b) { return float(a) >= float(b); }              \
  struct alignas(4) Pair {                                                             \
    Type x, y;                                                                         \
    Pair() = default;                                                                  \
    Pair(Type x_, Type y_) : x(x_), y(y_) {}                                           \
    Pair& operator+=(Pair other) { return *this = Pair(x + other.x, y + other.y); }    \
    Pair& operator-=(Pair other) { return *this = Pair(x - other.x, y - other.y); }    \
    Pair& operator*=(Pair other) { return *this = Pair(x * other.x, y * other.y); }    \
    Pair& operator/=(Pair other) { return *this = Pair(x / other.x, y / other.y); }    \
  };                                                                                   \
  inline Pair operator+(Pair a, Pair b) { return a += b; }                             \
  inline Pair operator-(Pair a, Pair b) { return a -= b; }                             \
  inline Pair operator*(Pair a, Pair b) { return a *= b; }                             \
  inline Pair operator/(Pair a, Pair b) { return a /= b; }                             \
  inline Pair operator-(Pair a) { return {-a.x, -a.y}; }                               \
  inline bool operator==(Pair a, Pair b) { return a.x == b.x && a.y == b.y; }          \
  inline bool operator!=(Pair a, Pair b) { return a.x != b.x && a.y != b.y; }

CUEMU_REDUCED_TYPE(__half, __half2, half_to_float, float_to_half)
CUEMU_REDUCED_TYPE(__nv_bfloat16, __nv_bfloat162, bfloat16_to_float, float_to_bfloat16)
#undef CUEMU_REDUCED_TYPE

using half = __half;
using half2 = __half2;
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;
