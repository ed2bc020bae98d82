// Three matrix products, c = a * b with n a multiple of 64. bench/emulator_speed.py times them.
#include "common/launch.cuh"
#include "common/mma.cuh"
#include "guarded.h"

using nnzoo::launch;

namespace {

__global__ void tiled(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int n) {
  __shared__ float a_tile[32][32];
  __shared__ float b_tile[32][32];
  const int x = threadIdx.x;
  const int y = threadIdx.y;
  const int column = blockIdx.x * 32 + x;
  const int row = blockIdx.y * 32 + y;
  float sum = 0;
  for (int start = 0; start < n; start += 32) {
    a_tile[y][x] = a[row * n + start + x];
    b_tile[y][x] = b[(start + y) * n + column];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 32; ++k) sum += a_tile[y][k] * b_tile[k][x];
    __syncthreads();
  }
  c[row * n + column] = sum;
}

__global__ void __launch_bounds__(256)
    in_registers(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int n) {
  __shared__ float a_tile[16][64];
  __shared__ float b_tile[16][64];
  const int thread = threadIdx.x;
  const int x = thread % 16 * 4;
  const int y = thread / 16 * 4;
  const int row = blockIdx.y * 64;
  const int column = blockIdx.x * 64;
  float sums[4][4] = {};
  for (int start = 0; start < n; start += 16) {
    for (int i = thread; i < 16 * 64; i += 256) {
      a_tile[i % 16][i / 16] = a[(row + i / 16) * n + start + i % 16];
      b_tile[i / 64][i % 64] = b[(start + i / 64) * n + column + i % 64];
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 16; ++k) {
      float a_part[4];
      float b_part[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        a_part[i] = a_tile[k][y + i];
        b_part[i] = b_tile[k][x + i];
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] += a_part[i] * b_part[j];
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) c[(row + y + i) * n + column + x + j] = sums[i][j];
  }
}

// bf16 on tensor cores. `b_transposed` is [n, n] with the columns of b as rows. Four warps, each 32x32 of a 64x64 tile,
// two stages of 32 along k; rows are padded by 16 bytes so that ldmatrix meets no bank twice.
template <bool waits>
__global__ void __launch_bounds__(128)
    on_tensor_cores(const __nv_bfloat16* __restrict__ a, const __nv_bfloat16* __restrict__ b_transposed,
                    float* __restrict__ c, int n) {
  constexpr int kPitch = 32 + 8;
  constexpr int kStage = 64 * kPitch;
  __nv_bfloat16* a_tiles = nnzoo::dynamic_shared<__nv_bfloat16>();
  __nv_bfloat16* b_tiles = a_tiles + 2 * kStage;
  const int thread = threadIdx.x;
  const int warp = thread / 32;
  const int lane = thread % 32;
  const int warp_row = warp / 2 * 32;
  const int warp_column = warp % 2 * 32;
  const int row = blockIdx.y * 64;
  const int column = blockIdx.x * 64;
  float sums[2][4][4] = {};

  auto load = [&](int stage, int start) {
    for (int i = thread; i < 64 * 4; i += 128) {
      const int r = i / 4;
      const int k = i % 4 * 8;
      nnzoo::cp_async<16>(&a_tiles[stage * kStage + r * kPitch + k], &a[(row + r) * n + start + k]);
      nnzoo::cp_async<16>(&b_tiles[stage * kStage + r * kPitch + k], &b_transposed[(column + r) * n + start + k]);
    }
    nnzoo::cp_async_commit();
  };

  load(0, 0);
  for (int step = 0; step < n / 32; ++step) {
    const int stage = step % 2;
    if (step + 1 < n / 32) {
      load(1 - stage, (step + 1) * 32);
      if (waits) nnzoo::cp_async_wait<1>();
    } else {
      nnzoo::cp_async_wait<0>();
    }
    __syncthreads();
    const __nv_bfloat16* a_tile = a_tiles + stage * kStage;
    const __nv_bfloat16* b_tile = b_tiles + stage * kStage;
#pragma unroll
    for (int k = 0; k < 32; k += 16) {
      uint32_t a_parts[2][4];
      uint32_t b_parts[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        nnzoo::ldmatrix_x4(a_parts[i], &a_tile[(warp_row + i * 16 + lane % 16) * kPitch + k + lane / 16 * 8]);
        nnzoo::ldmatrix_x4(b_parts[i],
                           &b_tile[(warp_column + i * 16 + lane % 8 + lane / 16 * 8) * kPitch + k + lane / 8 % 2 * 8]);
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const uint32_t b_part[2] = {b_parts[j / 2][j % 2 * 2], b_parts[j / 2][j % 2 * 2 + 1]};
          nnzoo::mma_m16n8k16(sums[i][j], a_parts[i], b_part, sums[i][j], __nv_bfloat16());
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float* at =
            &c[(row + warp_row + i * 16 + lane / 4 + half * 8) * n + column + warp_column + j * 8 + lane % 4 * 2];
        *reinterpret_cast<float2*>(at) = make_float2(sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
      }
    }
  }
}

constexpr size_t kTensorCoreShared = 4 * 64 * 40 * sizeof(__nv_bfloat16);

}  // namespace

EXPORT(matmul_tiled)(const float* a, const float* b, float* c, int n) {
  return guarded([&] { launch<tiled>(dim3(n / 32, n / 32), dim3(32, 32), 0, nullptr, a, b, c, n); });
}

EXPORT(matmul_in_registers)(const float* a, const float* b, float* c, int n) {
  return guarded([&] { launch<in_registers>(dim3(n / 64, n / 64), 256, 0, nullptr, a, b, c, n); });
}

EXPORT(matmul_on_tensor_cores)(const __nv_bfloat16* a, const __nv_bfloat16* b_transposed, float* c, int n, int waits) {
  return guarded([&] {
    const dim3 grid(n / 64, n / 64);
    if (waits)
      launch<on_tensor_cores<true>>(grid, 128, kTensorCoreShared, nullptr, a, b_transposed, c, n);
    else
      launch<on_tensor_cores<false>>(grid, 128, kTensorCoreShared, nullptr, a, b_transposed, c, n);
  });
}
