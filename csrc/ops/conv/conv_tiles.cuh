// Tiles of 256 threads' products in shared memory, and the mathematics that multiplies them, for operands whose depth
// is adjacent in memory ("along the depth": a row of a tile is 128 bytes of one row of the matrix) and for those whose
// rows are ("across": a row of a tile is one step of the depth). Elements move in packs of 16 bytes.
//
// The packs of a row are permuted by an exclusive or with the number of the row, so that the eight rows that ldmatrix
// or a quarter of a warp reads at once lie in different banks, without padding.
#pragma once

#include "common/mma.cuh"
#include "ops/conv/conv_images.cuh"

namespace nnzoo::cuda {

template <class T>
constexpr int kSlice = 128 / static_cast<int>(sizeof(T));  // elements of a row along the depth

template <class T>
__device__ int along_place(int row, int pack) {
  return row * kSlice<T> + ((pack ^ (row & 7)) * kPackSize<T>);
}
// In a tile of kSlice<T> steps of the depth and `rows` rows. Tensor cores read 8 steps of 16-bit elements at once, or
// of 32-bit ones 4 steps of two packs.
template <class T, int rows>
__device__ int across_place(int step, int pack) {
  return step * rows + ((pack ^ (sizeof(T) == 2 ? step & 7 : (step & 3) * 2)) * kPackSize<T>);
}

// What to multiply on: multiply-adds of T, or the tensor cores; float32 there as tf32.
template <class T>
struct Fma {
  using Element = T;
};
template <class T>
struct Tensor {
  using Element = T;
};

__device__ __forceinline__ void multiply_fragments(float (&sums)[4], const std::uint32_t (&a)[4],
                                                   const std::uint32_t (&b)[2], float) {
  mma_m16n8k8_tf32(sums, a, b, sums);
}
template <class T>
__device__ __forceinline__ void multiply_fragments(float (&sums)[4], const std::uint32_t (&a)[4],
                                                   const std::uint32_t (&b)[2], T) {
  mma_m16n8k16(sums, a, b, sums, T());
}

// Registers of ldmatrix as the tensor cores want them.
template <class T, int count>
__device__ __forceinline__ void round_fragments(std::uint32_t (&fragment)[count]) {
  if constexpr (sizeof(T) == 4) {
#pragma unroll
    for (int i = 0; i < count; ++i) fragment[i] = to_tf32(__uint_as_float(fragment[i]));
  }
}

// The sums of a block's tile and which thread has which: `for_each(at_column, visit)` calls
// visit(row, column, sum, at_column(column)).
template <class Math, int rows, int columns, bool across>
struct TileSums;

// Threads 16 x 16: along the depth each with every 16th row and column, across it with every 16th pack of them.
template <class T, int rows, int columns, bool across>
struct TileSums<Fma<T>, rows, columns, across> {
  static constexpr int kPack = kPackSize<T>;
  static constexpr int kDown = rows / 16;
  static constexpr int kAcross = columns / 16;
  using Sum = T;
  using Elements = Pack<T, kPack>;
  Sum sums[kDown][kAcross] = {};

  static __device__ int spread(int thread, int i) {
    return across ? (thread + i / kPack * 16) * kPack + i % kPack : thread + i * 16;
  }
  static __device__ int row(int i = 0) { return spread(threadIdx.x / 16, i); }
  static __device__ int column(int j = 0) { return spread(threadIdx.x % 16, j); }

  // The products of a slice, its first `packs` packs; `place_of(row)`: the row of a_tile that is row `row`.
  template <class PlaceOf>
  __device__ void multiply_along(const T* a_tile, const T* b_tile, PlaceOf place_of, int packs) {
#pragma unroll 1
    for (int pack = 0; pack < min(packs, 8); ++pack) {
      Elements b[kAcross];
#pragma unroll
      for (int j = 0; j < kAcross; ++j)
        b[j] = *reinterpret_cast<const Elements*>(b_tile + along_place<T>(column(j), pack));
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
        const Elements a = *reinterpret_cast<const Elements*>(a_tile + along_place<T>(place_of(row(i)), pack));
#pragma unroll
        for (int j = 0; j < kAcross; ++j) {
#pragma unroll
          for (int e = 0; e < kPack; ++e) sums[i][j] += a.values[e] * b[j].values[e];
        }
      }
    }
  }

  __device__ void multiply_across(const T* a_tile, const T* b_tile) {
#pragma unroll 4
    for (int k = 0; k < kSlice<T>; ++k) {
      Elements a[kDown / kPack];
      Elements b[kAcross / kPack];
#pragma unroll
      for (int i = 0; i < kDown / kPack; ++i)
        a[i] = *reinterpret_cast<const Elements*>(a_tile + across_place<T, rows>(k, threadIdx.x / 16 + i * 16));
#pragma unroll
      for (int j = 0; j < kAcross / kPack; ++j)
        b[j] = *reinterpret_cast<const Elements*>(b_tile + across_place<T, columns>(k, threadIdx.x % 16 + j * 16));
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
#pragma unroll
        for (int j = 0; j < kAcross; ++j) sums[i][j] += a[i / kPack].values[i % kPack] * b[j / kPack].values[j % kPack];
      }
    }
  }

  template <class AtColumn, class Visit>
  __device__ void for_each(AtColumn at_column, Visit visit) const {
#pragma unroll
    for (int j = 0; j < kAcross; ++j) {
      const auto extra = at_column(column(j));
#pragma unroll
      for (int i = 0; i < kDown; ++i) visit(row(i), column(j), sums[i][j], extra);
    }
  }
};

