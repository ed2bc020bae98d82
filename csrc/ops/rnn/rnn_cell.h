#pragma once

#include "common/folded.h"

namespace nnzoo {
namespace NNZOO_ISA {

// h = tanh or relu of its argument; see common/recurrent_forward.h and recurrent_backward.h.
template <class T>
struct RnnCell {
  static constexpr int gates = 1, apart = 0, kept = 1;
  static constexpr bool has_cells = false, mixes_h = false;
  using V = Vec<T>;
  bool relu;

  NNZOO_INLINE V forward(const V (&input)[1], const V (&state)[1], V, V&, V (&kept)[1]) const {
    const V a = input[0] + state[0];
    if (relu) return kept[0] = max(V::zero(), a);  // NaN passes, being the second operand
    kept[0] = folded_tanh(a);
    return tanh(a);
  }

  NNZOO_INLINE V backward(const V (&kept)[1], V grad, V, V, V&, V (&deltas)[1]) const {
    deltas[0] = relu ? select(kept[0] > V::zero(), grad, V::zero()) : grad * unfold_tanh(kept[0]).derivative;
    return grad;
  }
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
