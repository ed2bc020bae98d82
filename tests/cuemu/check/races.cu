// Planted races.
#include "case.h"

namespace {

template <bool right>
__global__ void missing_barrier(const float* in, float* out) {
  __shared__ float values[128];
  const int i = threadIdx.x;
  values[i] = in[i];  // race
  if (right) __syncthreads();
  out[i] = values[127 - i];  // race
}
CASE(missing_barrier, 1, 128, 0)

// The second barrier keeps fast warps from overwriting the tile that slow ones still read.
template <bool right>
__global__ void missing_second_barrier(const float* in, float* out) {
  __shared__ float tile[64];
  const int i = threadIdx.x;
  float sum = 0;
  for (int start = 0; start < 256; start += 64) {
    tile[i] = in[start + i];  // race
    __syncthreads();
    for (int k = 0; k < 64; ++k) sum += tile[k];  // race
    if (right) __syncthreads();
  }
  out[i] = sum;
}
CASE(missing_second_barrier, 1, 64, 0)

template <bool right>
__global__ void tree_without_barriers(const float* in, float* out) {
  __shared__ float sums[256];
  const int i = threadIdx.x;
  sums[i] = in[i];
  __syncthreads();
  for (int half = 128; half > 0; half /= 2) {
    if (i < half) sums[i] += sums[i + half];  // race
    if (right) __syncthreads();
  }
  if (i == 0) out[0] = sums[0];
}
CASE(tree_without_barriers, 1, 256, 0)

// Right until Volta, whose lanes no longer march in step; `volatile` does not help.
template <bool right>
__global__ void warp_without_syncwarp(const float* in, float* out) {
  __shared__ volatile float sums[32];
  const int lane = threadIdx.x;
  sums[lane] = in[lane];
  __syncwarp();
  for (int half = 16; half > 0; half /= 2) {
    float other = lane < half ? sums[lane + half] : 0;  // race
    if (right) __syncwarp();
    if (lane < half) sums[lane] = sums[lane] + other;  // race
    if (right) __syncwarp();
  }
  out[lane] = sums[0];  // race
}
CASE(warp_without_syncwarp, 1, 32, 0)

// A shuffle brings its value to the other lane, but no stores that came before it.
template <bool right>
__global__ void shuffle_is_no_syncwarp(const float* in, float* out) {
  __shared__ float values[32];
  const int lane = threadIdx.x;
  values[lane] = in[lane];  // race
  const float sum = __shfl_xor_sync(0xffffffffu, in[lane], 1);
  if (right) __syncwarp();
  out[lane] = sum + values[lane ^ 1];  // race
}
CASE(shuffle_is_no_syncwarp, 1, 32, 0)

// Half of a warp meets, the other half reads what it wrote.
template <bool right>
__global__ void syncwarp_of_half_a_warp(const float* in, float* out) {
  __shared__ float values[32];
  const int lane = threadIdx.x;
  values[lane] = in[lane];  // race
  __syncwarp(right ? 0xffffffffu : lane < 16 ? 0x0000ffffu : 0xffff0000u);
  out[lane] = values[right ? lane ^ 16 : lane ^ 16];  // race
}
CASE(syncwarp_of_half_a_warp, 1, 32, 0)

template <bool right>
__global__ void histogram(const float* in, float* out) {
  int* counts = reinterpret_cast<int*>(out);
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  __shared__ int own[8];
  if (threadIdx.x < 8) own[threadIdx.x] = 0;
  __syncthreads();
  const int bin = static_cast<int>(in[i]) & 7;
  if (right)
    atomicAdd(&own[bin], 1);
  else
    own[bin]++;  // race
  __syncthreads();
  if (threadIdx.x < 8) counts[blockIdx.x * 8 + threadIdx.x] = own[threadIdx.x];
}
CASE(histogram, 2, 256, 0)

// Each block writes one element of its neighbour, too.
template <bool right>
__global__ void blocks_overlap(const float* in, float* out) {
  const int i = blockIdx.x * 64 + threadIdx.x;
  if (right ? threadIdx.x < 64 : threadIdx.x < 65) out[i] = in[i] + blockIdx.x;  // race
}
CASE(blocks_overlap, 4, 96, 0)

// Blocks see each other's results only in the next launch.
template <bool right>
__global__ void read_of_another_block(const float* in, float* out) {
  const int i = blockIdx.x * 64 + threadIdx.x;
  out[i] = in[i];  // race
  __syncthreads();
  const int neighbour = right ? blockIdx.x * 64 + (threadIdx.x + 1) % 64 : (i + 64) % 256;
  if (neighbour < i || right) out[512 + i] = out[neighbour];  // race
}
CASE(read_of_another_block, 4, 64, 0)

template <bool right>
__global__ void atomic_and_plain(const float* in, float* out) {
  if (threadIdx.x == 0) {
    if (right)
      atomicExch(&out[0], in[0]);
    else
      out[0] = in[blockIdx.x];  // race
  }
  atomicExch(&out[0], in[1 + blockIdx.x]);  // race
}
CASE(atomic_and_plain, 2, 32, 0)

// "The last block adds up": what a block wrote before its fence is seen by who finds the counter full.
template <bool right>
__global__ void last_block_without_fence(const float* in, float* out) {
  __shared__ bool is_last;
  __shared__ unsigned before;
  unsigned* counter = reinterpret_cast<unsigned*>(out) + 1023;
  if (threadIdx.x == 0) {
    out[blockIdx.x] = in[blockIdx.x];  // race
    if (right) __threadfence();
    before = atomicInc(counter, gridDim.x - 1);
    is_last = before == gridDim.x - 1;
  }
  __syncthreads();
  if (is_last && threadIdx.x < gridDim.x) out[64 + threadIdx.x] = out[threadIdx.x];  // race
}
__global__ void clear_counter(float* out) { *(reinterpret_cast<unsigned*>(out) + 1023) = 0; }
static const Case last_block_case("last_block_without_fence", [](bool right, const float* in, float* out) {
  nnzoo::launch<clear_counter>(dim3(1), dim3(1), 0, nullptr, out);
  if (right)
    nnzoo::launch<last_block_without_fence<true>>(dim3(8), dim3(32), 0, nullptr, in, out);
  else
    nnzoo::launch<last_block_without_fence<false>>(dim3(8), dim3(32), 0, nullptr, in, out);
});

// Two halves in one word are two variables; as one word they are not.
template <bool right>
__global__ void halves_of_a_word(const float* in, float* out) {
  __half* halves = reinterpret_cast<__half*>(out);
  const int i = threadIdx.x;
  if (right) {
    halves[i] = __float2half(in[i]);
  } else {
    unsigned* word = reinterpret_cast<unsigned*>(out) + i / 2;
    const unsigned shift = i % 2 * 16;
    *word = (*word & ~(0xffffu << shift)) | (i + 1u) << shift;  // race
  }
}
__global__ void clear(float* out) { out[threadIdx.x] = 0; }
static const Case halves_case("halves_of_a_word", [](bool right, const float* in, float* out) {
  nnzoo::launch<clear>(dim3(1), dim3(64), 0, nullptr, out);
  if (right)
    nnzoo::launch<halves_of_a_word<true>>(dim3(1), dim3(64), 0, nullptr, in, out);
  else
    nnzoo::launch<halves_of_a_word<false>>(dim3(1), dim3(64), 0, nullptr, in, out);
});

}  // namespace
