// Reductions with shuffles: the softmax of each row, and the sum of all numbers.
#include <cmath>

#include "common/launch.cuh"
#include "guarded.h"

using nnzoo::launch;

namespace {

constexpr int kThreads = 256;
constexpr unsigned kAllLanes = 0xffffffffu;

struct Largest {
  __device__ static float of(float a, float b) { return fmaxf(a, b); }
  __device__ static float least() { return -INFINITY; }
};
struct Sum {
  __device__ static float of(float a, float b) { return a + b; }
  __device__ static float least() { return 0; }
};

// Of the values of all threads of the block.
template <class Reduction>
__device__ float reduce_block(float value) {
  __shared__ float of_warps[kThreads / 32];
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  for (int distance = 16; distance > 0; distance /= 2)
    value = Reduction::of(value, __shfl_xor_sync(kAllLanes, value, distance));
  if (lane == 0) of_warps[warp] = value;
  __syncthreads();
  value = lane < kThreads / 32 ? of_warps[lane] : Reduction::least();
  for (int distance = 16; distance > 0; distance /= 2)
    value = Reduction::of(value, __shfl_xor_sync(kAllLanes, value, distance));
  __syncthreads();
  return value;
}

__global__ void __launch_bounds__(kThreads) softmax(const float* in, float* out, int columns) {
  const float* x = in + static_cast<size_t>(blockIdx.x) * columns;
  float* y = out + static_cast<size_t>(blockIdx.x) * columns;
  float largest = -INFINITY;
  for (int i = threadIdx.x; i < columns; i += kThreads) largest = fmaxf(largest, x[i]);
  largest = reduce_block<Largest>(largest);
  float sum = 0;
  for (int i = threadIdx.x; i < columns; i += kThreads) sum += __expf(x[i] - largest);
  sum = reduce_block<Sum>(sum);
  for (int i = threadIdx.x; i < columns; i += kThreads) y[i] = __expf(x[i] - largest) / sum;
}

__global__ void __launch_bounds__(kThreads) sum(const float* in, float* out, int n) {
  float value = 0;
  for (int i = blockIdx.x * kThreads + threadIdx.x; i < n; i += gridDim.x * kThreads) value += in[i];
  value = reduce_block<Sum>(value);
  if (threadIdx.x == 0) atomicAdd(out, value);
}

}  // namespace

EXPORT(softmax_of_rows)(const float* in, float* out, int rows, int columns) {
  return guarded([&] { launch<softmax>(rows, kThreads, 0, nullptr, in, out, columns); });
}

EXPORT(sum_of_all)(const float* in, float* out, int n) {
  return guarded([&] { launch<sum>(64, kThreads, 0, nullptr, in, out, n); });
}
