// Dropout between layers: output[i] = input[i] * (keeps element first + i ? 1 / (1 - probability) : 0).
#pragma once

#include "common/kernel.h"

namespace nnzoo {

struct RecurrentDropout {
  const void* input;  // S [count]
  void* output;       // S [count]; may be `input`
  std::int64_t count, first;
  double probability;
  std::int64_t seed;
  DType dtype;  // of S
  int threads;
};

NNZOO_KERNEL(recurrent_dropout, RecurrentDropout)

}  // namespace nnzoo
