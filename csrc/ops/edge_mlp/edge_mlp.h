// A small network on every edge, reduced by target, without a buffer of the edges:
//
//   h[e] = activation(p[i] + q[j])                            for each edge e from j to i
//   out[i] = sum or mean over the edges into i of h[e]
//   out[i] = max over the edges into i of weight @ h[e] + bias, each output for itself; without weight, of h[e]
//
// Arithmetic runs in float for float32 and bfloat16 and in double for float64, each result is rounded once. Equal
// messages share the gradient of a maximum equally, NaN wins. A target without edges gets 0. Determinism and safety as
// in gather_scatter.h.
#pragma once

#include "ops/gather_scatter/gather_scatter.h"

namespace nnzoo {

struct EdgeMlp {
  EdgeGroups in;        // groups are targets, nodes are sources
  EdgeGroups out_of;    // groups are sources, nodes are targets; read in backward only
  const void* p;        // [num_targets, hidden], dense, as are the others
  const void* q;        // [num_sources, hidden]
  const void* weight;   // [outputs, hidden]; null: outputs are hidden
  const void* bias;     // [outputs]; null: zeros
  void* out;            // [num_targets, outputs]
  std::uint32_t* best;  // [num_edges, (outputs + 31) / 32] in the caller's order, bit o % 32 of word o / 32: the edge's
                        // message attains out[i][o]. Written if not null, read in backward
  std::int64_t hidden, outputs;
  int activation;  // the codes of common/activation.h
  DType dtype;     // of all but best
  int threads;
  bool* valid;
};
NNZOO_KERNEL(edge_mlp_max, EdgeMlp)

struct EdgeMlpSum {
  EdgeMlp call;  // without weight, bias and best
  bool mean;
};
NNZOO_KERNEL(edge_mlp_sum, EdgeMlpSum)

struct EdgeMlpGradients {
  EdgeMlp call;       // `out` is not read
  const void* grad;   // [num_targets, outputs]
  void* grad_p;       // like p, or null if it isn't wanted, as may be the others
  void* grad_q;       // like q
  void* grad_weight;  // like weight
  void* grad_bias;    // like bias
};
NNZOO_KERNEL(edge_mlp_max_backward, EdgeMlpGradients)
NNZOO_KERNEL(edge_mlp_sum_backward, EdgeMlpGradients)  // of a sum; for a mean, grad is divided by the number of edges

}  // namespace nnzoo
