// The float32 activations that a pass over memory would otherwise wait for, in fewer instructions than those of
// common/activation.h: absolute errors of about 1e-7 (of gelu: times |x|), where those keep relative ones.
//
// Coefficients are minimax fits of the named function, computed with 40 digits.
#pragma once

#include "common/activation.h"

namespace nnzoo {
namespace NNZOO_ISA {

constexpr float log2_e = 1.44269504f;

// 2^t within 1e-7 of itself, 0 and infinity where that leaves float32, NaN for NaN.
NNZOO_INLINE Vec<float> exp2(Vec<float> t) {
  t = min(Vec<float>::set(128), max(Vec<float>::set(-151), t));  // NaN passes, being the second operand
  const Vec<float> n = round_small(t);
  const Vec<float> power = polynomial<float>(
      t - n, {1.326472389e-3f, 9.671512870e-3f, 5.550733754e-2f, 2.402224208e-1f, 6.931469776e-1f, 1.0f});
  return scale_by_power(power, n);
}

// x / (1 + 2^-t)
NNZOO_INLINE Vec<float> times_sigmoid2(Vec<float> x, Vec<float> t) { return x / (Vec<float>::set(1) + exp2(neg(t))); }

NNZOO_INLINE Vec<float> sigmoid_single(Vec<float> x) {
  return times_sigmoid2(Vec<float>::set(1), x * Vec<float>::set(log2_e));
}

// The normal distribution's probability of less than x. Its tail beyond |x| is 2^-p(|x|), so a polynomial and a power
// take the place of erf, and small ones keep their digits. The fit ends at 6; beyond, p goes on to rise.
NNZOO_INLINE Vec<float> normal_probability(Vec<float> x) {
  const Vec<float> p =
      polynomial<float>(abs(x), {1.381724669e-6f, -2.282119682e-5f, 1.127136545e-4f, 2.996366612e-4f, -7.254662888e-3f,
                                 5.261314514e-2f, 4.591744431e-1f, 1.151108824f, 9.999999294e-1f});
  const Vec<float> tail = exp2(neg(p));
  return select(x > Vec<float>::zero(), Vec<float>::set(1) - tail, tail);
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
