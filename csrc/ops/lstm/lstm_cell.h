#pragma once

#include "common/folded.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Gates i, f, g, o; see common/recurrent_forward.h and recurrent_backward.h.
template <class T>
struct LstmCell {
  static constexpr int gates = 4, apart = 0, kept = 4;
  static constexpr bool has_cells = true, mixes_h = false;
  using V = Vec<T>;

  NNZOO_INLINE V forward(const V (&input)[4], const V (&state)[4], V, V& c, V (&kept)[4]) const {
    const V a = input[2] + state[2], g = tanh(a);
    kept[0] = folded_sigmoid(input[0] + state[0]);
    kept[1] = folded_sigmoid(input[1] + state[1]);
    kept[2] = folded_tanh(a);
    kept[3] = folded_sigmoid(input[3] + state[3]);
    c = fma(unfold_sigmoid(kept[1]).value, c, unfold_sigmoid(kept[0]).value * g);
    return unfold_sigmoid(kept[3]).value * tanh(c);
  }

  NNZOO_INLINE V backward(const V (&kept)[4], V grad, V c, V before, V& grad_c, V (&deltas)[4]) const {
    const auto i = unfold_sigmoid(kept[0]), f = unfold_sigmoid(kept[1]), o = unfold_sigmoid(kept[3]);
    const auto g = unfold_tanh(kept[2]), squashed = unfold_tanh(folded_tanh(c));
    const V dc = fma(grad * o.value, squashed.derivative, grad_c);
    grad_c = dc * f.value;
    deltas[0] = dc * g.value * i.derivative;
    deltas[1] = dc * before * f.derivative;
    deltas[2] = dc * i.value * g.derivative;
    deltas[3] = grad * squashed.value * o.derivative;
    return o.value * squashed.value;
  }
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
