// The epilogue of the GEMM core that applies an activation.
#pragma once

#include "common/activation.h"
#include "common/gemm.h"

namespace nnzoo {
namespace NNZOO_ISA {

// C = activation(sum + bias), the bias per column. `preactivation`, its rows as far apart as those of C, receives the
// activation's argument unless it is null.
template <class T, class S>
struct ActivatedStore {
  static constexpr bool from_registers = false;
  const S* bias;
  Store<T, S> output;
  S* preactivation;
  Activation activation;

  Partial<T> partial() const { return output.partial(); }
  NNZOO_INLINE void operator()(std::int64_t row, std::int64_t column, int count, Vec<T> sum) const {
    const Vec<T> x = bias ? sum + Vec<T>::load(bias + column, count) : sum;
    if (preactivation) x.store(preactivation + row * output.stride + column, count);
    output(row, column, count, activate(activation, x));
  }
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
