#include "common/moments.h"
#include "common/parallel.h"
#include "common/parameters.h"
#include "common/random.h"
#include "common/stream.h"
#include "ops/row_norm/row_norm.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// Elements below which a second thread isn't worth waking.
constexpr std::int64_t grain = 1 << 14;

template <class T, class S>
NNZOO_INLINE void add_row(const S* input, const S* residual, S* sum, std::int64_t n, bool drops, const Dropout& dropout,
                          std::int64_t first) {
  for_each_vector<T>(n, [&](std::int64_t i, int count) {
    Vec<T> x = load_lanes<T>(input + i, count);
    if (drops) {
      const Vec<T> factor = dropout.factors<T>(static_cast<std::uint64_t>(first + i));
      x = select(factor == Vec<T>::zero(), Vec<T>::zero(), x * factor);
    }
    store_lanes(load_lanes<T>(residual + i, count) + x, sum + i, count);
  });
}

template <class T>
struct RowStatistics {
  T mean, rstd;
};

template <class T, class S>
NNZOO_INLINE RowStatistics<T> row_statistics(const S* x, std::int64_t n, double eps, bool subtract_mean) {
  if (subtract_mean) {
    const Moments all = moments<T>(x, n);
    return {T(all.mean), T(inverse_root(all.squares / all.count + eps))};
  }
  const T squares = chunked_sum<T>(n, [&](std::int64_t i, int count) {
    const Vec<T> value = load_lanes<T>(x + i, count);
    return value * value;
  });
  return {T(0), T(inverse_root(double(squares) / double(n) + eps))};
}

template <class S, bool past>
void run(const RowNormForward& args) {
  using T = Compute<S>;
  Scratch scratch;
  const T* const weight = parameters<T>(args.weight, args.parameter_dtype, args.N, T(1), scratch);
  const T* const bias = parameters<T>(args.bias, args.parameter_dtype, args.N, T(0), scratch);
  const Dropout dropout(args.probability, static_cast<std::uint64_t>(args.seed));
  const S* const input = static_cast<const S*>(args.input);
  const std::int64_t n = args.N;
  parallel_for(
      args.M, args.threads,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row) {
          const std::int64_t at = row * n;
          const S* x = input + at;
          if (args.residual) {
            S* const sum = static_cast<S*>(args.sum) + at;
            add_row<T>(x, static_cast<const S*>(args.residual) + at, sum, n, args.probability > 0, dropout, at);
            x = sum;
          }
          const auto [mean, rstd] = row_statistics<T>(x, n, args.eps, args.subtract_mean);
          if (args.mean) static_cast<T*>(args.mean)[row] = mean;
          if (args.rstd) static_cast<T*>(args.rstd)[row] = rstd;
          const Vec<T> center = Vec<T>::set(mean), scale = Vec<T>::set(rstd);
          S* const output = static_cast<S*>(args.output) + at;
          for_each_vector<T>(n, [&](std::int64_t i, int lanes) {
            const Vec<T> unit = (load_lanes<T>(x + i, lanes) - center) * scale;
            const Vec<T> y = fma(unit, load_lanes<T>(weight + i, lanes), load_lanes<T>(bias + i, lanes));
            store_result<past>(y, output + i, lanes);
          });
        }
        if (past) stream_fence();
      },
      1 + grain / (n > 0 ? n : 1));
}

}  // namespace

void row_norm_forward(const RowNormForward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    const std::int64_t row = args.N * static_cast<std::int64_t>(sizeof(S)), tensors = args.residual ? 4 : 2;
    streams(args.output, row, tensors * args.M * row) ? run<S, true>(args) : run<S, false>(args);
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
