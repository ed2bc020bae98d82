// adaptive_max_pool: the largest value of each of a given number of windows, and where it stands.
//
//   input    [batch, channels, D, H, W]     contiguous, or channels_last: [batch, D, H, W, channels] is contiguous
//   output   [batch, channels, oD, oH, oW]  laid out as input
//   indices  [batch, channels, oD, oH, oW]  laid out as input; null: not wanted. The position of the chosen element in
//                                           [D, H, W], row by row
//
// The first of equal values is chosen, and the last NaN of a window that has one; the value is NaN then. All sizes but
// the batch are at least 1, and D * H * W at most 2^24. All values have `dtype` (float32, bfloat16, float64). Outputs
// may be uninitialised and must not overlap the input. The result does not depend on the number of threads.
#pragma once

#include "common/adaptive.h"
#include "common/kernel.h"

namespace nnzoo {

struct AdaptiveMaxPool {
  const void* input;
  void* output;
  std::int64_t* indices;
  AdaptiveWindows windows;
  DType dtype;
};

NNZOO_KERNEL(adaptive_max_pool_forward, AdaptiveMaxPool)

}  // namespace nnzoo
