// Kernels that must end in a report.
#include "common/launch.cuh"
#include "common/mma.cuh"
#include "guarded.h"

using nnzoo::launch;

namespace {

constexpr unsigned kAll = 0xffffffffu;

__global__ void shuffle_from_outside(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, 1, 16);
}

__global__ void shuffle_unnamed(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(0x000000ffu, 1, 1);
}

__global__ void shuffle_with_absent(int* out) {
  if (threadIdx.x % 2)
    out[threadIdx.x] = __shfl_xor_sync(kAll, 1, 2);
  else
    __syncthreads();
}

__global__ void divergent_barrier(int* out) {
  if (threadIdx.x < 48)
    __syncthreads();
  else
    __syncthreads();
  out[threadIdx.x] = 1;
}

__global__ void barrier_or_warp(int* out) {
  if (threadIdx.x < 8)
    __syncthreads();
  else
    __syncwarp();
  out[threadIdx.x] = 1;
}

__global__ void trap_at(int thread) {
  if (static_cast<int>(threadIdx.x) == thread) __trap();
}

__global__ void mma_of_half_a_warp(float* d) {
  uint32_t a[4] = {};
  uint32_t b[2] = {};
  float sums[4] = {};
  if (threadIdx.x < 16)
    nnzoo::mma_m16n8k16(sums, a, b, sums, __half());
  else
    __syncthreads();
  d[threadIdx.x] = sums[0];
}

__global__ void ldmatrix_off_by_two_bytes(uint32_t* out) {
  uint32_t parts[4];
  nnzoo::ldmatrix_x4(parts, nnzoo::dynamic_shared<__half>() + threadIdx.x * 8 + 1);
  out[threadIdx.x] = parts[0];
}

__global__ void copy_never_awaited(const float* in) {
  nnzoo::cp_async<16>(nnzoo::dynamic_shared<float>(), in);
  nnzoo::cp_async_commit();
}

__global__ void copy_misaligned(const float* in) { nnzoo::cp_async<16>(nnzoo::dynamic_shared<float>() + 1, in); }

}  // namespace

EXPORT(run_wrong)(int which, int* out) {
  return guarded([&] {
    switch (which) {
      case 0:
        return launch<shuffle_from_outside>(1, 32, 0, nullptr, out);
      case 1:
        return launch<shuffle_unnamed>(1, 32, 0, nullptr, out);
      case 2:
        return launch<shuffle_with_absent>(1, 32, 0, nullptr, out);
      case 3:
        return launch<divergent_barrier>(1, 64, 0, nullptr, out);
      case 4:
        return launch<barrier_or_warp>(1, 32, 0, nullptr, out);
      case 5:
        return launch<trap_at>(2, 64, 0, nullptr, 37);
      case 6:
        return launch<mma_of_half_a_warp>(1, 32, 0, nullptr, reinterpret_cast<float*>(out));
      case 7:
        return launch<ldmatrix_off_by_two_bytes>(1, 32, 1024, nullptr, reinterpret_cast<uint32_t*>(out));
      case 8:
        return launch<copy_never_awaited>(1, 1, 1024, nullptr, reinterpret_cast<const float*>(out));
      case 9:
        return launch<copy_misaligned>(1, 1, 1024, nullptr, reinterpret_cast<const float*>(out));
    }
  });
}
