// Graph attention: a target's new features are a mean of its sources' features, weighed by a softmax of scores.
//
//   gat    score[e][h] = leaky(source[j][h] + target[i][h] + edge[e][h])                     Velickovic et al., 2018
//   gatv2  score[e][h] = sum over c of att[h][c] * leaky(x[j][h][c] + target[i][h][c] + edge[e][h][c])
//                                                                                            Brody et al., 2022
//   a[e] = softmax of score over the edges into i, out[i][h] = sum over edges j -> i of keep[e][h] * a[e][h] * x[j][h]
//
// with leaky(z) = z > 0 ? z : slope * z, and keep 0 or 1 / (1 - probability) by the dropout word of e * heads + h.
//
// Arithmetic: in float for float32 and bfloat16, in double for float64, rounded when stored. Determinism: the edges of
// a node are walked in their order in blocks of fixed size, so results don't depend on the number of threads. Safety:
// as in gather_scatter.h. A target without edges gets 0. Nothing of the size of the edges is read or written by forward
// but its arguments; gatv2's backward keeps [num_edges, heads].
#pragma once

#include "ops/gather_scatter/gather_scatter.h"

namespace nnzoo {

struct Gat {
  EdgeGroups in;       // groups are targets, nodes are sources
  EdgeGroups out_of;   // groups are sources, nodes are targets; read by backward
  const void* x;       // [num_sources, heads, channels]
  const void* source;  // gat: [num_sources, heads]; gatv2: null
  const void* target;  // gat: [num_targets, heads]; gatv2: [num_targets, heads, channels]
  const void* edge;    // in the caller's order: gat: [num_edges, heads]; gatv2: [num_edges, heads, channels]; or null
  const void* att;     // gatv2: [heads, channels]; null says that this is gat
  std::int64_t heads, channels;
  double slope, probability;
  std::int64_t seed;  // of dropout; read if probability > 0
  DType dtype;        // of all tensors for which nothing else is said
  int threads;
  bool* valid;
};

// What forward keeps of a target and head for backward: the largest score, the sum of exponentials, and for gat the
// part of this sum that is from positive edges: those where what leaky takes is above 0.
constexpr int normals(bool v2) { return v2 ? 2 : 3; }

struct GatForward {
  Gat gat;
  void* out;       // [num_targets, heads, channels]
  void* normal;    // [num_targets, normals, heads] of float, or double; or null: nothing is kept
  void* positive;  // gat: [num_targets, heads, channels] of float, or double: positive edges' part of out
};
NNZOO_KERNEL(gat_forward, GatForward)

struct GatBackward {
  Gat gat;
  const void *grad, *out, *normal, *positive;  // the gradient of out, and what forward wrote
  void* packed;       // workspace of float, or double: gat: [num_targets, 4, heads], gatv2: [num_targets, 3, heads]
  void* grad_score;   // gatv2: workspace [num_edges, heads] of float, or double
  void* grad_x;       // as x
  void* grad_source;  // gat: as source
  void* grad_target;  // as target
  void* grad_edge;    // as edge, or null
  void* grad_att;     // gatv2: [heads, channels] of float, or double
};
NNZOO_KERNEL(gat_backward, GatBackward)
NNZOO_KERNEL(gatv2_backward, GatBackward)

}  // namespace nnzoo
