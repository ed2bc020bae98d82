#include <cstring>

#include "common/launch.cuh"
#include "ops/linear/linear_output.cuh"

namespace nnzoo::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

// Adds up the parts of each result in order.
template <class T>
__global__ void add_parts_kernel(Output<T> to, int slices) {
  const Accumulator<T>* const parts = to.parts;
  to.parts = nullptr;
  const std::int64_t count = to.rows * to.columns;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kThreads;
  for (std::int64_t i = blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x; i < count; i += step) {
    Accumulator<T> sum = parts[i];
    for (int slice = 1; slice < slices; ++slice) sum += parts[slice * count + i];
    to(0, i / to.columns, i % to.columns, sum);
  }
}

template <class T>
void add_parts(const Output<T>& to, std::int64_t slices, void* stream) {
  constexpr std::int64_t kMost = 4096;  // enough blocks to fill a GPU; each thread then takes several results
  const std::int64_t blocks = ceil_div<std::int64_t>(to.rows * to.columns, kThreads);
  launch<add_parts_kernel<T>>(static_cast<unsigned>(blocks < kMost ? blocks : kMost), kThreads, 0, stream, to,
                              static_cast<int>(slices));
}

// Stores a pack to global memory in one access, where nvcc by itself would store its elements.
template <class T, int count>
__device__ __forceinline__ void store_global(T* into, const Pack<T, count>& pack) {
  if constexpr (sizeof pack == 16) {
    uint4 bits;
    memcpy(&bits, &pack, sizeof bits);
    __stwb(reinterpret_cast<uint4*>(into), bits);
  } else {
    *reinterpret_cast<Pack<T, count>*>(into) = pack;
  }
}

template <class T>
struct Gradient {
  const T* grad;
  const T* kept;
  T* out;
  Output<T> sums;  // rows: slices
  std::int64_t rows, columns, grad_row, grad_column, slice, column_blocks;
  Activation activation;
};

// A block takes 32 * count columns of a slice of the rows: warp w rows w, w + 8, ..., `count` columns to a lane. Then
// the warps' sums are added in order.
template <class T, int count>
__global__ void __launch_bounds__(kThreads) gradient_kernel(Gradient<T> args) {
  using A = Accumulator<T>;
  constexpr int kPitch = 32 + 32 / count;  // neighbouring columns are in different banks
  __shared__ A of_warps[kWarps][count][kPitch];
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const std::int64_t slice = blockIdx.x / args.column_blocks;
  const std::int64_t first_column = blockIdx.x % args.column_blocks * (32 * count);
  const std::int64_t column = first_column + lane * count;
  const std::int64_t end = (slice + 1) * args.slice < args.rows ? (slice + 1) * args.slice : args.rows;
  A sums[count] = {};
  if (column < args.columns) {
    for (std::int64_t row = slice * args.slice + warp; row < end; row += kWarps) {
      using Packed = Pack<T, count>;
      const auto grad = *reinterpret_cast<const Packed*>(args.grad + row * args.grad_row + column * args.grad_column);
      const std::int64_t at = row * args.columns + column;
      Packed kept = grad;
      if (args.out) kept = *reinterpret_cast<const Packed*>(args.kept + at);
      Packed out;
#pragma unroll
      for (int i = 0; i < count; ++i) {
        const A value = widen(grad.values[i]) * slope(args.activation, widen(kept.values[i]));
        out.values[i] = narrow<T>(value);
        sums[i] += value;
      }
      if (args.out) store_global(args.out + at, out);
    }
  }
  if (!args.sums.out) return;
#pragma unroll
  for (int i = 0; i < count; ++i) of_warps[warp][i][lane] = sums[i];
  __syncthreads();
  const std::int64_t own = first_column + threadIdx.x;
  if (threadIdx.x >= 32 * count || own >= args.columns) return;
  A sum = of_warps[0][threadIdx.x % count][threadIdx.x / count];
  for (int other = 1; other < kWarps; ++other) sum += of_warps[other][threadIdx.x % count][threadIdx.x / count];
  args.sums(static_cast<int>(slice), 0, own, sum);
}

template <class T, int count>
void launch_gradient(Gradient<T> args, void* stream) {
  args.column_blocks = ceil_div<std::int64_t>(args.columns, 32 * count);
  const std::int64_t slices = args.rows ? ceil_div<std::int64_t>(args.rows, args.slice) : 1;  // a sum of nothing is 0
  launch<gradient_kernel<T, count>>(static_cast<unsigned>(args.column_blocks * slices), kThreads, 0, stream, args);
}

}  // namespace

void linear_product(const LinearProduct& args, void* stream) {
  if (args.rows == 0 || args.columns == 0) return;
  switch (args.kernel) {
    case LinearKernel::tensor:
      linear_tensor(args, stream);
      break;
    case LinearKernel::hopper:
      linear_hopper(args, stream);
      break;
    default:
      linear_simple(args, stream);
  }
  if (!args.parts) return;
  dispatch_dtype(args.dtype, [&](auto element) { add_parts(Output<decltype(element)>(args), args.slices(), stream); });
}

void linear_gradient(const LinearGradient& args, void* stream) {
  if (args.columns == 0) return;
  LinearProduct sums{};  // a row of column sums
  sums.out = args.sums;
  sums.parts = args.parts;
  sums.rows = 1;
  sums.columns = args.columns;
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    constexpr int kPack = kPackSize<T>;
    const Gradient<T> of_kernel{static_cast<const T*>(args.grad),
                                static_cast<const T*>(args.kept),
                                static_cast<T*>(args.out),
                                Output<T>(sums),
                                args.rows,
                                args.columns,
                                args.grad_row,
                                args.grad_column,
                                args.slice,
                                0,
                                static_cast<Activation>(args.activation)};
    const bool packed = args.grad_column == 1 && args.grad_row % kPack == 0 && args.columns % kPack == 0 &&
                        is_aligned(args.grad) && is_aligned(args.kept) && is_aligned(args.out);
    if (packed) {
      launch_gradient<T, kPack>(of_kernel, stream);
    } else {
      launch_gradient<T, 1>(of_kernel, stream);
    }
    if (args.parts) add_parts(Output<T>(sums), ceil_div<std::int64_t>(args.rows, args.slice), stream);
  });
}

}  // namespace nnzoo::cuda
