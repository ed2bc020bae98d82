// The LSTM kernels: one direction of one layer over a whole sequence. Layers and directions are the caller's loop.
//
// Rows. A sequence is a stack of rows, time first: step t holds `batch_sizes[t]` rows, one for each sequence that is
// still alive, in the same order at every step. batch_sizes never grows; without it every step holds `batch` rows.
// `rows` is their sum. `reverse` runs from the last step to the first; row n then starts, from its initial state, at
// the last step that has it.
//
// Dtypes. `dtype` is that of the tensors marked S. Those marked T are in the compute type: double for float64, else
// float. All are contiguous but for the row strides named below; no output overlaps an input or another output. Gates
// are stacked in torch's order i, f, g, o. `out` is the width of h: `projection` if that is positive, else `hidden`.
//
// Both kernels are deterministic: results don't depend on the number of threads. They initialise all that they write.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

struct LstmShape {
  std::int64_t steps, batch, rows;               // steps >= 1, batch >= 0
  std::int64_t in_features, hidden, projection;  // projection: 0 for none
  const std::int64_t* batch_sizes;               // [steps] or null
  bool reverse;
  DType dtype;
  int threads;

  std::int64_t out() const { return projection > 0 ? projection : hidden; }
};

struct LstmWeights {
  const void* w_ih;  // S [4 * hidden, in_features]
  const void* w_hh;  // S [4 * hidden, out]
  const void* b_ih;  // S [4 * hidden] or null
  const void* b_hh;  // S [4 * hidden] or null
  const void* w_hr;  // S [out, hidden], null without projection
};

struct LstmForward {
  LstmShape shape;
  LstmWeights weights;
  const void* input;           // S [rows, in_features]
  const void* h0;              // S [batch, out] or null: zeros
  const void* c0;              // S [batch, hidden] or null: zeros
  void* output;                // S [rows, out], h_t; rows `output_stride` elements apart
  std::int64_t output_stride;  // (both directions share a row of [2 * out])
  void* h_n;                   // S [batch, out] state after each sequence's last step in running order, or null
  void* c_n;                   // S [batch, hidden]
  void* gates;                 // T [rows, 4 * hidden] the gates, folded (vmath.h), for backward, or null
  void* cells;                 // T [rows, hidden] c_t for backward; null if and only if gates is
};

struct LstmBackward {
  LstmShape shape;
  LstmWeights weights;
  const void* input;  // as in forward
  const void* h0;
  const void* c0;
  const void* output;  // S [rows, out] of forward, rows `output_stride` elements apart
  std::int64_t output_stride;
  const void* gates;  // T, of forward
  const void* cells;  // T, of forward
  const void* grad_output;     // S [rows, out], rows `grad_output_stride` elements apart
  std::int64_t grad_output_stride;
  const void* grad_h_n;   // S [batch, out] or null: zeros
  const void* grad_c_n;   // S [batch, hidden]
  void* grad_input;       // T [rows, in_features] or null; added to if `accumulate_input`
  bool accumulate_input;  // (the second direction adds to the first's)
  void* grad_w_ih;        // T [4 * hidden, in_features] or null
  void* grad_w_hh;        // T [4 * hidden, out] or null
  void* grad_bias;        // T [4 * hidden], the gradient of b_ih and of b_hh, or null
  void* grad_w_hr;        // T [out, hidden] or null
  void* grad_h0;          // T [batch, out] or null
  void* grad_c0;          // T [batch, hidden] or null
};

// Dropout between layers: output[i] = input[i] * (keeps element first + i ? 1 / (1 - probability) : 0).
struct LstmDropout {
  const void* input;  // S [count]
  void* output;       // S [count]; may be `input`
  std::int64_t count, first;
  double probability;
  std::int64_t seed;
  DType dtype;
  int threads;
};

NNZOO_KERNEL(lstm_forward, LstmForward)
NNZOO_KERNEL(lstm_backward, LstmBackward)
NNZOO_KERNEL(lstm_dropout, LstmDropout)

}  // namespace nnzoo
