#include "ops/lp_pool/lp_pool.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

NNZOO_INLINE float scalar_power(float x, float p) { return __builtin_powf(x, p); }
NNZOO_INLINE double scalar_power(double x, double p) { return __builtin_pow(x, p); }

// x^p: a few products where p is 0 to 3, else the C library's.
template <class T>
NNZOO_INLINE Vec<T> power(Vec<T> x, T p) {
  if (p == T(1)) return x;
  if (p == T(2)) return x * x;
  if (p == T(3)) return x * x * x;
  if (p == T(0)) return Vec<T>::set(T(1));
  T lanes[Vec<T>::width];
  x.store(lanes);
  for (T& lane : lanes) lane = scalar_power(lane, p);
  return Vec<T>::load(lanes);
}

template <class T>
class Norm {
 public:
  static constexpr bool plain = false;

  Norm(double p, const Windows& windows)
      : p_(static_cast<T>(p)),
        less_(static_cast<T>(p - 1)),
        inverse_(static_cast<T>(1 / p)),
        taps_(static_cast<T>(volume(windows.kernel))) {}

  NNZOO_INLINE Vec<T> term(Vec<T> x) const { return power(x, p_); }

  NNZOO_INLINE Vec<T> result(Vec<T> sum, Vec<T> count) const {
    const Vec<T> full = sum * (Vec<T>::set(taps_) / count);
    return p_ == T(2) ? sqrt(full) : power(full, inverse_);
  }

  // d output / d sum is output^(1 - p) / p, and x^p / p has the derivative x^(p - 1).
  NNZOO_INLINE Vec<T> share(Vec<T> g, Vec<T> output, Vec<T> count) const {
    const Vec<T> slope = g * (Vec<T>::set(taps_) / count) / power(output, less_);
    return select(output == Vec<T>::zero(), Vec<T>::zero(), slope);
  }

  NNZOO_INLINE Vec<T> gradient(Vec<T> shares, Vec<T> x) const { return shares * power(x, less_); }

 private:
  T p_, less_, inverse_, taps_;
};

}  // namespace

void lp_pool_forward(const LpPoolForward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    using Rule = Norm<Compute<S>>;
    WindowSums<S, Rule>(args.windows, Rule(args.p, args.windows.windows))
        .forward(static_cast<const S*>(args.input), static_cast<S*>(args.output));
  });
}

void lp_pool_backward(const LpPoolBackward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    using Rule = Norm<Compute<S>>;
    WindowSums<S, Rule>(args.windows, Rule(args.p, args.windows.windows))
        .backward(static_cast<const S*>(args.grad_output), static_cast<const S*>(args.output),
                  static_cast<const S*>(args.input), static_cast<S*>(args.grad_input));
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
