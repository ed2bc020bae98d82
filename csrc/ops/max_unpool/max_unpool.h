// max_unpool: zeros, and each value where an index puts it; backward gathers from there.
//
//   values   [batch, channels, count]   contiguous, or channels_last: [batch, count, channels] is contiguous
//   indices  [batch, channels, count]   laid out as values: positions in 0 .. size
//   planes   [batch, channels, size]    laid out as values
//
// Of several values with one place the last stays; backward gives each of them the gradient there, as torch does. An
// index that is out of range is not followed: the first of them comes back in `bad`, and the outputs are worthless. All
// values have `dtype` (float32, bfloat16, float64). Outputs may be uninitialised and must not overlap the inputs. The
// result does not depend on the number of threads.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

// Forward reads `values` and writes `planes`, backward reads `planes` (grad_output) and writes `values` (grad_input).
struct MaxUnpool {
  void* values;
  const std::int64_t* indices;
  void* planes;
  std::int64_t batch, channels, count, size;
  bool channels_last;
  std::int64_t* bad;  // [1] the position in memory of the first index that is out of range; unchanged if there is none
  DType dtype;
  int threads;
};

NNZOO_KERNEL(max_unpool_forward, MaxUnpool)
NNZOO_KERNEL(max_unpool_backward, MaxUnpool)

}  // namespace nnzoo
