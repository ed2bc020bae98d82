// The CUDA kernels of `linear`: its forward is one product, its backward an activation gradient that also sums for the
// bias, and two products.
//
// Pointers are to device memory, all of the element type `dtype` unless said otherwise; `stream` is a cudaStream_t.
// Nothing is allocated and nothing waits, so a CUDA graph can capture every call. Results are the same in every run.
#pragma once

#include <cstdint>

#include "common/kernel.h"

namespace nnzoo::cuda {

// The ladder. `naive`, `tiled`, `vectors` and `staged` take any strides; `staged`, `tensor` and `hopper` use tensor
// cores: bfloat16, float16, and on `staged` float32, rounded to tf32. README.md says which calls reach which.
//   naive    a thread per result
//   tiled    tiles in shared memory
//   vectors  128-bit loads, 8 x 8 results per thread, the next tile on its way
//   staged   mma.sync; tiles pass through registers on their way to shared memory
//   tensor   mma.sync fed by cp.async and ldmatrix, three tiles ahead
//   hopper   wgmma fed by tensor maps, persistent blocks in clusters; compute capability 9.0
enum class LinearKernel : int { naive = 0, tiled = 1, vectors = 2, staged = 3, tensor = 4, hopper = 5 };

// out = activation(a * b^T + bias) + residual; kept[m, n] is what the activation's derivative is written in: its
// argument (gelu, gelu_tanh, silu) or its result.
//   a: [rows, depth], strides a_row, a_depth     b: [columns, depth], strides b_row, b_depth
//   bias: [columns] or null                      out: [rows, columns]     kept: [rows, columns] or null
//   residual: [rows, columns] or null
// `tensor` and `hopper` need of a and b: a stride of 1 in one dimension, the other a positive multiple of 16 bytes and
// no less than a row, the start aligned to 16 bytes; sizes below 2^31 and above 0.
// Where `slice`, a multiple of 64, is less than depth, the depth is cut into slices that are summed apart and then
// added in order; `parts` holds them: [ceil(depth / slice), rows, columns] of the accumulators' type. `naive` and
// `tiled` don't slice. The activation is a code of csrc/common/activation.cuh. `multiprocessors` of `hopper` are
// the most blocks that run.
struct LinearProduct {
  const void* a;
  const void* b;
  const void* bias;
  const void* residual;
  void* out;
  void* kept;
  void* parts;
  std::int64_t rows, columns, depth;
  std::int64_t a_row, a_depth, b_row, b_depth;
  std::int64_t slice;
  int activation;
  DType dtype;
  LinearKernel kernel;
  int multiprocessors;

  std::int64_t slices() const { return parts ? (depth + slice - 1) / slice : 1; }
};
void linear_product(const LinearProduct& args, void* stream);

// What linear_product is made of; they fill `parts` where it is not null, else `out`.
void linear_simple(const LinearProduct& args, void* stream);  // naive, tiled, vectors, staged
void linear_tensor(const LinearProduct& args, void* stream);
void linear_hopper(const LinearProduct& args, void* stream);

// out = grad * activation'(kept), sums[n] = the sum of out[m, n] over m
//   grad: [rows, columns], strides grad_row, grad_column     kept, out: [rows, columns], null without an activation
//   kept: the output (relu, tanh, sigmoid) or the argument (gelu, gelu_tanh, silu) of the activation
//   sums: [columns] or null     parts: [ceil(rows / slice), columns] of the accumulators' type; null for one slice
struct LinearGradient {
  const void* grad;
  const void* kept;
  void* out;
  void* sums;
  void* parts;
  std::int64_t rows, columns, grad_row, grad_column, slice;
  int activation;
  DType dtype;
};
void linear_gradient(const LinearGradient& args, void* stream);

}  // namespace nnzoo::cuda
