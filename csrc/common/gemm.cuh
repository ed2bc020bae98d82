// The tiled matrix product under linear, conv and lstm: out(m, n) = sum over k of a(m, k) * b(n, k).
//
// Three parts are exchangeable. An *operand* (gemm_operand.cuh) is seen as [rows, depth] whatever lies in memory: a
// strided matrix, or elements that are found while they are loaded, as conv finds the pixels of an image. A *math*
// (gemm_math.cuh) multiplies tiles that are in shared memory: multiply-adds in registers, or the tensor cores. An
// *epilogue* consumes every sum, as epilogue(batch, row, column, sum), while it is in a register.
//
// A block computes a 64 x 64 tile. While it multiplies one slice of the depth, the next one is already on its way from
// global memory into registers. Every sum is one thread's or one warp's, in the order of k: results are repeatable.
#pragma once

#include <cstdint>

#include "common/gemm_math.cuh"
#include "common/gemm_operand.cuh"
#include "common/launch.cuh"

namespace nnzoo {

// The part of one operand's tile that a thread brings from global to shared memory, one slice of the depth ahead.
template <class Loader, class Math>
struct TileCopy {
  using T = typename Loader::Element;
  static constexpr int kPack = kPackSize<T>;
  static constexpr int kPacks = kTileRows * Math::kDepth / kPack / Math::kThreads;
  Pack<T, kPack> packs[kPacks];

  // Row and k, inside the tile, of this thread's pack number i.
  static __device__ int2 position(bool along_depth, int i) {
    const int pack = threadIdx.x + i * Math::kThreads;
    constexpr int kPerRow = Math::kDepth / kPack;
    constexpr int kPerSlice = kTileRows / kPack;
    return along_depth ? make_int2(pack / kPerRow, pack % kPerRow * kPack)
                       : make_int2(pack % kPerSlice * kPack, pack / kPerSlice);
  }

  __device__ void fetch(const Loader& loader, std::int64_t first_row, std::int64_t first_k) {
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      const int2 at = position(loader.along_depth, i);
      packs[i] = loader.template load<kPack>(first_row + at.x, first_k + at.y);
    }
  }

  __device__ void put(bool along_depth, typename Math::Stored* tile) const {
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      const int2 at = position(along_depth, i);
#pragma unroll
      for (int j = 0; j < kPack; ++j) {
        const int place = along_depth ? Math::place(at.x, at.y + j) : Math::place(at.x + j, at.y);
        tile[place] = Math::store(packs[i].values[j]);
      }
    }
  }
};

template <class Math, class A, class B, class Epilogue>
__global__ void __launch_bounds__(Math::kThreads) gemm_kernel(A all_a, B all_b, Epilogue epilogue) {
  const int batch = blockIdx.z;
  const A a = all_a.batch(batch);
  const B b = all_b.batch(batch);
  __shared__ __align__(16) typename Math::Stored a_tile[Math::kTileElements];
  __shared__ __align__(16) typename Math::Stored b_tile[Math::kTileElements];
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.x) * kTileRows;
  const std::int64_t first_column = static_cast<std::int64_t>(blockIdx.y) * kTileColumns;
  TileCopy<A, Math> a_copy;
  TileCopy<B, Math> b_copy;
  Math math;

  a_copy.fetch(a, first_row, 0);
  b_copy.fetch(b, first_column, 0);
  for (std::int64_t k = 0; k < a.depth; k += Math::kDepth) {
    a_copy.put(a.along_depth, a_tile);
    b_copy.put(b.along_depth, b_tile);
    __syncthreads();
    if (k + Math::kDepth < a.depth) {
      a_copy.fetch(a, first_row, k + Math::kDepth);
      b_copy.fetch(b, first_column, k + Math::kDepth);
    }
    math.multiply(a_tile, b_tile);
    __syncthreads();
  }
  math.for_each([&](int row, int column, typename Math::Sum sum) {
    if (first_row + row < a.rows && first_column + column < b.rows)
      epilogue(batch, first_row + row, first_column + column, sum);
  });
}

// Launches `batches` products with the math that fits the element type.
template <class A, class B, class Epilogue>
void gemm(const A& a, const B& b, const Epilogue& epilogue, bool allow_tf32, void* stream, std::int64_t batches = 1) {
  using T = typename A::Element;
  if (a.rows == 0 || b.rows == 0 || batches == 0) return;
  const dim3 grid(static_cast<unsigned>(ceil_div<std::int64_t>(a.rows, kTileRows)),
                  static_cast<unsigned>(ceil_div<std::int64_t>(b.rows, kTileColumns)), static_cast<unsigned>(batches));
  if constexpr (sizeof(T) == 2) {
    launch<gemm_kernel<Mma16Math<T>, A, B, Epilogue>>(grid, Mma16Math<T>::kThreads, 0, stream, a, b, epilogue);
  } else {
    if constexpr (sizeof(T) == 4) {
      if (allow_tf32)
        return launch<gemm_kernel<Tf32Math, A, B, Epilogue>>(grid, Tf32Math::kThreads, 0, stream, a, b, epilogue);
    }
    launch<gemm_kernel<FmaMath<T>, A, B, Epilogue>>(grid, FmaMath<T>::kThreads, 0, stream, a, b, epilogue);
  }
}

}  // namespace nnzoo