// Eight warps, four across where the tile is wide, else two.
template <class T, int rows, int columns, bool across>
struct TileSums<Tensor<T>, rows, columns, across> {
  static constexpr int kWarpsAcross = columns >= 128 ? 4 : 2;
  static constexpr int kWarpColumns = columns / kWarpsAcross;
  static constexpr int kWarpRows = rows * kWarpsAcross / 8;
  static constexpr int kDown = kWarpRows / 16;
  static constexpr int kAcross = kWarpColumns / 8;
  using Sum = float;
  Sum sums[kDown][kAcross][4] = {};

  static __device__ int row() { return threadIdx.x / 32 / kWarpsAcross * kWarpRows; }
  static __device__ int column() { return threadIdx.x / 32 % kWarpsAcross * kWarpColumns; }

  __device__ void multiply_across(const T* a_tile, const T* b_tile) {
    multiply_along(a_tile, b_tile, [](int row) { return row; }, 8);
  }

  template <class PlaceOf>
  __device__ void multiply_along(const T* a_tile, const T* b_tile, PlaceOf place_of, int packs) {
#pragma unroll
    for (int pack = 0; pack < 8; pack += 2) {
      if (pack >= packs) break;
      const int k = pack * kPackSize<T>;
      std::uint32_t b[kAcross / 2][4];
#pragma unroll
      for (int j = 0; j < kAcross / 2; ++j) load_b(b[j], b_tile, column() + j * 16, k);
#pragma unroll
      for (int i = 0; i < kDown; ++i) {
        std::uint32_t a[4];
        load_a(a, a_tile, row() + i * 16, k, place_of);
        multiply_row(sums[i], a, b);
      }
    }
  }

  // Sixteen rows of a, from step k of the depth on. An 8 x 8 matrix of 16-bit elements is also an 8 x 4 matrix of
  // 32-bit ones, so along the depth the same loads serve tf32; across it those would have to be transposed.
  template <class PlaceOf>
  static __device__ void load_a(std::uint32_t (&a)[4], const T* tile, int row, int k, PlaceOf place_of) {
    const int lane = threadIdx.x % 32;
    if constexpr (!across) {
      ldmatrix_x4(a, tile + along_place<T>(place_of(row + lane % 16), k / kPackSize<T> + lane / 16));
    } else if constexpr (sizeof(T) == 2) {
      ldmatrix_x4_transposed(a, tile + across_place<T, rows>(k + lane % 8 + lane / 16 * 8, row / 8 + lane / 8 % 2));
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        a[i] = element_across<rows>(tile, row + lane / 4 + i % 2 * 8, k + lane % 4 + i / 2 * 4);
    }
    round_fragments<T>(a);
  }

  // Sixteen columns of b, as two fragments.
  static __device__ void load_b(std::uint32_t (&b)[4], const T* tile, int column, int k) {
    const int lane = threadIdx.x % 32;
    if constexpr (!across) {
      ldmatrix_x4(b, tile + along_place<T>(column + lane % 8 + lane / 16 * 8, k / kPackSize<T> + lane / 8 % 2));
    } else if constexpr (sizeof(T) == 2) {
      ldmatrix_x4_transposed(b, tile + across_place<T, columns>(k + lane % 16, column / 8 + lane / 16));
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        b[i] = element_across<columns>(tile, column + lane / 4 + i / 2 * 8, k + lane % 4 + i % 2 * 4);
    }
    round_fragments<T>(b);
  }

  template <int width>
  static __device__ std::uint32_t element_across(const T* tile, int row, int k) {
    constexpr int kPack = kPackSize<T>;
    return __float_as_uint(tile[across_place<T, width>(k, row / kPack) + row % kPack]);
  }

  static __device__ void multiply_row(float (&sums)[kAcross][4], const std::uint32_t (&a)[4],
                                      const std::uint32_t (&b)[kAcross / 2][4]) {
#pragma unroll
    for (int j = 0; j < kAcross; ++j) {
      const std::uint32_t half[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
      multiply_fragments(sums[j], a, half, T());
    }
  }

  template <class AtColumn, class Visit>
  __device__ void for_each(AtColumn at_column, Visit visit) const {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < kAcross; ++j) {
#pragma unroll
      for (int part = 0; part < 2; ++part) {
        const int at = column() + j * 8 + lane % 4 * 2 + part;
        const auto extra = at_column(at);
#pragma unroll
        for (int i = 0; i < kDown; ++i) {
#pragma unroll
          for (int half = 0; half < 2; ++half)
            visit(row() + i * 16 + lane / 4 + half * 8, at, sums[i][j][half * 2 + part], extra);
        }
      }
    }
  }
};

}  // namespace nnzoo::cuda
