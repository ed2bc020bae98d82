// An activation function of each element, and its gradient.
//
//   input, output      [count]  dense; output may be input
//   grad_output, kept  [count]  dense; `kept` is what the derivative is written in: the output for relu, tanh and
//                               sigmoid, else the input
//   grad_input         [count]  dense; may be grad_output
//
// Elements are float32, bfloat16 (computed in float32) or float64. `function` is a place in FUNCTIONS of
// nnzoo_fast/ops/activation/functions.py, `parameters` are its own.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

struct ActivationForward {
  const void* input;
  void* output;
  std::int64_t count;
  int function;
  double parameters[2];
  DType dtype;
  int threads;
};

struct ActivationBackward {
  const void* grad_output;
  const void* kept;
  void* grad_input;
  std::int64_t count;
  int function;
  double parameters[2];
  DType dtype;
  int threads;
};

NNZOO_KERNEL(activation_forward, ActivationForward)
NNZOO_KERNEL(activation_backward, ActivationBackward)

}  // namespace nnzoo
