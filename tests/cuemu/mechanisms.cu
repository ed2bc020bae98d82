// One small kernel for each mechanism of the emulator, and a wrong twin for most. tests/test_cuemu.py knows the
// answers.
#include "common/launch.cuh"
#include "common/mma.cuh"
#include "common/reduce.cuh"
#include "guarded.h"

using nnzoo::launch;

namespace {

constexpr unsigned kAll = 0xffffffffu;

__global__ void count_threads(int* visits, int* order, int* next) {
  const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const int self = block * static_cast<int>(blockDim.x * blockDim.y * blockDim.z) + thread;
  atomicAdd(&visits[self], 1);
  order[atomicAdd(next, 1)] = self;
}

template <bool synchronised>
__global__ void reverse_in_shared(const int* in, int* out) {
  __shared__ int values[64];
  values[threadIdx.x] = in[threadIdx.x];
  if (synchronised) __syncthreads();
  out[threadIdx.x] = values[63 - threadIdx.x];
}

__global__ void copy_shared_as_found(float* out) { out[threadIdx.x] = nnzoo::dynamic_shared<float>()[threadIdx.x]; }

// out: [4, 32]
__global__ void shuffle(const int* in, int* out, int operand, int width) {
  const int lane = threadIdx.x;
  out[lane] = __shfl_sync(kAll, in[lane], operand, width);
  out[32 + lane] = __shfl_up_sync(kAll, in[lane], operand, width);
  out[64 + lane] = __shfl_down_sync(kAll, in[lane], operand, width);
  out[96 + lane] = __shfl_xor_sync(kAll, in[lane], operand, width);
}

__global__ void shuffle_in_halves(double* out) {
  const int lane = threadIdx.x;
  if (lane < 16) {
    out[lane] = __shfl_xor_sync(0x0000ffffu, lane + 0.5, 1);
  } else {
    out[lane] = __shfl_xor_sync(0xffff0000u, lane - 0.5, 2);
  }
}

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

// out: [8, 32]
__global__ void vote(const int* in, unsigned* out) {
  const int lane = threadIdx.x;
  out[lane] = __ballot_sync(kAll, in[lane] > 3);
  out[32 + lane] = __any_sync(kAll, in[lane] > 8);
  out[64 + lane] = __all_sync(kAll, in[lane] >= 0);
  out[96 + lane] = __match_any_sync(kAll, in[lane]);
  out[128 + lane] = __reduce_add_sync(kAll, in[lane]);
  out[160 + lane] = __reduce_max_sync(kAll, in[lane]);
  out[192 + lane] = __syncthreads_count(in[lane] > 3);
  out[224 + lane] = __syncthreads_or(in[lane] > 8) * 2 + __syncthreads_and(in[lane] >= 0);
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

__global__ void divergent_barrier(int* out) {
  if (threadIdx.x < 48)
    __syncthreads();
  else
    __syncthreads();
  out[threadIdx.x] = 1;
}

__global__ void barrier_after_return(int* out) {
  if (threadIdx.x >= 48) return;
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

template <class T>
__global__ void add_all(const T* in, T* total) {
  atomicAdd(total, in[blockIdx.x * blockDim.x + threadIdx.x]);
}

// All threads of a warp read before any writes: what an unprotected read-modify-write may do at any time.
__global__ void add_without_atomic(const float* in, float* total) {
  const float old = *total;
  __syncwarp();
  *total = old + in[threadIdx.x];
}

// out: max, min, and, or, xor, last exchanged plus all returned, compare-and-swap maximum, wrapped increment
__global__ void other_atomics(const int* in, int* out) {
  const int value = in[blockIdx.x * blockDim.x + threadIdx.x];
  atomicMax(&out[0], value);
  atomicMin(&out[1], value);
  atomicAnd(&out[2], value);
  atomicOr(&out[3], value);
  atomicXor(&out[4], value);
  atomicAdd(&out[5], atomicExch(&out[6], value));
  int seen = out[7];
  while (seen < value) {
    const int old = atomicCAS(&out[7], seen, value);
    if (old == seen) break;
    seen = old;
  }
  atomicInc(reinterpret_cast<unsigned*>(&out[8]), 9);
}

__global__ void convert(const float* in, unsigned short* halves, unsigned short* bfloats, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  halves[i] = __half_as_ushort(__float2half(in[i]));
  bfloats[i] = __bfloat16_as_ushort(__float2bfloat16(in[i]));
}

// out: [2, 65536], every half and every bfloat16 as float
__global__ void widen(float* out) {
  const unsigned bits = blockIdx.x * blockDim.x + threadIdx.x;
  out[bits] = __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
  out[65536 + bits] = __bfloat162float(__ushort_as_bfloat16(static_cast<unsigned short>(bits)));
}

// d = a * b + c on one warp, fragments gathered element by element. a: [16, 16], b: [16, 8], c, d: [16, 8]
template <class T>
__global__ void mma_from_memory(const T* a, const T* b, const float* c, float* d) {
  const int row = threadIdx.x / 4;
  const int column = threadIdx.x % 4 * 2;
  uint32_t a_part[4];
  uint32_t b_part[2];
  float sums[4];
  for (int i = 0; i < 4; ++i) {
    memcpy(&a_part[i], &a[(row + i % 2 * 8) * 16 + column + i / 2 * 8], 4);
    sums[i] = c[(row + i / 2 * 8) * 8 + column + i % 2];
  }
  for (int i = 0; i < 2; ++i) {
    const T pair[2] = {b[(column + i * 8) * 8 + row], b[(column + i * 8 + 1) * 8 + row]};
    memcpy(&b_part[i], pair, 4);
  }
  nnzoo::mma_m16n8k16(sums, a_part, b_part, sums, T());
  for (int i = 0; i < 4; ++i) d[(row + i / 2 * 8) * 8 + column + i % 2] = sums[i];
}

// The same with ldmatrix: a row-major as it is, b row-major and therefore transposed.
template <class T>
__global__ void mma_from_ldmatrix(const T* a, const T* b, const float* c, float* d) {
  __shared__ __align__(16) T a_tile[16][16];
  __shared__ __align__(16) T b_tile[32][8];
  const int lane = threadIdx.x;
  for (int i = lane; i < 256; i += 32) a_tile[i / 16][i % 16] = a[i];
  for (int i = lane; i < 128; i += 32) b_tile[i / 8][i % 8] = b[i];
  __syncwarp();
  uint32_t a_part[4];
  uint32_t b_parts[4];
  nnzoo::ldmatrix_x4(a_part, &a_tile[lane % 16][lane / 16 * 8]);
  nnzoo::ldmatrix_x4_transposed(b_parts, &b_tile[lane % 16][0]);
  const uint32_t b_part[2] = {b_parts[0], b_parts[1]};
  const int row = lane / 4;
  const int column = lane % 4 * 2;
  float sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = c[(row + i / 2 * 8) * 8 + column + i % 2];
  nnzoo::mma_m16n8k16(sums, a_part, b_part, sums, T());
  for (int i = 0; i < 4; ++i) d[(row + i / 2 * 8) * 8 + column + i % 2] = sums[i];
}

// a: [16, 8], b: [8, 8], c, d: [16, 8]
__global__ void mma_tf32(const float* a, const float* b, const float* c, float* d) {
  const int row = threadIdx.x / 4;
  const int column = threadIdx.x % 4;
  uint32_t a_part[4];
  uint32_t b_part[2];
  float sums[4];
  for (int i = 0; i < 4; ++i) {
    a_part[i] = nnzoo::to_tf32(a[(row + i % 2 * 8) * 8 + column + i / 2 * 4]);
    sums[i] = c[(row + i / 2 * 8) * 8 + column * 2 + i % 2];
  }
  for (int i = 0; i < 2; ++i) b_part[i] = nnzoo::to_tf32(b[(column + i * 4) * 8 + row]);
  nnzoo::mma_m16n8k8_tf32(sums, a_part, b_part, sums);
  for (int i = 0; i < 4; ++i) d[(row + i / 2 * 8) * 8 + column * 2 + i % 2] = sums[i];
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

enum class Wait { right, missing, too_weak };

// Copies in two groups, the second with zero fill; out[0..127] is read after the wait.
template <Wait wait>
__global__ void copy_async(const float* in, float* out) {
  float* buffer = nnzoo::dynamic_shared<float>();
  const int i = threadIdx.x * 4;
  nnzoo::cp_async<16>(&buffer[i], &in[i]);
  nnzoo::cp_async_commit();
  nnzoo::cp_async<16>(&buffer[128 + i], &in[128 + i], 8);
  nnzoo::cp_async_commit();
  if (wait == Wait::right) nnzoo::cp_async_wait<0>();
  if (wait == Wait::too_weak) nnzoo::cp_async_wait<1>();
  __syncthreads();
  for (int j = 0; j < 4; ++j) out[i + j] = buffer[i + j];
  for (int j = 0; j < 4; ++j) out[128 + i + j] = buffer[128 + i + j];
  nnzoo::cp_async_wait<0>();
}

__global__ void copy_never_awaited(const float* in) {
  nnzoo::cp_async<16>(nnzoo::dynamic_shared<float>(), in);
  nnzoo::cp_async_commit();
}

__global__ void copy_misaligned(const float* in) { nnzoo::cp_async<16>(nnzoo::dynamic_shared<float>() + 1, in); }

__global__ void do_nothing() {}

}  // namespace

EXPORT(run_count_threads)(int* visits, int* order, int* next) {
  return guarded([&] { launch<count_threads>(dim3(2, 3, 2), dim3(3, 5, 4), 0, nullptr, visits, order, next); });
}
EXPORT(run_nothing)(unsigned grid, unsigned block, size_t shared_bytes) {
  return guarded([&] { launch<do_nothing>(grid, block, shared_bytes, nullptr); });
}
EXPORT(run_reverse)(const int* in, int* out, int synchronised) {
  return guarded([&] {
    if (synchronised)
      launch<reverse_in_shared<true>>(1, 64, 0, nullptr, in, out);
    else
      launch<reverse_in_shared<false>>(1, 64, 0, nullptr, in, out);
  });
}
EXPORT(run_copy_shared_as_found)(float* out) {
  return guarded([&] { launch<copy_shared_as_found>(1, 64, 64 * sizeof(float), nullptr, out); });
}
EXPORT(run_shuffle)(const int* in, int* out, int operand, int width) {
  return guarded([&] { launch<shuffle>(1, 32, 0, nullptr, in, out, operand, width); });
}
EXPORT(run_shuffle_in_halves)(double* out) {
  return guarded([&] { launch<shuffle_in_halves>(1, 32, 0, nullptr, out); });
}
EXPORT(run_vote)(const int* in, unsigned* out) {
  return guarded([&] { launch<vote>(1, 32, 0, nullptr, in, out); });
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
EXPORT(run_barrier_after_return)(int* out) {
  return guarded([&] { launch<barrier_after_return>(1, 64, 0, nullptr, out); });
}
EXPORT(run_add_int)(const int* in, int* total) {
  return guarded([&] { launch<add_all<int>>(32, 64, 0, nullptr, in, total); });
}
EXPORT(run_add_long)(const unsigned long long* in, unsigned long long* total) {
  return guarded([&] { launch<add_all<unsigned long long>>(32, 64, 0, nullptr, in, total); });
}
EXPORT(run_add_float)(const float* in, float* total) {
  return guarded([&] { launch<add_all<float>>(32, 64, 0, nullptr, in, total); });
}
EXPORT(run_add_double)(const double* in, double* total) {
  return guarded([&] { launch<add_all<double>>(32, 64, 0, nullptr, in, total); });
}
EXPORT(run_add_half)(const __half* in, __half* total) {
  return guarded([&] { launch<add_all<__half>>(32, 64, 0, nullptr, in, total); });
}
EXPORT(run_add_bfloat16)(const __nv_bfloat16* in, __nv_bfloat16* total) {
  return guarded([&] { launch<add_all<__nv_bfloat16>>(1, 64, 0, nullptr, in, total); });
}
EXPORT(run_add_without_atomic)(const float* in, float* total) {
  return guarded([&] { launch<add_without_atomic>(1, 32, 0, nullptr, in, total); });
}
EXPORT(run_other_atomics)(const int* in, int* out) {
  return guarded([&] { launch<other_atomics>(8, 64, 0, nullptr, in, out); });
}
EXPORT(run_convert)(const float* in, unsigned short* halves, unsigned short* bfloats, int count) {
  return guarded([&] { launch<convert>((count + 255) / 256, 256, 0, nullptr, in, halves, bfloats, count); });
}
EXPORT(run_widen)(float* out) {
  return guarded([&] { launch<widen>(256, 256, 0, nullptr, out); });
}
EXPORT(run_mma)(const void* a, const void* b, const float* c, float* d, int half, int from_shared) {
  return guarded([&] {
    auto run = [&](auto type) {
      using T = decltype(type);
      auto* a_values = static_cast<const T*>(a);
      auto* b_values = static_cast<const T*>(b);
      if (from_shared)
        launch<mma_from_ldmatrix<T>>(1, 32, 0, nullptr, a_values, b_values, c, d);
      else
        launch<mma_from_memory<T>>(1, 32, 0, nullptr, a_values, b_values, c, d);
    };
    if (half)
      run(__half());
    else
      run(__nv_bfloat16());
  });
}
EXPORT(run_mma_tf32)(const float* a, const float* b, const float* c, float* d) {
  return guarded([&] { launch<mma_tf32>(1, 32, 0, nullptr, a, b, c, d); });
}
EXPORT(run_copy_async)(const float* in, float* out, int wait) {
  return guarded([&] {
    switch (wait) {
      case 0:
        return launch<copy_async<Wait::right>>(1, 32, 1024, nullptr, in, out);
      case 1:
        return launch<copy_async<Wait::missing>>(1, 32, 1024, nullptr, in, out);
      case 2:
        return launch<copy_async<Wait::too_weak>>(1, 32, 1024, nullptr, in, out);
    }
  });
}
