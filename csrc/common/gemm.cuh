// The tiled matrix product under linear, conv and lstm: out(m, n) = sum over k of a(m, k) * b(n, k).
//
// Three parts are exchangeable. A *loader* supplies an operand, seen as [rows, depth] whatever lies in memory (a
// strided matrix here; conv brings one that finds the pixels of an image). A *math* multiplies tiles that are in shared
// memory: fused multiply-adds in registers, or the tensor cores. An *epilogue* consumes every sum while it is in a
// register.
//
// A block computes a 64 x 64 tile. While it multiplies one slice of the depth, the next one is already on its way from
// global memory into registers. Every sum is one thread's or one warp's, in the order of k: results are repeatable.
#pragma once

#include <cstdint>

#include "common/dtype.cuh"
#include "common/launch.cuh"
#include "common/mma.cuh"

namespace nnzoo {

constexpr int kTileRows = 64;
constexpr int kTileColumns = 64;

// A [rows, depth] operand in memory with any strides.
template <class T>
struct StridedOperand {
  using Element = T;
  const T* data;
  std::int64_t rows;
  std::int64_t depth;
  std::int64_t row_stride;
  std::int64_t depth_stride;
  std::int64_t batch_stride = 0;
  bool along_depth;  // neighbours in memory are neighbours in depth, else in rows
  bool packed;       // and every pack of them is aligned

  StridedOperand(const void* data_, std::int64_t rows_, std::int64_t depth_, std::int64_t row_stride_,
                 std::int64_t depth_stride_)
      : data(static_cast<const T*>(data_)),
        rows(rows_),
        depth(depth_),
        row_stride(row_stride_),
        depth_stride(depth_stride_),
        along_depth(depth_stride_ == 1 || row_stride_ != 1) {
    const std::int64_t unit = along_depth ? depth_stride : row_stride;
    const std::int64_t other = along_depth ? row_stride : depth_stride;
    const bool aligned = reinterpret_cast<std::uintptr_t>(data) % sizeof(Pack<T, kPackSize<T>>) == 0;
    packed = unit == 1 && other % kPackSize<T> == 0 && aligned;
  }

  // The operand of one of several products that are computed at once.
  __device__ StridedOperand batch(int index) const {
    StridedOperand own = *this;
    own.data += index * batch_stride;
    return own;
  }

  // Elements (row, k), (row, k + 1) ... or, unless `along_depth`, (row, k), (row + 1, k) ...; zeros outside.
  template <int count>
  __device__ Pack<T, count> load(std::int64_t row, std::int64_t k) const {
    const std::int64_t left = row < rows && k < depth ? (along_depth ? depth - k : rows - row) : 0;
    const std::int64_t stride = along_depth ? depth_stride : row_stride;
    const T* from = data + row * row_stride + k * depth_stride;
    if (packed && left >= count) return *reinterpret_cast<const Pack<T, count>*>(from);
    Pack<T, count> pack;
#pragma unroll
    for (int i = 0; i < count; ++i) pack.values[i] = i < left ? from[i * stride] : narrow<T>(0);
    return pack;
  }
};

// An operand whose elements are found one by one: `value(row, k)` for rows and k below `rows` and `depth`, which are
// less than 2^31. `value.batch(index)` gives that of one of several products.
template <class T, class Value>
struct ComputedOperand {
  using Element = T;
  Value value;
  std::int64_t rows;
  std::int64_t depth;
  bool along_depth;

  __device__ ComputedOperand batch(int index) const { return {value.batch(index), rows, depth, along_depth}; }

  template <int count>
  __device__ Pack<T, count> load(std::int64_t row, std::int64_t k) const {
    Pack<T, count> pack;
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const std::int64_t r = along_depth ? row : row + i;
      const std::int64_t j = along_depth ? k + i : k;
      pack.values[i] = r < rows && j < depth ? value(static_cast<unsigned>(r), static_cast<unsigned>(j)) : narrow<T>(0);
    }
    return pack;
  }
};

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
