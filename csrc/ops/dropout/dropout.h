// Dropout with what comes before and behind it: output = (input + bias) * factor + residual.
//
//   input, residual, output  [rows, columns]  contiguous; output may be input or residual; a null residual is none
//   bias                     [columns]        null: none
//
// factor[i] is 1 / (1 - probability) or 0, by word i of the Philox stream of `seed` (common/random.h), i being the
// row-major place. Elements are float32, bfloat16 (computed in float32) or float64. The gradient of the input is this
// kernel on the gradient of the output, without bias and residual.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

struct DropoutForward {
  const void* input;
  const void* bias;
  const void* residual;
  void* output;
  std::int64_t rows, columns;
  double probability;
  std::int64_t seed;
  DType dtype;
  int threads;
};

NNZOO_KERNEL(dropout_forward, DropoutForward)

}  // namespace nnzoo
