// max_pool: the largest (or smallest) value of each window, and where it stands.
//
//   input    [batch, channels, D, H, W]     contiguous, or channels_last: [batch, D, H, W, channels] is contiguous
//   output   [batch, channels, oD, oH, oW]  laid out as input
//   offsets  [batch, channels, oD, oH, oW]  laid out as input; null: not wanted. The number of the chosen tap among
//                                           those of its window, row by row; kernels of at most 256 taps
//   indices  [batch, channels, oD, oH, oW]  laid out as input; null: not wanted. The position of the chosen element in
//                                           [D, H, W], row by row
//
// The first of equal values is chosen, and the last NaN of a window that has one; the value is NaN then. Every window
// must hold an element. All values have `dtype` (float32, bfloat16, float64). Outputs may be uninitialised and must not
// overlap the input. The result does not depend on the number of threads.
#pragma once

#include "common/kernel.h"
#include "common/windows.h"

namespace nnzoo {

struct MaxPoolForward {
  const void* input;
  void* output;
  std::uint8_t* offsets;
  std::int64_t* indices;
  std::int64_t batch, channels;
  Windows windows;
  bool channels_last, minimum;
  DType dtype;
  int threads;
};

// grad_input, like input: the sum of grad_output over the windows that chose each element, in the order of the windows;
// bfloat16 sums in float32. The indices, which must be inside, are read where there are no offsets.
struct MaxPoolBackward {
  const void* grad_output;
  const std::uint8_t* offsets;
  const std::int64_t* indices;
  void* grad_input;
  std::int64_t batch, channels;
  Windows windows;
  bool channels_last;
  DType dtype;
  int threads;
};

NNZOO_KERNEL(max_pool_forward, MaxPoolForward)
NNZOO_KERNEL(max_pool_backward, MaxPoolBackward)

}  // namespace nnzoo
