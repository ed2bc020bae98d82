// adaptive_avg_pool: the mean of each of a given number of windows, and its gradient; one window is global pooling.
//
//   input    [batch, channels, D, H, W]     contiguous, or channels_last: [batch, D, H, W, channels] is contiguous
//   output   [batch, channels, oD, oH, oW]  laid out as input
//
// All sizes but the batch are at least 1. All values have `dtype` (float32, bfloat16 with sums in float32, float64).
// Outputs may be uninitialised and must not overlap the input. The result does not depend on the number of threads.
#pragma once

#include "common/adaptive.h"
#include "common/kernel.h"

namespace nnzoo {

// For the backward pass, `from` is grad_output, laid out as output, and `to` grad_input, laid out as input.
struct AdaptiveAvgPool {
  const void* from;
  void* to;
  AdaptiveWindows windows;
  DType dtype;
};

NNZOO_KERNEL(adaptive_avg_pool_forward, AdaptiveAvgPool)
NNZOO_KERNEL(adaptive_avg_pool_backward, AdaptiveAvgPool)

}  // namespace nnzoo
