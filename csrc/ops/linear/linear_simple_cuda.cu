// The rungs of the ladder that take any strides.
#include <type_traits>

#include "common/gemm.cuh"
#include "ops/linear/linear_vectors.cuh"

namespace nnzoo::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kSide = 32;

// A thread per result, neighbours along a row of it. Every factor comes from memory, or from a cache that has it.
template <class T>
__global__ void naive_kernel(StridedOperand<T> a, StridedOperand<T> b, Output<T> to) {
  const std::int64_t at = blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x;
  if (at >= to.rows * to.columns) return;
  const std::int64_t row = at / to.columns;
  const std::int64_t column = at % to.columns;
  const T* const left = a.data + row * a.row_stride;
  const T* const right = b.data + column * b.row_stride;
  Accumulator<T> sum = 0;
  for (std::int64_t k = 0; k < a.depth; ++k) sum += widen(left[k * a.depth_stride]) * widen(right[k * b.depth_stride]);
  to(0, row, column, sum);
}

// A thread per result of a 32 x 32 tile; each loaded number is used 32 times.
template <class T>
__global__ void __launch_bounds__(kSide* kSide)
    tiled_kernel(StridedOperand<T> a, StridedOperand<T> b, Output<T> to, std::int64_t column_tiles) {
  using A = Accumulator<T>;
  __shared__ A a_tile[kSide][kSide + 1];
  __shared__ A b_tile[kSide][kSide + 1];
  const int x = threadIdx.x % kSide;
  const int y = threadIdx.x / kSide;
  const std::int64_t first_row = blockIdx.x / column_tiles * kSide;
  const std::int64_t first_column = blockIdx.x % column_tiles * kSide;
  A sum = 0;
  for (std::int64_t k = 0; k < a.depth; k += kSide) {
    const auto part = [&](const StridedOperand<T>& from, std::int64_t first) {
      return widen(from.along_depth ? from.template load<1>(first + y, k + x).values[0]
                                    : from.template load<1>(first + x, k + y).values[0]);
    };
    (a.along_depth ? a_tile[y][x] : a_tile[x][y]) = part(a, first_row);
    (b.along_depth ? b_tile[y][x] : b_tile[x][y]) = part(b, first_column);
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kSide; ++j) sum += a_tile[y][j] * b_tile[x][j];
    __syncthreads();
  }
  if (first_row + y < to.rows && first_column + x < to.columns) to(0, first_row + y, first_column + x, sum);
}

template <class T>
void launch_vectors(const SlicedOperand<T>& a, const SlicedOperand<T>& b, const Output<T>& to, std::int64_t slices,
                    void* stream) {
  const auto row_tiles = ceil_div<std::int64_t>(to.rows, VectorTiles<T>::Rows::kRows);
  const auto column_tiles = ceil_div<std::int64_t>(to.columns, VectorTiles<T>::Columns::kRows);
  const dim3 grid(static_cast<unsigned>(row_tiles * column_tiles), static_cast<unsigned>(slices));
  launch<vectors_kernel<T>>(grid, VectorTiles<T>::Rows::kThreads, 0, stream, a, b, to, column_tiles);
}

// False where the grid can't have so many columns.
template <class T>
bool launch_staged(const SlicedOperand<T>& a, const SlicedOperand<T>& b, const Output<T>& to, std::int64_t slices,
                   void* stream) {
  constexpr std::int64_t kMostOfGrid = 65535;
  using Math = std::conditional_t<sizeof(T) == 2, Mma16Math<T>, Tf32Math>;
  const auto row_tiles = ceil_div<std::int64_t>(to.rows, kTileRows);
  const auto column_tiles = ceil_div<std::int64_t>(to.columns, kTileColumns);
  if (column_tiles > kMostOfGrid) return false;
  const dim3 grid(static_cast<unsigned>(row_tiles), static_cast<unsigned>(column_tiles), static_cast<unsigned>(slices));
  launch<gemm_kernel<Math, SlicedOperand<T>, SlicedOperand<T>, Output<T>>>(grid, Math::kThreads, 0, stream, a, b, to);
  return true;
}

}  // namespace

void linear_simple(const LinearProduct& args, void* stream) {
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    const std::int64_t slice = args.parts ? args.slice : args.depth;
    const SlicedOperand<T> a(args.a, args.rows, args.depth, args.a_row, args.a_depth, slice);
    const SlicedOperand<T> b(args.b, args.columns, args.depth, args.b_row, args.b_depth, slice);
    const Output<T> to(args);
    const std::int64_t results = args.rows * args.columns;
    const auto column_tiles = ceil_div<std::int64_t>(args.columns, kSide);
    switch (args.kernel) {
      case LinearKernel::naive:
        return launch<naive_kernel<T>>(static_cast<unsigned>(ceil_div<std::int64_t>(results, kThreads)), kThreads, 0,
                                       stream, StridedOperand<T>(a), StridedOperand<T>(b), to);
      case LinearKernel::tiled:
        return launch<tiled_kernel<T>>(static_cast<unsigned>(ceil_div<std::int64_t>(args.rows, kSide) * column_tiles),
                                       kSide * kSide, 0, stream, StridedOperand<T>(a), StridedOperand<T>(b), to,
                                       column_tiles);
      case LinearKernel::staged:
        if constexpr (sizeof(T) < 8) {
          if (launch_staged(a, b, to, args.slices(), stream)) return;
        }
        [[fallthrough]];
      default:
        return launch_vectors(a, b, to, args.slices(), stream);
    }
  });
}

}  // namespace nnzoo::cuda
