// The GRU kernels: one layer over a whole sequence, G = 3 gates r, z, n. The contract stands in common/recurrent.h.
#pragma once

#include "common/recurrent.h"

namespace nnzoo {

// gates: [rows, 4 * hidden] r, z, n, folded (folded.h), then the state's part of n's argument
using GruForward = RecurrentLayer<RecurrentForward>;
using GruBackward = RecurrentLayer<RecurrentBackward>;

NNZOO_KERNEL(gru_forward, GruForward)
NNZOO_KERNEL(gru_backward, GruBackward)

}  // namespace nnzoo
