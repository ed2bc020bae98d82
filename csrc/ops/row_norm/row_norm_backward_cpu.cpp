#include "common/moments.h"
#include "common/parallel.h"
#include "common/parameters.h"
#include "common/random.h"
#include "common/reduce.h"
#include "ops/row_norm/row_norm.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

constexpr std::int64_t grain = 1 << 14;

// Rows are walked in at most `most_blocks` blocks of at least `least_rows`, whatever the number of threads: each adds
// up its share of the parameters' gradients, and the shares are added in order.
constexpr std::int64_t most_blocks = 64, least_rows = 16;

template <class S>
struct Rows {
  using T = Compute<S>;
  const RowNormBackward& args;
  const T* weight;
  Dropout dropout;

  // Writes the gradients of row `row` and, given sums [2, N], adds its share of those of weight and bias.
  NNZOO_INLINE void walk(std::int64_t row, T* sums) const {
    const std::int64_t n = args.N, at = row * n;
    const S* const grad = static_cast<const S*>(args.grad_output) + at;
    const S* const x = static_cast<const S*>(args.x) + at;
    const T rstd = static_cast<const T*>(args.rstd)[row];
    const Vec<T> center = Vec<T>::set(args.mean ? static_cast<const T*>(args.mean)[row] : T(0));
    const Vec<T> scale = Vec<T>::set(rstd);
    T with_unit = 0, alone = 0;
    if (args.grad_x || args.grad_input) {
      for (std::int64_t begin = 0; begin < n; begin += moments_chunk) {
        const std::int64_t size = n - begin < moments_chunk ? n - begin : moments_chunk;
        Vec<T> plain = Vec<T>::zero();
        with_unit += vector_sum<T>(size, [&](std::int64_t j, int count) {
          const std::int64_t i = begin + j;
          const Vec<T> g = load_lanes<T>(grad + i, count);
          const Vec<T> unit = (load_lanes<T>(x + i, count) - center) * scale;
          if (sums) add(sums, i, count, g, unit);
          const Vec<T> h = g * load_lanes<T>(weight + i, count);
          plain += h;  // lanes beyond `count` are 0
          return h * unit;
        });
        alone += reduce_add(plain);
      }
    } else if (sums) {
      for_each_vector<T>(n, [&](std::int64_t i, int count) {
        add(sums, i, count, load_lanes<T>(grad + i, count), (load_lanes<T>(x + i, count) - center) * scale);
      });
    }
    if (!args.grad_x && !args.grad_input) return;
    const Vec<T> mean_with_unit = Vec<T>::set(with_unit / T(n));
    const Vec<T> mean_alone = Vec<T>::set(args.mean ? alone / T(n) : T(0));
    for_each_vector<T>(n, [&](std::int64_t i, int count) {
      const Vec<T> unit = (load_lanes<T>(x + i, count) - center) * scale;
      const Vec<T> h = load_lanes<T>(grad + i, count) * load_lanes<T>(weight + i, count);
      Vec<T> result = scale * fnma(unit, mean_with_unit, h - mean_alone);
      if (args.grad_sum) result += load_lanes<T>(static_cast<const S*>(args.grad_sum) + at + i, count);
      if (args.grad_x) store_lanes(result, static_cast<S*>(args.grad_x) + at + i, count);
      if (args.grad_input) {
        if (args.probability > 0) {
          const Vec<T> factor = dropout.template factors<T>(static_cast<std::uint64_t>(at + i));
          result = select(factor == Vec<T>::zero(), Vec<T>::zero(), result * factor);
        }
        store_lanes(result, static_cast<S*>(args.grad_input) + at + i, count);
      }
    });
  }

  NNZOO_INLINE void add(T* sums, std::int64_t i, int count, Vec<T> g, Vec<T> unit) const {
    store_lanes(fma(g, unit, load_lanes<T>(sums + i, count)), sums + i, count);
    store_lanes(load_lanes<T>(sums + args.N + i, count) + g, sums + args.N + i, count);
  }
};

template <class S>
void run(const RowNormBackward& args) {
  using T = Compute<S>;
  Scratch scratch;
  const std::int64_t M = args.M, N = args.N;
  const T* const weight = parameters<T>(args.weight, args.parameter_dtype, N, T(1), scratch);
  const Rows<S> rows{args, weight, Dropout(args.probability, static_cast<std::uint64_t>(args.seed))};
  const bool wants_sums = args.grad_weight || args.grad_bias;
  if (!wants_sums) {
    const auto walk = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) rows.walk(row, nullptr);
    };
    return parallel_for(M, args.threads, walk, 1 + grain / (N > 0 ? N : 1));
  }
  std::int64_t blocks = M / least_rows < most_blocks ? M / least_rows : most_blocks;
  if (blocks < 1) blocks = 1;
  T* const shares = scratch.take<T>(blocks * 2 * N);
  const auto walk = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      T* const sums = shares + block * 2 * N;
      for (std::int64_t i = 0; i < 2 * N; ++i) sums[i] = 0;
      const Range range = split_range(M, static_cast<int>(block), static_cast<int>(blocks));
      for (std::int64_t row = range.begin; row < range.end; ++row) rows.walk(row, sums);
    }
  };
  parallel_for(blocks, args.threads, walk, 1 + grain / (1 + M * N / blocks));
  T* const sums = scratch.take<T>(2 * N);
  column_sums<T>(blocks, 2 * N, shares, 2 * N, sums, args.threads);
  if (args.grad_weight) store_parameters(sums, args.grad_weight, args.parameter_dtype, N);
  if (args.grad_bias) store_parameters(sums + N, args.grad_bias, args.parameter_dtype, N);
}

}  // namespace

void row_norm_backward(const RowNormBackward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) { run<typename decltype(tag)::Type>(args); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
