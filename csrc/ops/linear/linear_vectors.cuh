// The product by multiply-adds in registers: 256 threads, 8 x 8 results each (8 x 4 in float64), of a tile of 128 x
// 128.
//
// Tiles lie in shared memory by depth, so that a thread reads its rows and columns 16 bytes at a time: 16 numbers for
// 64 multiply-adds. There are two of each: while one is multiplied, the next comes from global memory into registers,
// then goes into the other, and a slice costs one barrier.
#pragma once

#include "common/gemm_operand.cuh"
#include "ops/linear/linear_output.cuh"

namespace nnzoo::cuda {

// A matrix of any strides of which product number i takes slice i of the depth.
template <class T>
struct SlicedOperand : StridedOperand<T> {
  std::int64_t slice;

  SlicedOperand(const void* data, std::int64_t rows, std::int64_t depth, std::int64_t row_stride,
                std::int64_t depth_stride, std::int64_t slice)
      : StridedOperand<T>(data, rows, depth, row_stride, depth_stride), slice(slice) {}

  __device__ SlicedOperand batch(int index) const {
    SlicedOperand own = *this;
    own.data += index * slice * this->depth_stride;
    own.depth = this->depth - index * slice < slice ? this->depth - index * slice : slice;
    return own;
  }
};

// The part of a tile that is this thread's: groups of 16 bytes, one in each sixteenth-fold of them.
template <class T, int kGroups>
struct VectorTile {
  using A = Accumulator<T>;
  static constexpr int kThreads = 256;
  static constexpr int kGroup = kPackSize<A>;
  static constexpr int kRows = 16 * kGroup * kGroups;
  static constexpr int kDepth = sizeof(T) == 2 ? 16 : 8;
  // Two packs of 16 rows, as a warp stores them, then meet each bank once.
  static constexpr int kPitch = kRows + 4;
  static constexpr int kElements = kDepth * kPitch;
  static constexpr int kPack = kPackSize<T>;
  static constexpr int kPacks = kRows * kDepth / kPack / kThreads;
  Pack<T, kPack> packs[kPacks];

  // Row and depth, inside the tile, of this thread's pack number i. Along depth a warp takes two packs of 16 rows:
  // whole sectors.
  static __device__ int2 position(bool along_depth, int i) {
    const int pack = threadIdx.x + i * kThreads;
    if (along_depth) return make_int2(pack / 2 % kRows, (pack / 2 / kRows * 2 + pack % 2) * kPack);
    return make_int2(pack % (kRows / kPack) * kPack, pack / (kRows / kPack));
  }

  __device__ void fetch(const SlicedOperand<T>& from, std::int64_t first_row, std::int64_t first_k) {
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      const int2 at = position(from.along_depth, i);
      packs[i] = from.template load<kPack>(first_row + at.x, first_k + at.y);
    }
  }

  __device__ void put(bool along_depth, A* tile) const {
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      const int2 at = position(along_depth, i);
      if (along_depth) {
#pragma unroll
        for (int j = 0; j < kPack; ++j) tile[(at.y + j) * kPitch + at.x] = widen(packs[i].values[j]);
      } else {
#pragma unroll
        for (int j = 0; j < kPack; j += kGroup) {
          Pack<A, kGroup> group;
#pragma unroll
          for (int n = 0; n < kGroup; ++n) group.values[n] = widen(packs[i].values[j + n]);
          *reinterpret_cast<Pack<A, kGroup>*>(&tile[at.y * kPitch + at.x + j]) = group;
        }
      }
    }
  }

  static __device__ int row_of(int thread, int i) { return (i / kGroup * 16 + thread) * kGroup + i % kGroup; }

  static __device__ void read(A (&values)[kGroup * kGroups], const A* tile, int thread, int k) {
#pragma unroll
    for (int i = 0; i < kGroup * kGroups; i += kGroup) {
      const auto group = *reinterpret_cast<const Pack<A, kGroup>*>(&tile[k * kPitch + row_of(thread, i)]);
#pragma unroll
      for (int n = 0; n < kGroup; ++n) values[i + n] = group.values[n];
    }
  }
};

template <class T>
struct VectorTiles {
  using A = Accumulator<T>;
  using Rows = VectorTile<T, 8 / kPackSize<A>>;
  using Columns = VectorTile<T, 2>;
};

template <class T>
__global__ void __launch_bounds__(256, sizeof(T) == 4 ? 2 : 1)
    vectors_kernel(SlicedOperand<T> all_a, SlicedOperand<T> all_b, Output<T> to, std::int64_t column_tiles) {
  using A = Accumulator<T>;
  using Rows = typename VectorTiles<T>::Rows;
  using Columns = typename VectorTiles<T>::Columns;
  constexpr int kOwnRows = Rows::kRows / 16;
  constexpr int kOwnColumns = Columns::kRows / 16;
  __shared__ __align__(16) A a_tiles[2][Rows::kElements];
  __shared__ __align__(16) A b_tiles[2][Columns::kElements];
  const int slice = blockIdx.y;
  const auto a = all_a.batch(slice);
  const auto b = all_b.batch(slice);
  const std::int64_t first_row = blockIdx.x / column_tiles * Rows::kRows;
  const std::int64_t first_column = blockIdx.x % column_tiles * Columns::kRows;
  const int row_thread = threadIdx.x / 16;
  const int column_thread = threadIdx.x % 16;
  Rows a_copy;
  Columns b_copy;
  A sums[kOwnRows][kOwnColumns] = {};

  a_copy.fetch(a, first_row, 0);
  b_copy.fetch(b, first_column, 0);
  a_copy.put(a.along_depth, a_tiles[0]);
  b_copy.put(b.along_depth, b_tiles[0]);
  __syncthreads();
  int now = 0;
  for (std::int64_t k = 0; k < a.depth; k += Rows::kDepth, now ^= 1) {
    const bool more = k + Rows::kDepth < a.depth;
    if (more) {
      a_copy.fetch(a, first_row, k + Rows::kDepth);
      b_copy.fetch(b, first_column, k + Rows::kDepth);
    }
#pragma unroll
    for (int j = 0; j < Rows::kDepth; ++j) {
      A left[kOwnRows];
      A right[kOwnColumns];
      Rows::read(left, a_tiles[now], row_thread, j);
      Columns::read(right, b_tiles[now], column_thread, j);
#pragma unroll
      for (int row = 0; row < kOwnRows; ++row) {
#pragma unroll
        for (int column = 0; column < kOwnColumns; ++column) sums[row][column] += left[row] * right[column];
      }
    }
    if (more) {
      a_copy.put(a.along_depth, a_tiles[now ^ 1]);
      b_copy.put(b.along_depth, b_tiles[now ^ 1]);
    }
    __syncthreads();
  }
#pragma unroll 1
  for (int i = 0; i < kOwnRows; ++i) {
    const std::int64_t row = first_row + Rows::row_of(row_thread, i);
#pragma unroll
    for (int j = 0; j < kOwnColumns; ++j) {
      const std::int64_t column = first_column + Columns::row_of(column_thread, j);
      if (row < to.rows && column < to.columns) to(slice, row, column, sums[0][j]);
    }
#pragma unroll
    for (int next = 1; next < kOwnRows; ++next) {
#pragma unroll
      for (int j = 0; j < kOwnColumns; ++j) sums[next - 1][j] = sums[next][j];
    }
  }
}

}  // namespace nnzoo::cuda
