// Each activation as a functor: f(x), and f'(v) times a gradient, v being what backward keeps.
#pragma once

#include "ops/activation/single.h"

namespace nnzoo {
namespace NNZOO_ISA {

template <class T>
NNZOO_INLINE Vec<T> constant(double value) {
  return Vec<T>::set(static_cast<T>(value));
}

// Those that the epilogues of linear and conv know too.
template <Activation kind>
struct Shared {
  template <class T>
  NNZOO_INLINE Vec<T> value(Vec<T> x) const {
    return activate(kind, x);
  }
  template <class T>
  NNZOO_INLINE Vec<T> gradient(Vec<T> g, Vec<T> v) const {
    if constexpr (kind == Activation::relu) {
      return select(v <= Vec<T>::zero(), Vec<T>::zero(), g);  // 0 also where g is infinite
    } else {
      return g * activation_derivative(kind, v);
    }
  }
};

struct Sigmoid : Shared<Activation::sigmoid> {
  using Shared::value;
  NNZOO_INLINE Vec<float> value(Vec<float> x) const { return sigmoid_single(x); }
};

struct Tanh : Shared<Activation::tanh> {
  using Shared::value;
  NNZOO_INLINE Vec<float> value(Vec<float> x) const {
    const Vec<float> one = Vec<float>::set(1), power = exp2(abs(x) * Vec<float>::set(2 * log2_e));
    return tanh_given_far(x, one - Vec<float>::set(2) / (power + one));
  }
};

struct Silu : Shared<Activation::silu> {
  using Shared::gradient;
  using Shared::value;
  NNZOO_INLINE Vec<float> value(Vec<float> x) const { return times_sigmoid2(x, x * Vec<float>::set(log2_e)); }
  NNZOO_INLINE Vec<float> gradient(Vec<float> g, Vec<float> x) const {
    const Vec<float> one = Vec<float>::set(1), s = sigmoid_single(x);
    return g * s * fma(x, one - s, one);
  }
};

struct Gelu : Shared<Activation::gelu> {
  using Shared::gradient;
  using Shared::value;
  NNZOO_INLINE Vec<float> value(Vec<float> x) const { return x * normal_probability(x); }
  NNZOO_INLINE Vec<float> gradient(Vec<float> g, Vec<float> x) const {
    const Vec<float> density = constant<float>(0.5 * sqrt_2_over_pi) * exp2(constant<float>(-0.5 * log2_e) * x * x);
    return g * fma(x, density, normal_probability(x));
  }
};

// (1 + tanh(z)) / 2 is the sigmoid of 2 z.
struct GeluTanh : Shared<Activation::gelu_tanh> {
  using Shared::value;
  NNZOO_INLINE Vec<float> value(Vec<float> x) const {
    const Vec<float> z = fma(constant<float>(gelu_cubic) * x * x, x, x);
    return times_sigmoid2(x, z * constant<float>(2 * sqrt_2_over_pi * log2_e));
  }
};

struct LeakyRelu {
  double slope;
  template <class T>
  NNZOO_INLINE Vec<T> value(Vec<T> x) const {
    return select(x > Vec<T>::zero(), x, x * constant<T>(slope));
  }
  template <class T>
  NNZOO_INLINE Vec<T> gradient(Vec<T> g, Vec<T> x) const {
    return select(x > Vec<T>::zero(), g, g * constant<T>(slope));
  }
};

struct Elu {
  double alpha;
  template <class T>
  NNZOO_INLINE Vec<T> value(Vec<T> x) const {
    return select(x < Vec<T>::zero(), constant<T>(alpha) * expm1_of_negative(x), x);  // -0 and NaN pass
  }
  template <class T>
  NNZOO_INLINE Vec<T> gradient(Vec<T> g, Vec<T> x) const {
    return select(x > Vec<T>::zero(), g, g * constant<T>(alpha) * exp(x));  // NaN where x is
  }
};

struct Hardswish {
  template <class T>
  NNZOO_INLINE Vec<T> value(Vec<T> x) const {
    const Vec<T> part = min(constant<T>(6), max(Vec<T>::zero(), x + constant<T>(3)));  // NaN passes
    return x * part * constant<T>(1.0 / 6);
  }
  template <class T>
  NNZOO_INLINE Vec<T> gradient(Vec<T> g, Vec<T> x) const {
    const Vec<T> between = g * fma(x, constant<T>(1.0 / 3), constant<T>(0.5));
    const Vec<T> risen = select(x >= constant<T>(3), g, between);  // NaN where x is
    return select(x <= constant<T>(-3), Vec<T>::zero(), risen);
  }
};

// x tanh(log(1 + e^x)); with n = e^x (e^x + 2) the tanh is n / (n + 2).
struct Mish {
  template <class T>
  NNZOO_INLINE Vec<T> value(Vec<T> x) const {
    const Vec<T> e = exp(min(constant<T>(saturated), x)), n = e * (e + constant<T>(2));
    return x * (n / (n + constant<T>(2)));
  }
  template <class T>
  NNZOO_INLINE Vec<T> gradient(Vec<T> g, Vec<T> x) const {
    const Vec<T> low = min(constant<T>(saturated), x), e = exp(low), one = constant<T>(1), two = constant<T>(2);
    const Vec<T> n = e * (e + two), part = one / (n + two);
    // The derivative of the tanh: 4 (n + 1) / (n + 2)^2 times the sigmoid e / (1 + e), and n + 1 is (1 + e)^2.
    const Vec<T> rise = constant<T>(4) * e * (e + one) * part * part;
    return g * fma(low, rise, n * part);  // of x, the little that is left of `rise` would make a lot
  }
  static constexpr double saturated = 20;  // n / (n + 2) is 1 from here on, in float64 too
};

struct Softplus {
  double beta, threshold;
  template <class T>
  NNZOO_INLINE Vec<T> value(Vec<T> x) const {
    const Vec<T> z = x * constant<T>(beta);
    const Vec<T> soft = (max(z, Vec<T>::zero()) + log1p(exp(neg(abs(z))))) / constant<T>(beta);
    return select(z > constant<T>(threshold), x, soft);
  }
  template <class T>
  NNZOO_INLINE Vec<T> gradient(Vec<T> g, Vec<T> x) const {
    const Vec<T> z = x * constant<T>(beta);
    return select(z > constant<T>(threshold), g, g * sigmoid(z));
  }
};

// Calls run(functor); the order is that of FUNCTIONS in nnzoo_fast/ops/activation/functions.py.
template <class Run>
NNZOO_INLINE void with_function(int function, const double (&parameters)[2], const Run& run) {
  switch (function) {
    case 0:
      return run(Shared<Activation::relu>());
    case 1:
      return run(Gelu());
    case 2:
      return run(GeluTanh());
    case 3:
      return run(Silu());
    case 4:
      return run(Tanh());
    case 5:
      return run(Sigmoid());
    case 6:
      return run(LeakyRelu{parameters[0]});
    case 7:
      return run(Elu{parameters[0]});
    case 8:
      return run(Hardswish());
    case 9:
      return run(Mish());
    case 10:
      return run(Softplus{parameters[0], parameters[1]});
  }
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
