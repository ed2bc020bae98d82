// The activations that epilogues apply and backward passes differentiate.
#pragma once

#include "common/parallel.h"
#include "common/vmath.h"

namespace nnzoo {
namespace NNZOO_ISA {

// The values are the order of ACTIVATIONS in nnzoo_fast/activations.py.
enum class Activation : int { none = 0, relu = 1, gelu = 2, gelu_tanh = 3, silu = 4, tanh = 5, sigmoid = 6 };

// Whether the derivative is written in the pre-activation; the others use the output.
NNZOO_INLINE bool needs_preactivation(Activation activation) {
  return activation == Activation::gelu || activation == Activation::gelu_tanh || activation == Activation::silu;
}

constexpr double sqrt_half = 0.70710678118654752440;       // 1 / sqrt(2)
constexpr double sqrt_2_over_pi = 0.79788456080286535588;  // sqrt(2 / pi)
constexpr double gelu_cubic = 0.044715;

template <class T>
NNZOO_INLINE Vec<T> activate(Activation activation, Vec<T> x) {
  const auto c = [](double value) { return Vec<T>::set(static_cast<T>(value)); };
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return max(c(0), x);  // NaN passes, being the second operand
    case Activation::gelu:
      return c(0.5) * x * (c(1) + erf(x * c(sqrt_half)));
    case Activation::gelu_tanh: {
      const Vec<T> inner = c(sqrt_2_over_pi) * fma(c(gelu_cubic) * x * x, x, x);
      return c(0.5) * x * (c(1) + tanh(inner));
    }
    case Activation::silu:
      return x / (c(1) + exp(neg(x)));
    case Activation::tanh:
      return tanh(x);
    case Activation::sigmoid:
      return sigmoid(x);
  }
  return x;
}

// The derivative at `v`: the pre-activation where needs_preactivation, else the output.
template <class T>
NNZOO_INLINE Vec<T> activation_derivative(Activation activation, Vec<T> v) {
  const auto c = [](double value) { return Vec<T>::set(static_cast<T>(value)); };
  switch (activation) {
    case Activation::none:
      return c(1);
    case Activation::relu:
      return select(v <= c(0), c(0), c(1));  // the gradient passes where v is NaN, as torch's does
    case Activation::gelu: {
      const Vec<T> cumulative = c(0.5) * (c(1) + erf(v * c(sqrt_half)));
      const Vec<T> density = c(0.5 * sqrt_2_over_pi) * exp(c(-0.5) * v * v);
      return fma(v, density, cumulative);
    }
    case Activation::gelu_tanh: {
      const Vec<T> square = v * v;
      const Vec<T> t = tanh(c(sqrt_2_over_pi) * fma(c(gelu_cubic) * square, v, v));
      const Vec<T> inner = c(sqrt_2_over_pi) * fma(c(3 * gelu_cubic), square, c(1));
      return c(0.5) * fma(v * fnma(t, t, c(1)), inner, c(1) + t);
    }
    case Activation::silu: {
      const Vec<T> s = sigmoid(v);
      return s * fma(v, c(1) - s, c(1));
    }
    case Activation::tanh:
      return fnma(v, v, c(1));
    case Activation::sigmoid:
      return v * (c(1) - v);
  }
  return c(1);
}

template <class T>
void activate_all(Activation activation, T* values, std::int64_t count) {
  for_each_vector<T>(count, [&](std::int64_t i, int lanes) {
    activate(activation, Vec<T>::load(values + i, lanes)).store(values + i, lanes);
  });
}

// out = grad * activation'(at), [M, N] with rows of grad `grad_stride` apart; `at`, contiguous as `out` is, holds what
// activation_derivative reads.
template <class T, class S, class G>
void differentiate(Activation activation, std::int64_t M, std::int64_t N, const S* grad, std::int64_t grad_stride,
                   const S* at, G* out, int threads) {
  constexpr std::int64_t grain = 4096;  // values worth a thread
  parallel_for(
      M, threads,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
          const std::int64_t start = row * N;
          for_each_vector<T>(N, [&](std::int64_t column, int count) {
            const Vec<T> derivative = activation_derivative(activation, Vec<T>::load(at + start + column, count));
            const Vec<T> g = Vec<T>::load(grad + row * grad_stride + column, count);
            (g * derivative).store(out + start + column, count);
          });
        }
      },
      1 + grain / (N > 0 ? N : 1));
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
