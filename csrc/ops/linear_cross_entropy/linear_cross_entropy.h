// linear_cross_entropy: cross_entropy(input @ weight^T + bias, target) and its gradients, a chunk of rows at a time.
//
//   input        [rows, features]     contiguous
//   weight       [classes, features]  contiguous
//   bias         [classes]            contiguous; null: none
//   target       [rows]               int64 classes, or ignore_index
//   loss         [1]
//   grad_input   [rows, features]     contiguous     each null if it isn't wanted; of the loss itself, that is for a
//   grad_weight  [classes, features]  contiguous     gradient of 1
//   grad_bias    [classes]            contiguous
//   chunk        [chunk_rows, classes]  room for scores
//   sums         [classes, features]    of the compute type, room for the sum of bfloat16 gradients of the weight; null
//                                       for other types
//
// All values have `dtype` (float32, bfloat16 with sums in float32, float64). A mean divides by the number of rows that
// are not ignored. Sums run in an order that depends on the sizes, chunk_rows and the instruction set alone.
#pragma once

#include "ops/cross_entropy/cross_entropy.h"

namespace nnzoo {

struct LinearCrossEntropy {
  const void* input;
  const void* weight;
  const void* bias;
  const std::int64_t* target;
  void* loss;
  void* grad_input;
  void* grad_weight;
  void* grad_bias;
  void* chunk;
  void* sums;
  std::int64_t rows, features, classes, chunk_rows, ignore_index;
  double smoothing;
  LossReduction reduction;
  DType dtype;
  int threads;
};

NNZOO_KERNEL(linear_cross_entropy, LinearCrossEntropy)

}  // namespace nnzoo
