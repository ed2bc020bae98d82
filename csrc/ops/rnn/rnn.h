// The kernels of the simple RNN: one layer over a whole sequence, G = 1. The contract stands in common/recurrent.h.
#pragma once

#include "common/recurrent.h"

namespace nnzoo {

struct RnnForward {
  RecurrentLayer<RecurrentForward> layer;  // gates: [rows, hidden] h, with tanh folded (folded.h)
  bool relu;                               // in place of tanh
};

struct RnnBackward {
  RecurrentLayer<RecurrentBackward> layer;  // no grad_b_hh: it is grad_b_ih
  bool relu;
};

NNZOO_KERNEL(rnn_forward, RnnForward)
NNZOO_KERNEL(rnn_backward, RnnBackward)

}  // namespace nnzoo
