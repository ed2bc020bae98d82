// Planted accesses out of bounds, to memory that nobody has written, and to addresses that are not aligned.
#include "case.h"
#include "common/mma.cuh"

namespace {

template <bool right>
__global__ void one_too_many(const float* in, float* out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (right ? i < 1024 : i <= 1024) out[i] = in[i];  // out_of_bounds
}
CASE(one_too_many, 5, 256, 0)

template <bool right>
__global__ void before_the_start(const float* in, float* out) {
  const int i = threadIdx.x;
  const float left = right && i == 0 ? 0 : in[i - 1];  // out_of_bounds
  out[i] = left + in[i];
}
CASE(before_the_start, 1, 64, 0)

template <bool right>
__global__ void far_away(const float* in, float* out) {
  const long offset = right ? 0 : 1l << 40;
  out[threadIdx.x] = in[threadIdx.x + offset];  // out_of_bounds
}
CASE(far_away, 1, 32, 0)

// The tail of `first` would land in `second`.
template <bool right>
__global__ void overrun_of_a_shared_array(const float* in, float* out) {
  __shared__ float first[64];
  __shared__ float second[64];
  const int i = threadIdx.x;
  second[i] = in[i];
  __syncthreads();
  first[right ? i : i + 1] = in[64 + i];  // out_of_bounds
  __syncthreads();
  out[i] = first[i == 0 ? 1 : i] + second[i];
}
CASE(overrun_of_a_shared_array, 1, 64, 0)

template <bool right>
__global__ void overrun_of_dynamic_shared_memory(const float* in, float* out) {
  float* values = nnzoo::dynamic_shared<float>();
  const int i = threadIdx.x;
  values[right ? i : 2 * i] = in[i];  // out_of_bounds
  out[i] = values[right ? i : 2 * i];
}
CASE(overrun_of_dynamic_shared_memory, 1, 64, 64 * sizeof(float))

template <bool right>
__global__ void overrun_of_a_local_array(const float* in, float* out) {
  float window[4];
  for (int k = 0; k < 4; ++k) window[k] = in[threadIdx.x + k];
  float sum = 0;
  for (int k = 0; k < (right ? 4 : 4 + static_cast<int>(in[1])); ++k) sum += window[k];  // out_of_bounds
  out[threadIdx.x] = sum;
}
CASE(overrun_of_a_local_array, 1, 32, 0)

template <bool right>
__global__ void sum_that_is_not_cleared(const float* in, float* out) {
  __shared__ float sum;
  if (right && threadIdx.x == 0) sum = 0;
  __syncthreads();
  atomicAdd(&sum, in[threadIdx.x]);  // uninitialized
  __syncthreads();
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}
CASE(sum_that_is_not_cleared, 2, 64, 0)

// The first block's values are still there when the second runs on the same multiprocessor: no test would notice.
template <bool right>
__global__ void left_by_another_block(const float* in, float* out) {
  __shared__ float table[32];
  if (right || blockIdx.x == 0) table[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  out[blockIdx.x * 32 + threadIdx.x] = table[31 - threadIdx.x];  // uninitialized
}
CASE(left_by_another_block, 2, 32, 0)

template <bool right>
__global__ void tail_of_a_tile(const float* in, float* out) {
  float* tile = nnzoo::dynamic_shared<float>();
  const int i = threadIdx.x;
  if (i < 50) tile[i] = in[i];
  if (right && i >= 50) tile[i] = 0;
  __syncthreads();
  float sum = 0;
  for (int k = 0; k < 64; ++k) sum += tile[k];  // uninitialized
  out[i] = sum;
}
CASE(tail_of_a_tile, 1, 64, 64 * sizeof(float))

template <bool right>
__global__ void adds_to_a_fresh_output(const float* in, float* out) {
  const int i = threadIdx.x;
  if (right) out[i] = 0;
  out[i] += in[i];  // uninitialized
}
CASE(adds_to_a_fresh_output, 1, 64, 0)

template <bool right>
__global__ void vector_from_an_odd_address(const float* in, float* out) {
  const int i = threadIdx.x;
  const float4 v = *reinterpret_cast<const float4*>(in + 4 * i + (right ? 4 : 1));  // misaligned
  out[i] = v.x + v.w;
}
CASE(vector_from_an_odd_address, 1, 64, 0)

template <bool right>
__global__ void double_in_a_float_array(const float*, float* out) {
  float* numbers = nnzoo::dynamic_shared<float>();
  double* sum = reinterpret_cast<double*>(numbers + (right ? 2 : 1));
  if (threadIdx.x == 0) *sum = 1;  // misaligned
  __syncthreads();
  out[threadIdx.x] = static_cast<float>(*sum);
}
CASE(double_in_a_float_array, 1, 32, 64)

template <bool right>
__global__ void half_pair_at_an_odd_half(const float* in, float* out) {
  __shared__ __align__(4) __half values[66];
  const int i = threadIdx.x;
  values[i] = __float2half(in[i]);
  values[32 + i] = __float2half(in[i]);
  __syncthreads();
  const __half2 pair = *reinterpret_cast<const __half2*>(&values[right ? 2 * (i / 2) : i]);  // misaligned
  out[i] = __half2float(pair.x) + __half2float(pair.y);
}
CASE(half_pair_at_an_odd_half, 1, 32, 0)

template <bool right>
__global__ void row_of_ldmatrix(const float*, float* out) {
  uint16_t* tile = nnzoo::dynamic_shared<uint16_t>();
  for (int i = threadIdx.x; i < 512; i += 32) tile[i] = static_cast<uint16_t>(i);
  __syncwarp();
  uint32_t parts[4];
  nnzoo::ldmatrix_x4(parts, tile + threadIdx.x * 8 + (right ? 0 : 4));  // misaligned
  out[threadIdx.x] = static_cast<float>(parts[0] + parts[1] + parts[2] + parts[3]);
}
CASE(row_of_ldmatrix, 1, 32, 1024)

template <bool right>
__global__ void copy_to_an_odd_address(const float* in, float* out) {
  float* values = nnzoo::dynamic_shared<float>();
  float* own = values + threadIdx.x * 4 + (right ? 0 : 1);
  nnzoo::cp_async<16>(own, in + threadIdx.x * 4);  // misaligned
  nnzoo::cp_async_commit();
  nnzoo::cp_async_wait<0>();
  out[threadIdx.x] = own[0];
}
CASE(copy_to_an_odd_address, 1, 32, 1024)

// A pointer hides the array's type; there is room between two arrays.
__device__ __attribute__((noinline)) void store(float* at, float value) { *at = value; }  // out_of_bounds

template <bool right>
__global__ void into_the_next_array(const float* in, float* out) {
  __shared__ float one[32];
  __shared__ float other[32];
  const int i = threadIdx.x;
  one[i] = other[i] = 0;
  __syncthreads();
  store(one + i + (right ? 0 : 1), in[i]);
  __syncthreads();
  out[i] = one[i] + other[i];
}
CASE(into_the_next_array, 1, 32, 0)

}  // namespace
