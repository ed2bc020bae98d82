// Barriers of a block and of a warp.
#include "common/launch.cuh"
#include "common/reduce.cuh"
#include "guarded.h"

using nnzoo::launch;

namespace {

template <bool synchronised>
__global__ void reverse_in_shared(const int* in, int* out) {
  __shared__ int values[64];
  values[threadIdx.x] = in[threadIdx.x];
  if (synchronised) __syncthreads();
  out[threadIdx.x] = values[63 - threadIdx.x];
}

template <bool matching>
__global__ void exchange_in_warp(int* out) {
  __shared__ int values[32];
  values[threadIdx.x] = threadIdx.x;
  if (matching)
    __syncwarp();
  else
    __syncwarp(1u << threadIdx.x);
  out[threadIdx.x] = values[threadIdx.x ^ 16];
}

__global__ void reduce_block(const float* in, float* out) {
  __shared__ float scratch[32];
  const float value = in[threadIdx.x];
  const float sum = nnzoo::block_reduce<nnzoo::Sum>(value, scratch);
  const float largest = nnzoo::block_reduce<nnzoo::Max>(value, scratch);
  out[threadIdx.x] = sum;
  out[blockDim.x + threadIdx.x] = largest;
}

__global__ void barrier_after_return(int* out) {
  if (threadIdx.x >= 48) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}

}  // namespace

EXPORT(run_reverse)(const int* in, int* out, int synchronised) {
  return guarded([&] {
    if (synchronised)
      launch<reverse_in_shared<true>>(1, 64, 0, nullptr, in, out);
    else
      launch<reverse_in_shared<false>>(1, 64, 0, nullptr, in, out);
  });
}
EXPORT(run_exchange_in_warp)(int* out, int matching) {
  return guarded([&] {
    if (matching)
      launch<exchange_in_warp<true>>(1, 32, 0, nullptr, out);
    else
      launch<exchange_in_warp<false>>(1, 32, 0, nullptr, out);
  });
}
EXPORT(run_reduce_block)(const float* in, float* out, int threads) {
  return guarded([&] { launch<reduce_block>(1, threads, 0, nullptr, in, out); });
}
EXPORT(run_barrier_after_return)(int* out) {
  return guarded([&] { launch<barrier_after_return>(1, 64, 0, nullptr, out); });
}
