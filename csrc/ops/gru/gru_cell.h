#pragma once

#include "common/folded.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Gates r, z, n, where r scales the state's part of n's argument; see common/recurrent_forward.h and
// recurrent_backward.h.
template <class T>
struct GruCell {
  static constexpr int gates = 3, apart = 1, kept = 4;
  static constexpr bool has_cells = false, mixes_h = true;
  using V = Vec<T>;

  NNZOO_INLINE V forward(const V (&input)[3], const V (&state)[3], V h, V&, V (&kept)[4]) const {
    kept[0] = folded_sigmoid(input[0] + state[0]);
    kept[1] = folded_sigmoid(input[1] + state[1]);
    const V a = fma(unfold_sigmoid(kept[0]).value, state[2], input[2]), n = tanh(a);
    kept[2] = folded_tanh(a);
    kept[3] = state[2];
    return fma(unfold_sigmoid(kept[1]).value, h - n, n);
  }

  // deltas: of the input's part of n, then of the state's parts of r, z, n.
  NNZOO_INLINE V backward(const V (&kept)[4], V grad, V, V before, V& carry, V (&deltas)[4]) const {
    const auto r = unfold_sigmoid(kept[0]), z = unfold_sigmoid(kept[1]), n = unfold_tanh(kept[2]);
    carry = grad * z.value;
    deltas[0] = grad * z.rest * n.derivative;
    deltas[1] = deltas[0] * kept[3] * r.derivative;
    deltas[2] = grad * (before - n.value) * z.derivative;
    deltas[3] = deltas[0] * r.value;
    return grad;
  }
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
