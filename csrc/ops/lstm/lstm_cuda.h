// The CUDA kernels of `lstm`: one direction of one layer, as in lstm.h, whose words are used here (rows, steps, S for
// the tensors' type, T for the compute type). Pointers are to device memory but for `batch_sizes`. Nothing is allocated
// and nothing waits: the host enqueues a product and a pointwise kernel per step, or one kernel for all. Results are
// the same in every run.
#pragma once

#include "common/kernel.h"

namespace nnzoo::cuda {

struct LstmSteps {
  std::int64_t steps, batch, rows, hidden;
  std::int64_t projection;          // 0 for none
  const std::int64_t* batch_sizes;  // on the host, [steps] or null: every step has `batch` rows
  bool reverse;
  DType dtype;
  bool allow_tf32;

  std::int64_t out() const { return projection > 0 ? projection : hidden; }
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
//   h:      S [batch, out]        in: h0; out: h_n
//   c:      T [batch, hidden]     in: c0; out: c_n
//   output: S [rows, out]         rows `output_stride` apart
//   w_hr:   S [out, hidden], and m: S [batch, hidden], workspace; null without projection
struct LstmForwardSteps {
  LstmSteps shape;
  const void *w_hh, *w_hr;  // w_hh: S [4 * hidden, out]
  void *preactivations, *cells, *h, *c, *output, *m;
  std::int64_t output_stride;
};
void lstm_forward_steps(const LstmForwardSteps& args, void* stream);

//   preactivations, cells, output: of forward    h0: S [batch, out], c0: T [batch, hidden]
//   grad_output: S [rows, out], rows `grad_output_stride` apart
//   grad_h: T [batch, out], grad_c: T [batch, hidden]  in: those of h_n and c_n; out: those of h0 and c0
//   deltas:   S [rows, 4 * hidden]  out: gradient of the preactivations
//   previous: S [rows, out]         out: the h that each row's step started from
// and with a projection, null without:
//   projected: S [rows, out]    out: the gradient of each row's h
//   m:         S [rows, hidden] out: what each row's step projected
//   grad_m:    T [batch, hidden], workspace
struct LstmBackwardSteps {
  LstmSteps shape;
  const void *w_hh, *w_hr, *preactivations, *cells, *output, *h0, *c0, *grad_output;
  void *grad_h, *grad_c, *deltas, *previous, *projected, *m, *grad_m;
  std::int64_t output_stride, grad_output_stride;
};
void lstm_backward_steps(const LstmBackwardSteps& args, void* stream);

// The same without projection in one launch for all steps (one for every 450 of packed input), on GPUs with clusters
// (sm_90): `hidden` is at most 512, 256 for float64. A cluster has 8 * tiles sequences; `tiles` is 1 for float32 above
// 256 and float64 above 128. `count` directions of a layer, 1 or 2, which differ in `reverse`, their weights and what
// they write, run side by side.
void lstm_forward_persistent(const LstmForwardSteps* directions, int count, int tiles, void* stream);
void lstm_backward_persistent(const LstmBackwardSteps* directions, int count, int tiles, void* stream);

}  // namespace nnzoo::cuda
