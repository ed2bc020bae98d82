// out[e] = exp(scores[e]) over the sum of these of the edges into the same target, each head apart.
//
// Arithmetic, determinism and safety as in gather_scatter.h.
#pragma once

#include "ops/gather_scatter/gather_scatter.h"

namespace nnzoo {

struct EdgeSoftmaxForward {
  EdgeGroups in;       // groups are targets; their nodes are not read
  const void* scores;  // [num_edges, heads] in the caller's order, dense, as are the others
  void* out;
  std::int64_t heads;
  DType dtype;
  int threads;
  bool* valid;
};
NNZOO_KERNEL(edge_softmax_forward, EdgeSoftmaxForward)

// grad_scores[e] = out[e] * (grad[e] - sum over the edges f into the same target of out[f] * grad[f])
struct EdgeSoftmaxBackward {
  EdgeGroups in;
  const void *grad, *out;
  void* grad_scores;
  std::int64_t heads;
  DType dtype;
  int threads;
  bool* valid;
};
NNZOO_KERNEL(edge_softmax_backward, EdgeSoftmaxBackward)

}  // namespace nnzoo
