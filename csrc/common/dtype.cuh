// Element types on the device: what they accumulate in, how they convert, and dispatch from a run-time DType.
//
//     dispatch_dtype(args.dtype, [&](auto element) {
//       using T = decltype(element);  // float, double, __half or __nv_bfloat16
//       launch<scale_kernel<T>>(...);
//     });
#pragma once

#include <cstdint>

#include "common/kernel.h"
#include "cuemu/cuda.h"

namespace nnzoo {

template <class T>
struct AccumulatorOf {
  using Type = float;
};
template <>
struct AccumulatorOf<double> {
  using Type = double;
};
// What sums of T are kept in: float for the 16-bit types.
template <class T>
using Accumulator = typename AccumulatorOf<T>::Type;

__device__ __forceinline__ float widen(float value) { return value; }
__device__ __forceinline__ double widen(double value) { return value; }
__device__ __forceinline__ float widen(__half value) { return __half2float(value); }
__device__ __forceinline__ float widen(__nv_bfloat16 value) { return __bfloat162float(value); }

template <class T>
__device__ __forceinline__ T narrow(Accumulator<T> value) {
  return value;
}
template <>
__device__ __forceinline__ __half narrow<__half>(float value) {
  return __float2half_rn(value);
}
template <>
__device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

// `count` neighbouring elements that move in one access.
template <class T, int count>
struct alignas(sizeof(T) * count) Pack {
  T values[count];
};
// 16 bytes: the widest access there is.
template <class T>
constexpr int kPackSize = 16 / static_cast<int>(sizeof(T));

template <class Function>
void dispatch_dtype(DType dtype, Function function) {
  switch (dtype) {
    case DType::float32:
      return function(float());
    case DType::float64:
      return function(double());
    case DType::float16:
      return function(__half());
    case DType::bfloat16:
      return function(__nv_bfloat16());
  }
}

}  // namespace nnzoo
