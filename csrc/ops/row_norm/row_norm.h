// row_norm: the rows of a matrix normalised, perhaps behind dropout and a sum. The engine of layer_norm and
// rms_norm.
//
//   x       [M, N]  input, or sum = residual + dropout(input) where there is a residual
//   output  [M, N]  (x - mean) * rstd * weight + bias, rstd = 1 / sqrt(mean of (x - mean)^2 + eps)
//
// Without `subtract_mean`, mean is 0. All are contiguous; input, residual, sum and output are S of `dtype` (float32,
// bfloat16, float64), weight and bias [N] of `parameter_dtype`, null: 1 and 0; mean and rstd [M] are T, double for
// float64, else float. Outputs may be uninitialised and must not overlap an input. The result does not depend on the
// number of threads.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

struct RowNormForward {
  const void* input;
  const void* residual;  // null: there is none, and x is the input
  const void* weight;
  const void* bias;
  void* output;
  void* sum;   // null without a residual
  void* mean;  // null: not kept
  void* rstd;  // null: not kept
  std::int64_t M, N;
  double eps;
  bool subtract_mean;
  double probability;  // of an element of the input to be dropped
  std::int64_t seed;
  DType dtype, parameter_dtype;
  int threads;
};

// grad_x is the gradient of x: of the input, or of the sum and so of the residual. grad_sum is null, or what comes from
// elsewhere to the sum, and is added. Each of grad_x, grad_input (behind dropout), grad_weight and grad_bias is null if
// it isn't wanted.
struct RowNormBackward {
  const void* grad_output;
  const void* grad_sum;
  const void* x;
  const void* weight;
  const void* mean;  // null without subtract_mean
  const void* rstd;
  void* grad_x;
  void* grad_input;
  void* grad_weight;
  void* grad_bias;
  std::int64_t M, N;
  double probability;
  std::int64_t seed;
  DType dtype, parameter_dtype;
  int threads;
};

NNZOO_KERNEL(row_norm_forward, RowNormForward)
NNZOO_KERNEL(row_norm_backward, RowNormBackward)

}  // namespace nnzoo
