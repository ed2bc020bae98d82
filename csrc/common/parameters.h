// Short vectors of parameters, such as a norm's weight and bias, whose dtype may be another than the input's.
#pragma once

#include "common/scratch.h"
#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

// `count` values of `dtype` as T, in place where they are that already; absent ones are all `filler`.
template <class T>
const T* parameters(const void* values, DType dtype, std::int64_t count, T filler, Scratch& scratch) {
  constexpr DType same = sizeof(T) == 4 ? DType::float32 : DType::float64;
  if (values && dtype == same) return static_cast<const T*>(values);
  T* const copy = scratch.take<T>(count);
  if (!values) {
    for (std::int64_t i = 0; i < count; ++i) copy[i] = filler;
    return copy;
  }
  dispatch_dtype(dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    for (std::int64_t i = 0; i < count; ++i) copy[i] = static_cast<T>(to_float(static_cast<const S*>(values)[i]));
  });
  return copy;
}

template <class T>
void store_parameters(const T* values, void* out, DType dtype, std::int64_t count) {
  dispatch_dtype(dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    for (std::int64_t i = 0; i < count; ++i) static_cast<S*>(out)[i] = from_float<S>(static_cast<double>(values[i]));
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
