// The epilogue of the GEMM core that applies an activation.
#pragma once

#include "common/activation.h"
#include "common/gemm.h"

namespace nnzoo {
namespace NNZOO_ISA {

// C = activation(sum + bias) + residual, the bias per column. `kept`, its rows as far apart as those of C, receives
// what the activation's derivative is written in, unless it is null.
template <class T, class S>
struct ActivatedStore {
  static constexpr bool from_registers = false;
  const S* bias;
  Store<T, S> output;
  S* kept;
  Activation activation;
  const S* residual = nullptr;
  std::int64_t residual_stride = 0;

  Partial<T> partial() const { return output.partial(); }
  NNZOO_INLINE void operator()(std::int64_t row, std::int64_t column, int count, Vec<T> sum) const {
    const Vec<T> x = bias ? sum + Vec<T>::load(bias + column, count) : sum;
    Vec<T> y = activate(activation, x);
    if (kept) (needs_preactivation(activation) ? x : y).store(kept + row * output.stride + column, count);
    if (residual) y += Vec<T>::load(residual + row * residual_stride + column, count);
    output(row, column, count, y);
  }
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
