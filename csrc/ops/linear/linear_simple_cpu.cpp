// The ladder below the packed GEMM: each rung removes one thing that the rung before it waits for.
#include "common/activation.h"
#include "common/parallel.h"
#include "ops/linear/linear.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S>
class Simple {
 public:
  using T = Compute<S>;
  static constexpr int kTile = 4;  // 16 sums and 8 operands: 24 of AVX-512's 32 registers

  explicit Simple(const LinearForward& args)
      : args_(args),
        input_(static_cast<const S*>(args.input)),
        weight_(static_cast<const S*>(args.weight)),
        bias_(static_cast<const S*>(args.bias)),
        residual_(static_cast<const S*>(args.residual)),
        output_(static_cast<S*>(args.output)),
        kept_(static_cast<S*>(args.kept)) {}

  // The definition. One addition waits for the one before it.
  void loops() const {
    for (std::int64_t m = 0; m < args_.M; ++m) {
      for (std::int64_t n = 0; n < args_.N; ++n) {
        T sum = 0;
        for (std::int64_t k = 0; k < args_.K; ++k) sum += T(to_float(row(m)[k])) * T(to_float(column(n)[k]));
        finish(m, n, sum);
      }
    }
  }

  // A vector of products at a time. Every product still loads both of its operands.
  void vectors() const {
    for (std::int64_t m = 0; m < args_.M; ++m) {
      for (std::int64_t n = 0; n < args_.N; ++n) tile<1, 1>(m, n);
    }
  }

  // 4 x 4 results at a time: a loaded vector serves four products, and sixteen sums don't wait for each other.
  void tiles(std::int64_t first_row, std::int64_t last_row) const {
    std::int64_t m = first_row;
    for (; m + kTile <= last_row; m += kTile) row_of_tiles<kTile>(m, 0, args_.N);
    for (; m < last_row; ++m) row_of_tiles<1>(m, 0, args_.N);
  }

  // As many weight rows as half of L2 holds are used for every input row before the next ones are fetched.
  void blocks(std::int64_t first_row, std::int64_t last_row) const {
    constexpr std::int64_t kBlockBytes = 256 << 10;
    const std::int64_t fitting = kBlockBytes / (args_.K > 0 ? args_.K * std::int64_t(sizeof(S)) : 1);
    const std::int64_t width = fitting > kTile ? fitting / kTile * kTile : kTile;
    for (std::int64_t n = 0; n < args_.N; n += width) {
      const std::int64_t end = n + width < args_.N ? n + width : args_.N;
      std::int64_t m = first_row;
      for (; m + kTile <= last_row; m += kTile) row_of_tiles<kTile>(m, n, end);
      for (; m < last_row; ++m) row_of_tiles<1>(m, n, end);
    }
  }

 private:
  const S* row(std::int64_t m) const { return input_ + m * args_.input_row_stride; }
  const S* column(std::int64_t n) const { return weight_ + n * args_.weight_row_stride; }

  template <int rows>
  void row_of_tiles(std::int64_t m, std::int64_t n, std::int64_t end) const {
    for (; n + kTile <= end; n += kTile) tile<rows, kTile>(m, n);
    for (; n < end; ++n) tile<rows, 1>(m, n);
  }

  template <int rows, int columns>
  NNZOO_INLINE void tile(std::int64_t m, std::int64_t n) const {
    Vec<T> sums[rows][columns];
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < columns; ++j) sums[i][j] = Vec<T>::zero();
    }
    std::int64_t k = 0;
    for (; k + Vec<T>::width <= args_.K; k += Vec<T>::width) {
      add_products<rows, columns>(m, n, sums, [k](const S* p) { return Vec<T>::load(p + k); });
    }
    if (k < args_.K) {
      const int count = static_cast<int>(args_.K - k);
      add_products<rows, columns>(m, n, sums, [k, count](const S* p) { return Vec<T>::load(p + k, count); });
    }
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < columns; ++j) finish(m + i, n + j, reduce_add(sums[i][j]));
    }
  }

  template <int rows, int columns, class Load>
  NNZOO_INLINE void add_products(std::int64_t m, std::int64_t n, Vec<T> (&sums)[rows][columns],
                                 const Load& load) const {
    Vec<T> a[rows];
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) a[i] = load(row(m + i));
#pragma GCC unroll 4
    for (int j = 0; j < columns; ++j) {
      const Vec<T> b = load(column(n + j));
#pragma GCC unroll 4
      for (int i = 0; i < rows; ++i) sums[i][j] = fma(a[i], b, sums[i][j]);
    }
  }

  NNZOO_INLINE void finish(std::int64_t m, std::int64_t n, T sum) const {
    const std::int64_t place = m * args_.N + n;
    const Vec<T> x = Vec<T>::set(bias_ ? sum + T(to_float(bias_[n])) : sum);
    const Activation activation = static_cast<Activation>(args_.activation);
    Vec<T> y = activate(activation, x);
    if (kept_) (needs_preactivation(activation) ? x : y).store(kept_ + place, 1);
    if (residual_) y += Vec<T>::load(residual_ + m * args_.residual_row_stride + n, 1);
    y.store(output_ + place, 1);
  }

  const LinearForward& args_;
  const S* input_;
  const S* weight_;
  const S* bias_;
  const S* residual_;
  S* output_;
  S* kept_;
};

}  // namespace

void linear_forward_simple(const LinearForwardSimple& args) {
  dispatch_dtype(args.call.dtype, [&](auto tag) {
    const Simple<typename decltype(tag)::Type> simple(args.call);
    switch (args.rung) {
      case LinearRung::loops:
        return simple.loops();
      case LinearRung::vectors:
        return simple.vectors();
      case LinearRung::tiles:
        return simple.tiles(0, args.call.M);
      case LinearRung::blocks:
        return simple.blocks(0, args.call.M);
      case LinearRung::threads:
        return parallel_for(args.call.M, args.call.threads,
                            [&](std::int64_t begin, std::int64_t end) { simple.blocks(begin, end); });
    }
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
