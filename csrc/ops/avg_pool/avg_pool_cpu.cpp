#include "ops/avg_pool/avg_pool.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class T>
struct Mean {
  static constexpr bool plain = true;

  NNZOO_INLINE Vec<T> term(Vec<T> x) const { return x; }
  NNZOO_INLINE Vec<T> result(Vec<T> sum, Vec<T> count) const { return sum / count; }
  NNZOO_INLINE Vec<T> share(Vec<T> g, Vec<T>, Vec<T> count) const { return g / count; }
  NNZOO_INLINE Vec<T> gradient(Vec<T> shares, Vec<T>) const { return shares; }
};

}  // namespace

void avg_pool_forward(const AvgPool& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    using Rule = Mean<Compute<S>>;
    WindowSums<S, Rule>(args.windows, Rule()).forward(static_cast<const S*>(args.from), static_cast<S*>(args.to));
  });
}

void avg_pool_backward(const AvgPool& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    using Rule = Mean<Compute<S>>;
    const S* const none = nullptr;
    WindowSums<S, Rule>(args.windows, Rule())
        .backward(static_cast<const S*>(args.from), none, none, static_cast<S*>(args.to));
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
