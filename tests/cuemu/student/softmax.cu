#include <cuda_runtime.h>
#include <math.h>

#define WARP_SIZE 32
#define FULL_MASK 0xffffffff

__device__ __forceinline__ float warpReduceMax(float val) {
#pragma unroll
  for (int offset = WARP_SIZE / 2; offset > 0; offset /= 2) val = fmaxf(val, __shfl_xor_sync(FULL_MASK, val, offset));
  return val;
}

__device__ __forceinline__ float warpReduceSum(float val) {
#pragma unroll
  for (int offset = WARP_SIZE / 2; offset > 0; offset /= 2) val += __shfl_xor_sync(FULL_MASK, val, offset);
  return val;
}

// One warp per row, blockDim = (32, rows per block)
__global__ void __launch_bounds__(256) softmax(const float* __restrict__ x, float* __restrict__ y, int rows, int cols) {
  const int row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row >= rows) return;
  const float* in = x + (size_t)row * cols;
  float* out = y + (size_t)row * cols;

  float m = -INFINITY;
  for (int c = threadIdx.x; c < cols; c += WARP_SIZE) m = fmaxf(m, in[c]);
  m = warpReduceMax(m);

  float sum = 0.f;
  for (int c = threadIdx.x; c < cols; c += WARP_SIZE) sum += __expf(in[c] - m);
  sum = warpReduceSum(sum);

  for (int c = threadIdx.x; c < cols; c += WARP_SIZE) out[c] = __expf(in[c] - m) / sum;
}
