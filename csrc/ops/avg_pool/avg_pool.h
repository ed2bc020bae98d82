// avg_pool: the mean of each window, and its gradient.
//
//   input    [batch, channels, D, H, W]     contiguous, or channels_last: [batch, D, H, W, channels] is contiguous
//   output   [batch, channels, oD, oH, oW]  laid out as input
//
// A window divides by what it counts: see SummedWindows. All values have `dtype` (float32, bfloat16 with sums in
// float32, float64). Outputs may be uninitialised and must not overlap the input. The result does not depend on the
// number of threads.
#pragma once

#include "common/kernel.h"
#include "common/window_sums.h"

namespace nnzoo {

// For the backward pass, `from` is grad_output, laid out as output, and `to` grad_input, laid out as input.
struct AvgPool {
  const void* from;
  void* to;
  SummedWindows windows;
  DType dtype;
};

NNZOO_KERNEL(avg_pool_forward, AvgPool)
NNZOO_KERNEL(avg_pool_backward, AvgPool)

}  // namespace nnzoo
