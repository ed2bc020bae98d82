// Message passing: out[i] = reduce over edges j -> i of x[j], times the edge's weight.
//
// Who initialises what: kernels write every element of their outputs, also those of empty groups, and read none.
// Aliasing: outputs overlap nothing. Determinism: the edges of a group are reduced in the order in which they stand in
// it, whatever the number of threads, so results are bit-equal; implementations on other devices keep this promise.
// Arithmetic: sums run in float for float32 and bfloat16 and in double for float64, rounded once when stored. In max
// and min, a message is rounded to the storage type before it is compared, so that a tie is a tie between stored
// values, and NaN wins. An empty group gives 0, a product 1. Safety: indices are checked while they are read. Where
// they are out of range, `*valid` becomes false, outputs are unspecified and nothing outside the arrays is touched.
#pragma once

#include <cstdint>

#include "common/kernel.h"

namespace nnzoo {

// The values are shared with nnzoo_fast/ops/gather_scatter/reference.py.
enum class Reduce : int { sum = 0, mean = 1, max = 2, min = 3, mul = 4, var = 5, std = 6, softmax = 7 };

// A standard deviation is 0, and has no gradient, where the variance is not above this.
constexpr double kLeastVariance = 1e-5;

// The edges of a graph, grouped by the node at one end; inside a group they keep the caller's order.
struct EdgeGroups {
  const std::int32_t*
      start;                 // [num_groups + 1] group g holds positions start[g] .. start[g + 1]; the last is num_edges
  const std::int32_t* node;  // [num_edges] the node at the other end, in 0 .. num_nodes
  const std::int32_t* edge;  // [num_edges] the edge's place in the caller's order, the same at both ends
  std::int64_t num_groups, num_nodes, num_edges;
};

// How the ladder climbs; `tiled` is the product.
enum class Walk : int {
  push = 0,       // over the sources: x[j] is added to out[i] of each of its edges; one thread
  pull = 1,       // over the targets, in parallel: out[i] is re-read for each of its edges
  registers = 2,  // out[i] stays in registers, a tile of features at a time
  tiled = 3,      // the same, and rows of x that come up soon are prefetched
};

// out[r][i][f] = reduce_r over the edges j -> i of weight[e][head(f)] * x[j][f], head(f) = f / (features / heads).
struct GatherScatterForward {
  EdgeGroups in;       // groups are targets, nodes are sources
  EdgeGroups out_of;   // groups are sources, nodes are targets; read by Walk::push only
  const void* x;       // [num_sources, features], x_stride elements between rows, features adjacent
  const void* weight;  // [num_edges, heads] in the caller's order, dense; null: every weight is 1
  void* out;           // [num_reduces, num_targets, features], dense
  const Reduce* reduces;
  int num_reduces;
  std::int64_t features, x_stride;
  std::int64_t heads;  // 1 <= heads <= features and heads divides features
  Walk walk;
  DType dtype;  // of x, weight and out
  int threads;
  bool* valid;
};
NNZOO_KERNEL(gather_scatter_forward, GatherScatterForward)
NNZOO_KERNEL(gather_scatter_forward_simple, GatherScatterForward)  // Walk::push and Walk::pull

// The gradients of x and of weight. With G the gradient that a target passes to each of its messages m = weight * x[j],
//   sum:      G[e] = grad[i]
//   mean:     G[e] = grad[i] / number of edges into i
//   max, min: G[e] = m == out[i] ? grad[i] / number of messages equal to out[i] : 0
//   mul:      G[e] = grad[i] * the product of the other messages into i
//   var:      G[e] = grad[i] * 2 (m - mean) / number of edges into i
//   std:      G[e] = grad[i] * (m - mean) / (number of edges into i * out[i]), 0 where out[i] is
//   softmax:  G[e] = grad[i] * a (1 + m - out[i]), a the message's share exp(m) / sum of exp
// added up over the reductions,
//   grad_x[j][f]      = sum over the edges j -> i of weight[e][head(f)] * G[e][f]
//   grad_weight[e][h] = sum over the features f of head h of x[j][f] * G[e][f]
struct GatherScatterBackward {
  EdgeGroups in;       // groups are targets, nodes are sources
  EdgeGroups out_of;   // groups are sources, nodes are targets
  const void* grad;    // [num_reduces, num_targets, features], dense
  const void* x;       // as in forward; not read for sums and means without grad_weight, may be null then
  const void* weight;  // as in forward
  const void* out;     // forward's, read for max, min and softmax, else may be null
  void* share;        // workspace [rows, num_targets, features] of float, or double for float64: a row for each max and
                      // min, two for each mul, var, std and softmax
  void* grad_x;       // [num_sources, features], dense, or null
  void* grad_weight;  // [num_edges, heads] in the caller's order, dense, or null
  const Reduce* reduces;
  int num_reduces;
  std::int64_t features, x_stride, heads;
  DType dtype;  // of grad, x, weight, out, grad_x and grad_weight
  int threads;
  bool* valid;
};
NNZOO_KERNEL(gather_scatter_backward, GatherScatterBackward)

// Groups edges by a key: a stable counting sort, the same for any number of threads.
struct GroupEdges {
  const std::int64_t* key;    // [num_edges] the group of each edge
  const std::int64_t* other;  // [num_edges] the node at its other end; null: node is not written
  std::int32_t* start;        // [num_groups + 1], as in EdgeGroups, as are node and edge
  std::int32_t* node;         // [num_edges]
  std::int32_t* edge;         // [num_edges]
  std::int64_t num_edges, num_groups, num_nodes;
  int threads;
  std::int64_t* first_invalid;  // the first edge whose key or other is out of range, -1 if there is none
};
NNZOO_KERNEL(group_edges, GroupEdges)

}  // namespace nnzoo
