// lp_pool: the p-norm of each window, (sum of x^p)^(1/p), and its gradient.
//
//   input    [batch, channels, D, H, W]     contiguous, or channels_last: [batch, D, H, W, channels] is contiguous
//   output   [batch, channels, oD, oH, oW]  laid out as input
//
// As in torch, x^p keeps the sign of x where p is odd, and the sum of a window that leaves the image is magnified to
// what a full window with that mean would have. `windows.divisor` is 0. All values have `dtype` (float32, bfloat16 with
// sums in float32, float64). Outputs may be uninitialised and must not overlap the inputs. The result does not depend
// on the number of threads.
#pragma once

#include "common/kernel.h"
#include "common/window_sums.h"

namespace nnzoo {

struct LpPoolForward {
  const void* input;
  void* output;
  double p;
  SummedWindows windows;
  DType dtype;
};

// grad_input, like input; 0 from a window whose norm is 0.
struct LpPoolBackward {
  const void *grad_output, *input, *output;
  void* grad_input;
  double p;
  SummedWindows windows;
  DType dtype;
};

NNZOO_KERNEL(lp_pool_forward, LpPoolForward)
NNZOO_KERNEL(lp_pool_backward, LpPoolBackward)

}  // namespace nnzoo
