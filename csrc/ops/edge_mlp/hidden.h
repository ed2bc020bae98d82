// What an edge's network does before its product.
#pragma once

#include "common/activation.h"
#include "common/scratch.h"
#include "ops/edge_mlp/edge_mlp.h"
#include "ops/gather_scatter/blocks.h"

namespace nnzoo {
namespace NNZOO_ISA {

// relu by itself, so that loops around it hold no switch.
template <bool relu>
struct Nonlinear {
  static constexpr bool is_relu = relu;
  Activation activation;

  template <class T>
  NNZOO_INLINE Vec<T> value(Vec<T> z) const {
    return activate(relu ? Activation::relu : activation, z);
  }
  // grad * activation'(z)
  template <class T>
  NNZOO_INLINE Vec<T> passed(Vec<T> grad, Vec<T> z) const {
    if constexpr (relu) {
      return select(z <= Vec<T>::zero(), Vec<T>::zero(), grad);
    } else {
      return grad * activation_derivative(activation, needs_preactivation(activation) ? z : activate(activation, z));
    }
  }
};

// Calls `run(type, nonlinear)` for the dtype and the activation of a call.
template <class Run>
NNZOO_INLINE void dispatch_edge_mlp(const EdgeMlp& call, const Run& run) {
  const Activation activation = static_cast<Activation>(call.activation);
  dispatch_dtype(call.dtype, [&](auto type) {
    if (activation == Activation::relu) {
      run(type, Nonlinear<true>{activation});
    } else {
      run(type, Nonlinear<false>{activation});
    }
  });
}

// Fetches rows [hidden] of an edge that comes up later.
template <class S>
NNZOO_INLINE void fetch_row(const S* rows, std::int32_t node, std::int64_t hidden) {
  for (std::int64_t f = 0; f < hidden && f < 512; f += 64 / std::int64_t(sizeof(S))) {
    Far::fetch(rows + node * hidden + f);
  }
}

NNZOO_INLINE std::int64_t words_of(std::int64_t outputs) { return (outputs + 31) / 32; }

}  // namespace NNZOO_ISA
}  // namespace nnzoo
