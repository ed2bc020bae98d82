// softmax and log_softmax along the middle of [outer, size, inner], and their gradients.
//
//   input, output  [outer, size, inner]  contiguous, float32, bfloat16 (computed in float32) or float64
//
//   softmax      output = exp(input - largest) / sum of exp(input - largest)
//   log_softmax  output = (input - largest) - log(sum of exp(input - largest))
//
// The output may be uninitialised and must not overlap the input. A row of -infinity gives NaN. Sums run in an order
// that depends on the sizes and the instruction set alone.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

struct SoftmaxForward {
  const void* input;
  void* output;
  std::int64_t outer, size, inner;
  bool logarithm;
  DType dtype;
  int threads;
};

// grad_input from grad_output and the output of the forward, all [outer, size, inner] contiguous.
struct SoftmaxBackward {
  const void* grad_output;
  const void* output;
  void* grad_input;
  std::int64_t outer, size, inner;
  bool logarithm;
  DType dtype;
  int threads;
};

NNZOO_KERNEL(softmax_forward, SoftmaxForward)
NNZOO_KERNEL(softmax_backward, SoftmaxBackward)

}  // namespace nnzoo
