// linear: output = activation(input @ weight^T + bias) + residual, and its gradients.
//
//   input          [M, K]  rows input_row_stride apart, columns adjacent
//   weight         [N, K]  any strides, so a transposed weight costs no copy
//   bias           [N]     contiguous; null: none
//   residual       [M, N]  rows residual_row_stride apart, columns adjacent; null: none
//   output         [M, N]  contiguous
//   kept           [M, N]  contiguous: what the activation's derivative is written in, its argument (gelu, gelu_tanh,
//                          silu) or its result (relu, tanh, sigmoid). Backward reads it, unless there is no activation;
//                          where it is the output, forward need not write it. Null in forward: not kept
//
// All tensors have `dtype` (float32, bfloat16, float64); bfloat16 sums in float32. Outputs may be uninitialised and
// must not overlap an input. Any size may be 0. The result does not depend on the number of threads.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

struct LinearForward {
  const void* input;
  const void* weight;
  const void* bias;
  const void* residual;
  void* output;
  void* kept;
  std::int64_t M, N, K;
  std::int64_t input_row_stride, weight_row_stride, weight_col_stride, residual_row_stride;
  int activation;  // the codes of common/activation.h
  DType dtype;
  int threads;
};

// grad_output [M, N]: rows grad_row_stride apart, columns adjacent. Each of grad_input [M, K], grad_weight [N, K] and
// grad_bias [N] is contiguous, or null if it isn't wanted. The residual's gradient is grad_output itself.
struct LinearBackward {
  const void* grad_output;
  const void* input;
  const void* weight;
  const void* kept;
  void* grad_input;
  void* grad_weight;
  void* grad_bias;
  std::int64_t M, N, K;
  std::int64_t grad_row_stride, input_row_stride, weight_row_stride, weight_col_stride;
  int activation;
  DType dtype;
  int threads;
};

// grad = grad_output * activation'(.), all [M, N] contiguous; `kept` as above.
struct LinearActivationBackward {
  const void* grad_output;
  const void* kept;
  void* grad;
  std::int64_t M, N;
  int activation;
  DType dtype;
  int threads;
};

// A weight in the GEMM core's layout, for linear_forward_packed. Its size in bytes and its layout belong to this
// process's instruction set: a packed weight must not be stored.
struct LinearPackedSize {
  std::int64_t N, K;
  DType dtype;
  std::int64_t* bytes;
};

// packed: 64-byte aligned, linear_packed_size bytes.
struct LinearPack {
  const void* weight;
  void* packed;
  std::int64_t N, K;
  std::int64_t weight_row_stride, weight_col_stride;
  DType dtype;
  int threads;
};

// The ladder below linear_forward: plain loops, vectors, register tiles, cache blocks, threads.
enum class LinearRung : int { loops = 0, vectors = 1, tiles = 2, blocks = 3, threads = 4 };

// `call.weight_col_stride` is 1.
struct LinearForwardSimple {
  LinearForward call;
  LinearRung rung;
};

// linear_forward, with `weight` the packed one; its strides are not read.
NNZOO_KERNEL(linear_forward_packed, LinearForward)
NNZOO_KERNEL(linear_forward, LinearForward)
NNZOO_KERNEL(linear_forward_simple, LinearForwardSimple)
NNZOO_KERNEL(linear_backward, LinearBackward)
NNZOO_KERNEL(linear_activation_backward, LinearActivationBackward)
NNZOO_KERNEL(linear_packed_size, LinearPackedSize)
NNZOO_KERNEL(linear_pack, LinearPack)

}  // namespace nnzoo
