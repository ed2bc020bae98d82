// The contract of the recurrent kernels (lstm, gru, rnn): the directions of one layer over a whole sequence. Layers are
// the caller's loop. What gates an op has, and what it keeps of them, stands in its own header.
//
// Rows. A sequence is a stack of rows, time first: step t holds `batch_sizes[t]` rows, one for each sequence that is
// still alive, in the same order at every step. batch_sizes never grows; without it every step holds `batch` rows.
// `rows` is their sum. A reverse direction runs from the last step to the first; row n then starts, from its initial
// state, at the last step that has it.
//
// Dtypes. `dtype` is that of the tensors marked S. Those marked T are in the compute type: double for float64, else
// float. All are contiguous but for the row strides named below; no output overlaps an input or another output. `G` is
// the op's number of gates, stacked in torch's order; `out` the width of h: `projection` if that is positive, else
// `hidden`. Cell states and projections are lstm's; other ops leave them null and 0.
//
// The kernels are deterministic: results don't depend on the number of threads. They initialise all that they write.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

struct RecurrentShape {
  std::int64_t steps, batch, rows;               // steps >= 1, batch >= 0
  std::int64_t in_features, hidden, projection;  // projection: 0 for none
  const std::int64_t* batch_sizes;               // [steps] or null
  DType dtype;
  int threads;

  std::int64_t out() const { return projection > 0 ? projection : hidden; }
};

struct RecurrentWeights {
  const void* w_ih;  // S [G * hidden, in_features]
  const void* w_hh;  // S [G * hidden, out]
  const void* b_ih;  // S [G * hidden] or null
  const void* b_hh;  // S [G * hidden] or null
  const void* w_hr;  // S [out, hidden], null without projection
};

// One direction of a layer.
struct RecurrentForward {
  RecurrentShape shape;
  bool reverse;
  RecurrentWeights weights;
  const void* input;           // S [rows, in_features]
  const void* h0;              // S [batch, out] or null: zeros
  const void* c0;              // S [batch, hidden] or null: zeros
  void* output;                // S [rows, out], h_t; rows `output_stride` elements apart
  std::int64_t output_stride;  // (both directions share a row of [2 * out])
  void* h_n;                   // S [batch, out] state after each sequence's last step in running order, or null
  void* c_n;                   // S [batch, hidden]
  void* gates;                 // T [rows, kept * hidden] what backward wants of the gates, or null
  void* cells;                 // T [rows, hidden] c_t for backward; null if gates is
};

struct RecurrentBackward {
  RecurrentShape shape;
  bool reverse;
  RecurrentWeights weights;
  const void* input;  // as in forward
  const void* h0;
  const void* c0;
  const void* output;  // S [rows, out] of forward, rows `output_stride` elements apart
  std::int64_t output_stride;
  const void* gates;        // T, of forward
  const void* cells;        // T, of forward
  const void* grad_output;  // S [rows, out], rows `grad_output_stride` elements apart
  std::int64_t grad_output_stride;
  const void* grad_h_n;  // S [batch, out] or null: zeros
  const void* grad_c_n;  // S [batch, hidden] or null: zeros
  void* grad_input;  // T [rows, in_features] or null; both directions of a layer have the same, and it gets their sum
  void* grad_w_ih;   // T [G * hidden, in_features] or null
  void* grad_w_hh;   // T [G * hidden, out] or null
  void* grad_b_ih;   // T [G * hidden] or null
  void* grad_b_hh;   // T [G * hidden] or null
  void* grad_w_hr;   // T [out, hidden] or null
  void* grad_h0;     // T [batch, out] or null
  void* grad_c0;     // T [batch, hidden] or null
};

// The one or two directions of a layer; two run side by side, each on its share of the threads.
template <class Direction>
struct RecurrentLayer {
  const Direction* directions;
  int count;
};

}  // namespace nnzoo
