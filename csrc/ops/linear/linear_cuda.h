// The CUDA kernels of `linear`: its forward is one product, its backward an activation gradient, two products and a
// sum.
//
// Pointers are to device memory, all of the element type `dtype`; `stream` is a cudaStream_t. Nothing is allocated and
// nothing waits. Results are the same in every run.
#pragma once

#include <cstdint>

#include "common/kernel.h"

namespace nnzoo::cuda {

// out = activation(a * b^T + bias), before[m, n] being the argument of the activation.
//   a: [rows, depth], strides a_row, a_depth     b: [columns, depth], strides b_row, b_depth
//   bias: [columns] or null                      out: [rows, columns]     before: [rows, columns] or null
// The activation is a code of csrc/ops/linear/activation.cuh. float32 is multiplied as tf32 if `allow_tf32`.
struct LinearProduct {
  const void* a;
  const void* b;
  const void* bias;
  void* out;
  void* before;
  std::int64_t rows, columns, depth;
  std::int64_t a_row, a_depth, b_row, b_depth;
  int activation;
  DType dtype;
  bool allow_tf32;
};
void linear_product(const LinearProduct& args, void* stream);

// out = grad * activation'(kept)
//   grad: [rows, columns], strides grad_row, grad_column     kept, out: [rows, columns]
//   kept: the output (relu, tanh, sigmoid) or the argument (gelu, gelu_tanh, silu) of the activation.
struct LinearActivationGradient {
  const void* grad;
  const void* kept;
  void* out;
  std::int64_t rows, columns, grad_row, grad_column;
  int activation;
  DType dtype;
};
void linear_activation_gradient(const LinearActivationGradient& args, void* stream);

// out[n] = sum over m of grad[m, n]
//   grad: [rows, columns], strides grad_row, grad_column     out: [columns]
struct LinearColumnSum {
  const void* grad;
  void* out;
  std::int64_t rows, columns, grad_row, grad_column;
  DType dtype;
};
void linear_column_sum(const LinearColumnSum& args, void* stream);

}  // namespace nnzoo::cuda
