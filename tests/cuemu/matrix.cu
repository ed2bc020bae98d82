// Tensor-core instructions of a warp.
#include "common/launch.cuh"
#include "common/mma.cuh"
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
