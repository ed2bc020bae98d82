// Tensor-core instructions of a warp.
#include "common/launch.cuh"
#include "common/mma.cuh"
#include "common/mma_integer.cuh"
#include "guarded.h"

using nnzoo::launch;

namespace {

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

// a: [16, k] bytes, b: [k, 8] bytes, c, d: [16, 8]
template <int depth>
__global__ void mma_of_bytes(const unsigned char* a, const unsigned char* b, const int* c, int* d, int which) {
  const int row = threadIdx.x / 4;
  const int column = threadIdx.x % 4;
  uint32_t a_part[depth / 8] = {};
  uint32_t b_part[depth / 16] = {};
  int sums[4];
  for (int j = 0; j < 4; ++j) {
    for (int i = 0; i < depth / 8; ++i)
      a_part[i] |= static_cast<uint32_t>(a[(row + i % 2 * 8) * depth + i / 2 * 16 + column * 4 + j]) << (8 * j);
    for (int i = 0; i < depth / 16; ++i)
      b_part[i] |= static_cast<uint32_t>(b[(i * 16 + column * 4 + j) * 8 + row]) << (8 * j);
    sums[j] = c[(row + j / 2 * 8) * 8 + column * 2 + j % 2];
  }
  if constexpr (depth == 16) {
    nnzoo::mma_m16n8k16_s8s8(sums, a_part, b_part, sums);
  } else {
    if (which == 0) nnzoo::mma_m16n8k32_s8s8(sums, a_part, b_part, sums);
    if (which == 1) nnzoo::mma_m16n8k32_u8s8(sums, a_part, b_part, sums);
    if (which == 2) nnzoo::mma_m16n8k32_u8u8(sums, a_part, b_part, sums);
  }
  for (int i = 0; i < 4; ++i) d[(row + i / 2 * 8) * 8 + column * 2 + i % 2] = sums[i];
}

// c and d in halves: [16, 8]
__global__ void mma_in_halves(const __half* a, const __half* b, const __half* c, __half* d) {
  __shared__ __align__(16) __half a_tile[16][16];
  __shared__ __align__(16) __half b_tile[16][8];
  __shared__ __align__(16) __half d_tile[16][8];
  const int lane = threadIdx.x;
  for (int i = lane; i < 256; i += 32) a_tile[i / 16][i % 16] = a[i];
  for (int i = lane; i < 128; i += 32) b_tile[i / 8][i % 8] = b[i];
  for (int i = lane; i < 128; i += 32) d_tile[i / 8][i % 8] = c[i];
  __syncwarp();
  uint32_t a_part[4];
  uint32_t b_part[2];
  uint32_t sums[2];
  nnzoo::ldmatrix_x4(a_part, &a_tile[lane % 16][lane / 16 * 8]);
  nnzoo::ldmatrix_x2_transposed(b_part, &b_tile[lane % 16][0]);
  nnzoo::ldmatrix_x2(sums, &d_tile[lane % 16][0]);
  nnzoo::mma_m16n8k16(sums, a_part, b_part, sums, __half());
  nnzoo::stmatrix_x2(sums, &d_tile[lane % 16][0]);
  __syncwarp();
  for (int i = lane; i < 128; i += 32) d[i] = d_tile[i / 8][i % 8];
}

// in: [32, 8]; out: [6, 32, 8], the four 8x8 matrices moved through registers in each way there is.
__global__ void copy_matrices(const __half* in, __half* out) {
  __shared__ __align__(16) __half tile[32][8];
  __shared__ __align__(16) __half result[6][32][8];
  const int lane = threadIdx.x;
  for (int j = 0; j < 8; ++j) tile[lane][j] = in[lane * 8 + j];
  __syncwarp();
  uint32_t one[1];
  uint32_t two[2];
  uint32_t four[4];
  nnzoo::ldmatrix_x4(four, tile[lane]);
  nnzoo::stmatrix_x4(four, result[0][lane]);
  nnzoo::stmatrix_x4_transposed(four, result[1][lane]);
  nnzoo::ldmatrix_x4_transposed(four, tile[lane]);
  nnzoo::stmatrix_x4(four, result[2][lane]);
  nnzoo::stmatrix_x4_transposed(four, result[3][lane]);
  for (int half = 0; half < 2; ++half) {
    nnzoo::ldmatrix_x2_transposed(two, tile[half * 16 + lane % 16]);
    nnzoo::stmatrix_x2_transposed(two, result[4][half * 16 + lane % 16]);
  }
  for (int quarter = 0; quarter < 4; ++quarter) {
    // Addresses of lanes beyond the first eight are not looked at.
    nnzoo::ldmatrix_x1_transposed(one, lane < 8 ? tile[quarter * 8 + lane] : nullptr);
    nnzoo::stmatrix_x1(one, lane < 8 ? result[5][quarter * 8 + lane] : nullptr);
  }
  __syncwarp();
  for (int way = 0; way < 6; ++way)
    for (int j = 0; j < 8; ++j) out[(way * 32 + lane) * 8 + j] = result[way][lane][j];
}

}  // namespace

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
EXPORT(run_mma_of_bytes)(const unsigned char* a, const unsigned char* b, const int* c, int* d, int depth, int which) {
  return guarded([&] {
    if (depth == 16)
      launch<mma_of_bytes<16>>(1, 32, 0, nullptr, a, b, c, d, which);
    else
      launch<mma_of_bytes<32>>(1, 32, 0, nullptr, a, b, c, d, which);
  });
}
EXPORT(run_mma_in_halves)(const __half* a, const __half* b, const __half* c, __half* d) {
  return guarded([&] { launch<mma_in_halves>(1, 32, 0, nullptr, a, b, c, d); });
}
EXPORT(run_copy_matrices)(const __half* in, __half* out) {
  return guarded([&] { launch<copy_matrices>(1, 32, 0, nullptr, in, out); });
}
