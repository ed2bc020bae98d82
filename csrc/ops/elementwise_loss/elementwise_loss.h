// Losses that are a sum over elements x of an input and y of a target, and their gradients.
//
//   input, target  [rows, columns]  contiguous
//   weight, rise   [rows, columns], or [columns] for every row; null: ones. Of binary_cross_entropy alone: what a loss
//                                   is multiplied by, and what its positive part is
//   loss           [rows, columns], or [1] if reduced
//
//   binary_cross_entropy  weight * ((1 - y) x + (1 + (rise - 1) y) (log(1 + exp(-|x|)) + max(-x, 0)))
//   kl_div                y log(y) - y x, where 0 log(0) is 0
//   kl_div_of_logarithms  exp(y) (y - x)
//
// Elements are float32, bfloat16 (computed in float32) or float64; sums are double, in an order that depends on the
// sizes and the instruction set alone.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

enum class ElementLoss : int { binary_cross_entropy = 0, kl_div = 1, kl_div_of_logarithms = 2 };

struct ElementwiseLoss {
  const void* input;
  const void* target;
  const void* weight;
  const void* rise;
  bool weight_of_column, rise_of_column;
  std::int64_t rows, columns;
  ElementLoss kind;
  bool reduces;
  double scale;  // of a reduced loss: 1, or 1 / (rows * columns) for a mean
  DType dtype;
  int threads;
};

struct ElementwiseLossForward {
  ElementwiseLoss call;
  void* loss;
};

// grad_loss is like loss; grad_input is that of the input.
struct ElementwiseLossBackward {
  ElementwiseLoss call;
  const void* grad_loss;
  void* grad_input;
};

NNZOO_KERNEL(elementwise_loss_forward, ElementwiseLossForward)
NNZOO_KERNEL(elementwise_loss_backward, ElementwiseLossBackward)

}  // namespace nnzoo
