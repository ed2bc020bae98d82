// Sums and maxima over a warp or a block. Every thread gets the result; the order of the sum is fixed.
#pragma once

#include "cuemu/cuda.h"

namespace nnzoo {

constexpr unsigned kFullWarp = 0xffffffffu;

struct Sum {
  template <class T>
  static __device__ T combine(T a, T b) {
    return a + b;
  }
  template <class T>
  static __device__ T identity() {
    return T(0);
  }
};

struct Max {
  template <class T>
  static __device__ T combine(T a, T b) {
    return a < b ? b : a;
  }
  template <class T>
  static __device__ T identity() {
    return -T(INFINITY);
  }
};

// Over groups of `width` neighbouring lanes (a power of two). All 32 lanes of the warp must take part.
template <class Op, int width = 32, class T>
__device__ T warp_reduce(T value) {
#pragma unroll
  for (int offset = width / 2; offset > 0; offset /= 2)
    value = Op::combine(value, __shfl_xor_sync(kFullWarp, value, offset));
  return value;
}

// Over a one-dimensional block whose size is a multiple of 32. `shared` holds 32 values and may be reused after the
// call.
template <class Op, class T>
__device__ T block_reduce(T value, T* shared) {
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const int warps = blockDim.x / 32;
  value = warp_reduce<Op>(value);
  if (lane == 0) shared[warp] = value;
  __syncthreads();
  value = warp_reduce<Op>(lane < warps ? shared[lane] : Op::template identity<T>());
  __syncthreads();
  return value;
}

}  // namespace nnzoo
