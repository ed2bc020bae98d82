// The LSTM kernels: one layer over a whole sequence, G = 4 gates i, f, g, o. The contract stands in common/recurrent.h.
#pragma once

#include "common/recurrent.h"

namespace nnzoo {

using LstmForward = RecurrentLayer<RecurrentForward>;    // gates: [rows, 4 * hidden] i, f, g, o, folded (folded.h)
using LstmBackward = RecurrentLayer<RecurrentBackward>;  // no grad_b_hh: it is grad_b_ih

NNZOO_KERNEL(lstm_forward, LstmForward)
NNZOO_KERNEL(lstm_backward, LstmBackward)

}  // namespace nnzoo
