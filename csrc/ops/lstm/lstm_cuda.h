// The CUDA kernels of `lstm`: one direction of one layer, as in lstm.h, whose words are used here (rows, steps, S for
// the tensors' type, T for the compute type). Pointers are to device memory but for `batch_sizes`. Nothing is allocated
// and nothing waits: the host enqueues a product and a pointwise kernel per step, or one kernel for all. Results are
// the same in every run.
#pragma once

#include "common/kernel.h"

namespace nnzoo::cuda {

struct LstmSteps {
  std::int64_t steps, batch, rows, hidden;
  const std::int64_t* batch_sizes;  // on the host, [steps] or null: every step has `batch` rows
  bool reverse;
  DType dtype;
  bool allow_tf32;
};

// preactivations = input * w_ih^T + b_ih + b_hh for all steps at once
//   input: S [rows, in_features]   w_ih: S [4 * hidden, in_features]   b_ih, b_hh: S [4 * hidden] or null
//   preactivations: T [rows, 4 * hidden]
struct LstmInputGates {
  LstmSteps shape;
  const void *input, *w_ih, *b_ih, *b_hh;
  void* preactivations;
  std::int64_t in_features;
};
void lstm_input_gates(const LstmInputGates& args, void* stream);

//   preactivations: T [rows, 4 * hidden]  in: those of lstm_input_gates; out: the state's part added
//   cells:  T [rows, hidden]      out: c_t; or null
//   h:      S [batch, hidden]     in: h0; out: h_n
//   c:      T [batch, hidden]     in: c0; out: c_n
//   output: S [rows, hidden]      rows `output_stride` apart
struct LstmForwardSteps {
  LstmSteps shape;
  const void* w_hh;  // S [4 * hidden, hidden]
  void *preactivations, *cells, *h, *c, *output;
  std::int64_t output_stride;
};
void lstm_forward_steps(const LstmForwardSteps& args, void* stream);

//   preactivations, cells, output: of forward    h0: S [batch, hidden], c0: T [batch, hidden]
//   grad_output: S [rows, hidden], rows `grad_output_stride` apart
//   grad_h, grad_c: T [batch, hidden]  in: those of h_n and c_n; out: those of h0 and c0
//   deltas:   S [rows, 4 * hidden]  out: gradient of the preactivations
//   previous: S [rows, hidden]      out: the h that each row's step started from
struct LstmBackwardSteps {
  LstmSteps shape;
  const void *w_hh, *preactivations, *cells, *output, *h0, *c0, *grad_output;
  void *grad_h, *grad_c, *deltas, *previous;
  std::int64_t output_stride, grad_output_stride;
};
void lstm_backward_steps(const LstmBackwardSteps& args, void* stream);

// The same in one launch for all steps (one for every 900 of packed input), on GPUs with clusters (sm_90): `hidden` is
// at most 512 for 16-bit types, 256 for float32, 128 for float64. A cluster has 8 * tiles sequences.
void lstm_forward_persistent(const LstmForwardSteps& args, int tiles, void* stream);
void lstm_backward_persistent(const LstmBackwardSteps& args, int tiles, void* stream);

}  // namespace nnzoo::cuda
