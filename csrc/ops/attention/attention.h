// Attention: output = softmax(query @ key^T * scale + mask) @ value, in one pass over the keys.
//
// Tensors, with B = batch, H = heads, G = kv_heads (H is a multiple of G; query head h uses head h / (H / G) of key and
// value), L = queries, S = keys, E = head_dim, V = value_dim. Inputs have any strides in their first three dimensions
// (0 for a broadcast one) and adjacent features; outputs and gradients are contiguous. No two tensors overlap.
//
//     query  [B, H, L, E]     key [B, G, S, E]     value [B, G, S, V]       of `dtype`
//     mask   [B, H, L, S]     by four strides, 0 where it is broadcast; see MaskKind
//     seed   int64 [1]        the dropout stream's key; read only if dropout_p > 0
//     output [B, H, L, V]     of `dtype`
//     statistics [2, B, H, L] of the compute type (double for float64, else float), before dropout: each query's
//                             largest score m, then log(sum_j exp(score_j - m))
//
// so that a weight is exp(score - m - log): the sum of the two, the usual logsumexp, would lose digits of the weights
// when scores are large. A query that sees no key has m = +inf, which makes its weights 0, and log = 0.
//
// The kernels write every element of their outputs and, but for grad_mask, expect nothing in them. A query that sees no
// key (all scores -inf, or S == 0) gets output 0 and contributes no gradient.
//
// Queries and keys may be several sequences, one behind the other: a query then sees keys of its own sequence alone.
// Query i of a sequence stands at the place of its key i + query_offset, and sees the keys from `before` places before
// it to `after` places behind it. `causal` says that this is keys 0..i of a single sequence, which is what CUDA's
// kernels know of it; they want before and after unbounded else, no slopes and no starts. ALiBi adds -slope *
// |distance| to a score, the distance being that of the places.
//
// Dropout: weight i, counted row-major in [B, H, L, S], is kept if word i of the Philox stream of `seed`
// (common/random.h) is >= floor(dropout_p * 2^32), compared as 64-bit integers, and kept weights are multiplied by
// 1 / (1 - dropout_p). Backward computes the same words again.
//
// Results do not depend on the order in which threads run. Workspace is a multiple of L + S, never of L * S.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

enum class MaskKind : int {
  none = 0,
  boolean = 1,   // one byte per element, 0 hides the key from the query
  additive = 2,  // of the compute type, added to the scaled scores
};

constexpr std::int64_t unbounded = std::int64_t(1) << 60;  // far beyond any place, and safe to add

struct AttentionInputs {
  const void *query, *key, *value, *mask;
  const std::int64_t* seed;
  std::int64_t batch, heads, kv_heads, queries, keys, head_dim, value_dim;
  std::int64_t query_stride[3], key_stride[3], value_stride[3];  // of batch, head, row; in elements
  std::int64_t mask_stride[4];                                   // of batch, head, query, key
  MaskKind mask_kind;
  bool causal;
  double scale, dropout_p;
  DType dtype;
  int threads;
  std::int64_t query_offset, before, after;       // `before` is at least 0
  const void* slopes;                             // [B, H] by strides, of the compute type; null: no ALiBi
  std::int64_t slope_stride[2];                   // of batch, head
  const std::int64_t *query_starts, *key_starts;  // [sequences + 1], from 0 to L and S, rising; null: one sequence
  std::int64_t sequences;
};

struct AttentionForward {
  AttentionInputs inputs;
  void* output;
  void* statistics;  // null: not wanted
};

// Gradients of query, key and value. Each may be null: not wanted. With D = rowsum(grad_output * output) and
// P the weights:
//
//     grad_value = P^T grad_output        dS = P * (grad_output value^T - D)
//     grad_query = dS key * scale         grad_key = dS^T query * scale
//
// where, with dropout, P in grad_value and grad_output value^T are first masked and scaled.
struct AttentionBackward {
  AttentionInputs inputs;
  const void* output;       // [B, H, L, V] contiguous, of `dtype`
  const void* grad_output;  // [B, H, L, V] contiguous, of `dtype`
  const void* statistics;   // [2, B, H, L]
  void* grad_query;         // [B, H, L, E] of `dtype`
  void* grad_key;           // [B, G, S, E] of `dtype`
  void* grad_value;         // [B, G, S, V] of `dtype`
  // The CPU kernel gives the queries of one key head to `parts` tasks. Unless parts is 1 and `dtype` is the compute
  // type, it needs room for their sums, of the compute type: [parts, B, G, S, E + V].
  std::int64_t parts;
  void* workspace;
  // The gradient of an additive mask in the same pass, as in AttentionMaskBackward; null: not wanted. The CPU kernel
  // wants parts == 1 and scale != 0 then, and gives all batch entries and heads that share the mask to one task.
  void* grad_mask;
  std::int64_t grad_mask_stride[4];
};

// Gradient of an additive mask: dS, summed over the dimensions in which the mask is broadcast.
struct AttentionMaskBackward {
  AttentionInputs inputs;
  const void* output;
  const void* grad_output;
  const void* statistics;
  // Of the compute type, zeroed by the caller: the kernel adds to it. Strides of batch, head, query, key: 0 where the
  // mask is broadcast, elsewhere such that no two elements overlap.
  void* grad_mask;
  std::int64_t grad_mask_stride[4];
};

NNZOO_KERNEL(attention_forward, AttentionForward)
NNZOO_KERNEL(attention_backward, AttentionBackward)
NNZOO_KERNEL(attention_mask_backward, AttentionMaskBackward)

}  // namespace nnzoo
