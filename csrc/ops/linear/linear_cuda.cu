#include "common/gemm.cuh"
#include "ops/linear/activation.cuh"
#include "ops/linear/linear_cuda.h"

namespace nnzoo::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
struct BiasAndActivation {
  const T* bias;
  T* out;
  T* before;
  std::int64_t columns;
  Activation activation;

  __device__ void operator()(int, std::int64_t row, std::int64_t column, Accumulator<T> sum) const {
    const std::int64_t at = row * columns + column;
    if (bias) sum += widen(bias[column]);
    if (before) before[at] = narrow<T>(sum);
    out[at] = narrow<T>(activate(activation, sum));
  }
};

template <class T>
__global__ void activation_gradient_kernel(const T* grad, const T* kept, T* out, std::int64_t count,
                                           std::int64_t columns, std::int64_t grad_row, std::int64_t grad_column,
                                           Activation activation) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x; i < count; i += step) {
    const Accumulator<T> value = widen(grad[i / columns * grad_row + i % columns * grad_column]);
    out[i] = narrow<T>(value * slope(activation, widen(kept[i])));
  }
}

// A block sums 32 columns: warp w takes rows w, w + 8, ..., then the first warp adds the eight parts.
template <class T>
__global__ void column_sum_kernel(const T* grad, T* out, std::int64_t rows, std::int64_t columns, std::int64_t grad_row,
                                  std::int64_t grad_column) {
  __shared__ Accumulator<T> parts[kThreads / 32][32];
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const std::int64_t column = blockIdx.x * std::int64_t{32} + lane;
  Accumulator<T> sum = 0;
  if (column < columns) {
    for (std::int64_t row = warp; row < rows; row += kThreads / 32)
      sum += widen(grad[row * grad_row + column * grad_column]);
  }
  parts[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || column >= columns) return;
  for (int other = 1; other < kThreads / 32; ++other) sum += parts[other][lane];
  out[column] = narrow<T>(sum);
}

// Enough blocks to fill a GPU; each thread then takes several elements.
unsigned blocks_for(std::int64_t count) {
  constexpr std::int64_t kMost = 4096;
  const std::int64_t blocks = ceil_div<std::int64_t>(count, kThreads);
  return static_cast<unsigned>(blocks < kMost ? blocks : kMost);
}

}  // namespace

void linear_product(const LinearProduct& args, void* stream) {
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    const StridedOperand<T> a(args.a, args.rows, args.depth, args.a_row, args.a_depth);
    const StridedOperand<T> b(args.b, args.columns, args.depth, args.b_row, args.b_depth);
    const BiasAndActivation<T> epilogue{static_cast<const T*>(args.bias), static_cast<T*>(args.out),
                                        static_cast<T*>(args.before), args.columns,
                                        static_cast<Activation>(args.activation)};
    gemm(a, b, epilogue, args.allow_tf32, stream);
  });
}

void linear_activation_gradient(const LinearActivationGradient& args, void* stream) {
  const std::int64_t count = args.rows * args.columns;
  if (count == 0) return;
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    launch<activation_gradient_kernel<T>>(blocks_for(count), kThreads, 0, stream, static_cast<const T*>(args.grad),
                                          static_cast<const T*>(args.kept), static_cast<T*>(args.out), count,
                                          args.columns, args.grad_row, args.grad_column,
                                          static_cast<Activation>(args.activation));
  });
}

void linear_column_sum(const LinearColumnSum& args, void* stream) {
  if (args.columns == 0) return;
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    launch<column_sum_kernel<T>>(static_cast<unsigned>(ceil_div<std::int64_t>(args.columns, 32)), kThreads, 0, stream,
                                 static_cast<const T*>(args.grad), static_cast<T*>(args.out), args.rows, args.columns,
                                 args.grad_row, args.grad_column);
  });
}

}  // namespace nnzoo::cuda
