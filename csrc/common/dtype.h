// 16-bit storage types, their conversions, and dispatch from a run-time DType to a C++ type.
//
//     dispatch_dtype(args.dtype, [&](auto tag) {
//       using S = typename decltype(tag)::Type;  // float, BFloat16 or double: how elements lie in memory
//       using T = Compute<S>;                    // float or double: what the arithmetic uses
//     });
#pragma once

#include <cstdint>
#include <cstring>

#include "common/kernel.h"

#define NNZOO_INLINE inline __attribute__((always_inline))

namespace nnzoo {
namespace NNZOO_ISA {

struct BFloat16 {
  std::uint16_t bits;
};

struct Float16 {
  std::uint16_t bits;
};

// Two values that follow each other along a sum: the unit of the bfloat16 dot product.
struct BFloat16Pair {
  BFloat16 even, odd;
};

template <class To, class From>
NNZOO_INLINE To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast keeps the size");
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

NNZOO_INLINE float to_float(float x) { return x; }
NNZOO_INLINE double to_float(double x) { return x; }
NNZOO_INLINE float to_float(BFloat16 x) { return bit_cast<float>(std::uint32_t(x.bits) << 16); }

inline float to_float(Float16 x) {
  const std::uint32_t sign = std::uint32_t(x.bits & 0x8000u) << 16;
  const std::uint32_t magnitude = x.bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return bit_cast<float>(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
  // Placing the bits in a float's fields leaves the exponent off by 112; the product also normalises subnormals.
  return bit_cast<float>(sign | bit_cast<std::uint32_t>(bit_cast<float>(magnitude << 13) * 0x1p112f));
}

// Conversions to storage round to nearest even; NaN becomes the quiet NaN that torch writes.
template <class S>
S from_float(float x);

template <>
NNZOO_INLINE float from_float<float>(float x) {
  return x;
}

template <>
NNZOO_INLINE BFloat16 from_float<BFloat16>(float x) {
  const std::uint32_t bits = bit_cast<std::uint32_t>(x);
  if (x != x) return BFloat16{0x7fc0};
  return BFloat16{std::uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

template <>
inline Float16 from_float<Float16>(float x) {
  const std::uint32_t bits = bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return Float16{std::uint16_t(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return Float16{std::uint16_t(sign | 0x7c00u)};
  if (magnitude < 0x38800000u) {  // subnormal half: let the float adder round at 2^-24
    const float shifted = bit_cast<float>(magnitude) + 0.5f;
    return Float16{std::uint16_t(sign | (bit_cast<std::uint32_t>(shifted) - 0x3f000000u))};
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u;
  return Float16{std::uint16_t(sign | (rounded >> 13))};
}

template <class S>
NNZOO_INLINE S from_float(double x) {
  return from_float<S>(static_cast<float>(x));
}

template <>
NNZOO_INLINE double from_float<double>(double x) {
  return x;
}

template <class S>
struct ComputeOf {
  using Type = float;
};
template <>
struct ComputeOf<double> {
  using Type = double;
};
template <class S>
using Compute = typename ComputeOf<S>::Type;

// Products. `Factor<S>` is what elements S are multiplied as: pairs where this ISA has their dot product, else the
// compute type. `Sum<F>` is what its products are summed in, `Element<F>` how its values lie in memory one by one, and
// a sum of n products takes `factors<F>(n)` steps.
template <class F>
struct FactorTraits {
  using Sum = F;
  using Element = F;
  static constexpr int values = 1;
};
template <>
struct FactorTraits<BFloat16Pair> {
  using Sum = float;
  using Element = BFloat16;
  static constexpr int values = 2;
};
template <class F>
using Sum = typename FactorTraits<F>::Sum;
template <class F>
using Element = typename FactorTraits<F>::Element;
template <class F>
constexpr int values_per_factor = FactorTraits<F>::values;
template <class F>
NNZOO_INLINE std::int64_t factors(std::int64_t values) {
  return (values + values_per_factor<F> - 1) / values_per_factor<F>;
}

template <class S>
struct FactorOf {
  using Type = Compute<S>;
};
#if defined(__AVX512BF16__)
template <>
struct FactorOf<BFloat16> {
  using Type = BFloat16Pair;
};
#endif
template <class S>
using Factor = typename FactorOf<S>::Type;

template <class S>
struct TypeTag {
  using Type = S;
};

// Calls `function(TypeTag<S>())` for the dtypes that CPU kernels take; false for any other (Python has refused it).
template <class Function>
NNZOO_INLINE bool dispatch_dtype(DType dtype, const Function& function) {
  switch (dtype) {
    case DType::float32:
      function(TypeTag<float>());
      return true;
    case DType::bfloat16:
      function(TypeTag<BFloat16>());
      return true;
    case DType::float64:
      function(TypeTag<double>());
      return true;
    case DType::float16:
      return false;
  }
  return false;
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
