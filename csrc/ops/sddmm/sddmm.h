// out[e][h] = <x[j][h], y[i][h]> for each edge e from j to i: the product of two matrices where a sparse one has
// entries.
//
// Arithmetic, determinism and safety as in gather_scatter.h.
#pragma once

#include "ops/gather_scatter/gather_scatter.h"

namespace nnzoo {

struct Sddmm {
  EdgeGroups in;  // groups are targets, nodes are sources
  const void* x;  // [num_sources, heads, channels], dense, as are the others
  const void* y;  // [num_targets, heads, channels]
  void* out;      // [num_edges, heads] in the caller's order
  std::int64_t heads, channels;
  DType dtype;
  int threads;
  bool* valid;
};
NNZOO_KERNEL(sddmm, Sddmm)

}  // namespace nnzoo
