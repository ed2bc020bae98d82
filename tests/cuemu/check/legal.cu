// Patterns that look wrong and are not: none has a mark, and `right` makes no difference.
#include "case.h"

namespace {

// CUDA programming guide, "Atomic Functions": the first load is a guess that the compare-and-swap corrects.
template <bool right>
__global__ void compare_and_swap_loop(const float* in, float* out) {
  if (threadIdx.x == 0 && blockIdx.x == 0) atomicExch(out, 1e30f);
  int* address = reinterpret_cast<int*>(out + 1 + blockIdx.x);
  if (threadIdx.x == 0) atomicExch(address, 0);
  __syncthreads();
  int old = *address;
  int assumed;
  do {
    assumed = old;
    old = atomicCAS(address, assumed, __float_as_int(__int_as_float(assumed) + in[threadIdx.x]));
  } while (assumed != old);
}
CASE(compare_and_swap_loop, 2, 64, 0)

// All who write, write the same.
template <bool right>
__global__ void found_flag(const float* in, float* out) {
  __shared__ bool is_found;
  if (threadIdx.x == 0) is_found = false;
  __syncthreads();
  if (in[threadIdx.x] > 10) is_found = true;
  __syncthreads();
  if (is_found) out[0] = 1;
}
CASE(found_flag, 2, 64, 0)

// A block writes, fences and sets a flag; a later one that sees the flag may read.
template <bool right>
__global__ void fence_and_flag(const float* in, float* out) {
  volatile int* flag = reinterpret_cast<volatile int*>(out) + 1023;
  if (blockIdx.x == 0) {
    out[threadIdx.x] = in[threadIdx.x];
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) *flag = 7;
  } else if (*flag == 7) {
    __threadfence();
    out[64 + blockIdx.x * 64 + threadIdx.x] = out[threadIdx.x];
  }
}
__global__ void clear_flag(float* out) { *(reinterpret_cast<int*>(out) + 1023) = 0; }
static const Case fence_and_flag_case("fence_and_flag", [](bool, const float* in, float* out) {
  nnzoo::launch<clear_flag>(dim3(1), dim3(1), 0, nullptr, out);
  nnzoo::launch<fence_and_flag<true>>(dim3(4), dim3(64), 0, nullptr, in, out);
});

// The same with a plain flag, which only the annotation makes legal.
template <bool right>
__global__ void annotated_flag(const float* in, float* out) {
  int* flag = reinterpret_cast<int*>(out) + 1023;
  CUEMU_RACE_IS_MEANT(flag, sizeof *flag);
  if (blockIdx.x == 0) {
    out[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0) {
      *flag = 7;
      CUEMU_RELEASES(flag);
    }
  } else if (*flag == 7) {
    CUEMU_ACQUIRES(flag);
    out[64 + blockIdx.x * 64 + threadIdx.x] = out[threadIdx.x];
  }
}
static const Case annotated_flag_case("annotated_flag", [](bool, const float* in, float* out) {
  nnzoo::launch<clear_flag>(dim3(1), dim3(1), 0, nullptr, out);
  nnzoo::launch<annotated_flag<true>>(dim3(4), dim3(64), 0, nullptr, in, out);
});

template <bool right>
__global__ void neighbours_in_one_word(const float* in, float* out) {
  __shared__ unsigned char bytes[64];
  bytes[threadIdx.x] = static_cast<unsigned char>(in[threadIdx.x]);
  __syncthreads();
  reinterpret_cast<unsigned char*>(out)[threadIdx.x] = bytes[63 - threadIdx.x];
}
CASE(neighbours_in_one_word, 1, 64, 0)

// Warps that go their own ways, each with its own shared memory.
template <bool right>
__global__ void warps_of_their_own(const float* in, float* out) {
  __shared__ float tiles[4][32];
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  for (int round = 0; round <= warp; ++round) {
    tiles[warp][lane] = in[round * 32 + lane];
    __syncwarp();
    out[threadIdx.x] = tiles[warp][31 - lane];
    __syncwarp();
  }
}
CASE(warps_of_their_own, 1, 128, 0)

// A function that returns a struct straight into shared memory.
struct Numbers {
  float values[6];
};
__device__ __attribute__((noinline)) Numbers numbers(const float* in) {
  return {{in[0], in[1], in[2], in[3], in[4], in[5]}};
}

template <bool right>
__global__ void struct_returned_into_shared_memory(const float* in, float* out) {
  __shared__ Numbers mine[32];
  mine[threadIdx.x] = numbers(in + threadIdx.x);
  for (int i = 0; i < 6; ++i) out[threadIdx.x * 6 + i] = mine[threadIdx.x].values[i];
}
CASE(struct_returned_into_shared_memory, 1, 32, 0)

__device__ int counter;

template <bool right>
__global__ void device_variable(const float*, float* out) {
  out[blockIdx.x * 32 + threadIdx.x] = static_cast<float>(atomicAdd(&counter, 1));
}
CASE(device_variable, 2, 32, 0)

}  // namespace
