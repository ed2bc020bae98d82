// The CUDA kernels of `gather_scatter`. Arguments mean what they mean in gather_scatter.h (`walk`, `threads`, `valid`
// and, in forward, `out_of` are not read); all pointers are to device memory but `reduces`. Nothing is allocated and
// nothing waits. No atomics: results are the same in every run. An index out of range traps.
//
// Order: a row of up to `hub_edges` edges is reduced in their order. A hub, a row with more, is reduced in parts that
// the graph and the number of features alone determine.
#pragma once

#include "ops/gather_scatter/gather_scatter.h"

namespace nnzoo::cuda {

// How the ladder climbs; its last rung packs and has hubs.
struct Rung {
  bool packed;             // move 16 bytes in an access where rows allow it, else one element
  std::int64_t hub_edges;  // 0: every row is one team's
  void* pieces;  // workspace [ceil(num_edges / hub_edges), 2, 3, features] of float, or double for float64; may be
                 // null if no group of the call has more than hub_edges edges
};

void gather_scatter_forward(const GatherScatterForward& args, const Rung& rung, void* stream);
void gather_scatter_backward(const GatherScatterBackward& args, const Rung& rung, void* stream);

}  // namespace nnzoo::cuda
