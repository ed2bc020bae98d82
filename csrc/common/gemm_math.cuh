// How gemm.cuh multiplies two tiles that are in shared memory: `store` and `place` say how an element lies there,
// `multiply` adds the product of two tiles to the sums, `for_each` visits this thread's sums.
#pragma once

#include <cstdint>

#include "common/mma.cuh"

namespace nnzoo {

constexpr int kTileRows = 64;
constexpr int kTileColumns = 64;

// Multiply-adds in registers: 256 threads, 4 x 4 sums each. Tiles lie [depth][row], so that a thread reads its four
// rows in one access.
template <class T>
struct FmaMath {
  static constexpr int kThreads = 256;
  static constexpr int kDepth = 16;
  static constexpr int kPitch = kTileRows + 16 / static_cast<int>(sizeof(T));
  static constexpr int kTileElements = kDepth * kPitch;
  using Sum = T;
  using Stored = T;
  Sum sums[4][4] = {};

  static __device__ int place(int row, int k) { return k * kPitch + row; }
  static __device__ T store(T value) { return value; }

  __device__ void multiply(const T* a_tile, const T* b_tile) {
    const int row = threadIdx.x / 16 * 4;
    const int column = threadIdx.x % 16 * 4;
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      T a[4];
      T b[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        a[i] = a_tile[place(row + i, k)];
        b[i] = b_tile[place(column + i, k)];
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] += a[i] * b[j];
      }
    }
  }

  template <class Visit>
  __device__ void for_each(Visit visit) const {
    const int row = threadIdx.x / 16 * 4;
    const int column = threadIdx.x % 16 * 4;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) visit(row + i, column + j, sums[i][j]);
    }
  }
};

// The tensor cores' part that is the same for all element types: four warps, each a 32 x 32 quarter of the tile as 2 x
// 4 products of 16 x 8. Tiles lie [row][depth]; 16 bytes of padding send the rows of one ldmatrix to different banks.
template <class Stored_, int elements_per_step>
struct TensorMath {
  static constexpr int kThreads = 256;
  static constexpr int kDepth = 32;
  static constexpr int kPitch = kDepth + 16 / static_cast<int>(sizeof(Stored_));
  static constexpr int kTileElements = kTileRows * kPitch;
  using Sum = float;
  using Stored = Stored_;
  Sum sums[2][2][4] = {};

  static __device__ int place(int row, int k) { return row * kPitch + k; }

  // An 8 x 8 matrix of 16-bit elements is also an 8 x 4 matrix of 32-bit ones, so the same loads serve tf32.
  template <class Mma>
  __device__ void multiply_tiles(const Stored* a_tile, const Stored* b_tile, Mma mma) {
    constexpr int kHalf = elements_per_step / 2;
    const int lane = threadIdx.x % 32;
    const int row = threadIdx.x / 128 * 32 + lane % 16;
    const int column = threadIdx.x / 32 % 4 * 16 + lane % 8 + lane / 16 * 8;
#pragma unroll
    for (int k = 0; k < kDepth; k += elements_per_step) {
      std::uint32_t a[2][4];
      std::uint32_t b[4];
      ldmatrix_x4(b, &b_tile[place(column, k + lane / 8 % 2 * kHalf)]);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        ldmatrix_x4(a[i], &a_tile[place(row + i * 16, k + lane / 16 * kHalf)]);
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const std::uint32_t b_part[2] = {b[j * 2], b[j * 2 + 1]};
          mma(sums[i][j], a[i], b_part);
        }
      }
    }
  }

  template <class Visit>
  __device__ void for_each(Visit visit) const {
    const int lane = threadIdx.x % 32;
    const int row = threadIdx.x / 128 * 32 + lane / 4;
    const int column = threadIdx.x / 32 % 4 * 16 + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
#pragma unroll
        for (int part = 0; part < 4; ++part)
          visit(row + i * 16 + part / 2 * 8, column + j * 8 + part % 2, sums[i][j][part]);
      }
    }
  }
};

// bf16 and fp16, summed in float32.
template <class T>
struct Mma16Math : TensorMath<T, 16> {
  static __device__ T store(T value) { return value; }
  __device__ void multiply(const T* a_tile, const T* b_tile) {
    this->multiply_tiles(a_tile, b_tile,
                         [](auto& sums, const auto& a, const auto& b) { mma_m16n8k16(sums, a, b, sums, T()); });
  }
};

// float32 whose factors are rounded to tf32 (10 bits of mantissa): only where the user allowed it.
struct Tf32Math : TensorMath<std::uint32_t, 8> {
  static __device__ std::uint32_t store(float value) { return to_tf32(value); }
  __device__ void multiply(const std::uint32_t* a_tile, const std::uint32_t* b_tile) {
    multiply_tiles(a_tile, b_tile,
                   [](auto& sums, const auto& a, const auto& b) { mma_m16n8k8_tf32(sums, a, b, sums); });
  }
};

}  // namespace nnzoo
