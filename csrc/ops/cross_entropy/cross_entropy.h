// cross_entropy: the negative logarithm of the softmax at a class, or weighted by the probabilities of classes.
//
//   input          [rows, classes]  contiguous
//   target         [rows]           int64 class of each row; null: `probabilities` are given instead
//   probabilities  [rows, classes]  contiguous; null: `target` is given instead
//   weight         [classes]        contiguous; null: ones
//   loss           [rows] without a reduction, else [1]
//   kept           [2, rows]        of the compute type; null: not wanted. The largest value of each row, and the
//                                   logarithm of its sum of exp(input - largest)
//   denominator    [1]              double; what a mean divides by
//
//   l[i, c] = log(sum over k of exp(input[i, k])) - input[i, c],  p' = (1 - smoothing) p + smoothing / classes
//   loss[i] = sum over c of weight[c] p'[i, c] l[i, c], p being 1 at the target and 0 elsewhere, or the probabilities
//
// Rows whose target is ignore_index have no loss and no gradient. A mean divides by the sum of weight[target], or with
// probabilities by the number of rows. Values have `dtype` (float32, bfloat16 computed in float32, float64); sums over
// rows are double. Sums run in an order that depends on the sizes and the instruction set alone. Targets must be
// classes or ignore_index: `cross_entropy_check` finds the first that isn't.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

enum class LossReduction : int { none = 0, mean = 1, sum = 2 };

struct CrossEntropy {
  const void* input;
  const std::int64_t* target;
  const void* probabilities;
  const void* weight;
  std::int64_t rows, classes, ignore_index;
  double smoothing;
  LossReduction reduction;
  DType dtype;
  int threads;
};

struct CrossEntropyForward {
  CrossEntropy call;
  void* loss;
  void* kept;
  double* denominator;
};

// grad_loss is like loss. grad_input and grad_probabilities [rows, classes] contiguous; the second may be null.
struct CrossEntropyBackward {
  CrossEntropy call;
  const void* grad_loss;
  const void* kept;
  const double* denominator;
  void* grad_input;
  void* grad_probabilities;
};

NNZOO_KERNEL(cross_entropy_forward, CrossEntropyForward)
NNZOO_KERNEL(cross_entropy_backward, CrossEntropyBackward)

}  // namespace nnzoo
