// conv_lstm: an LSTM layer whose matrix products are convolutions (1d, 2d or 3d), over a whole sequence.
//
//   input    [steps, batch, in_channels, D, H, W]        contiguous
//   w_ih     [4 * hidden, in_channels, kD, kH, kW]       contiguous; gates stacked as i, f, g, o
//   w_hh     [4 * hidden, hidden, kD, kH, kW]            contiguous
//   bias     [4 * hidden]                                contiguous; null: none
//   h0, c0   [batch, hidden, oD, oH, oW]                 contiguous; null: zeros
//   output   [steps, batch, hidden, oD, oH, oW]          the h_t
//   c_n      [batch, hidden, oD, oH, oW]
//
// The state's size is what the input's convolution (stride 1) leads to; the state's own convolution keeps it. Lower
// dimensions come with leading sizes of 1. All tensors have `dtype` (float32, bfloat16, float64) but those that
// backward reads again: `gates` [steps, batch, 4 * hidden, pixels], folded (vmath.h), and `cells` [steps, batch,
// hidden, pixels] are float for bfloat16. Outputs may be uninitialised and must not overlap an input. The result does
// not depend on the number of threads.
#pragma once

#include "ops/conv/conv.h"

namespace nnzoo {

struct ConvLstmShape {
  std::int64_t steps, batch, in_channels, hidden;
  std::int64_t input[3], state[3], kernel[3], dilation[3];
  std::int64_t input_padding[3], state_padding[3];  // before the first element

  std::int64_t pixels() const { return state[0] * state[1] * state[2]; }
  std::int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
};

struct ConvLstmForward {
  const void *input, *h0, *c0;
  const void *w_ih, *w_hh, *bias;
  void *output, *c_n;
  void *gates, *cells;  // null: no gradient will be asked for
  ConvLstmShape shape;
  DType dtype;
  int threads;
};

// The way back through time. What it leaves to do are convolutions of all steps at once: the gradients of input,
// weights and bias follow from grad_gates [steps, batch, 4 * hidden, pixels], those of the preactivations.
struct ConvLstmBackward {
  const void *grad_output, *grad_c_n;
  const void *c0, *w_hh;
  const void *gates, *cells;
  void* grad_gates;
  void *grad_h0, *grad_c0;  // [batch, hidden, pixels]; grad_h0 is written even if there is no h0
  ConvLstmShape shape;
  DType dtype;
  int threads;
};

NNZOO_KERNEL(conv_lstm_forward, ConvLstmForward)
NNZOO_KERNEL(conv_lstm_backward, ConvLstmBackward)

}  // namespace nnzoo
