#include "common/moments.h"
#include "common/parallel.h"
#include "common/parameters.h"
#include "common/random.h"
#include "common/reduce.h"
#include "common/stream.h"
#include "ops/row_norm/row_norm.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

constexpr std::int64_t grain = 1 << 14;

// Rows are walked in at most `most_blocks` blocks of at least `least_rows`, whatever the number of threads: each adds
// up its share of the parameters' gradients, and the shares are added in order.
constexpr std::int64_t most_blocks = 64, least_rows = 16;

// Rows that are walked side by side: what is read and written of weights and shares is theirs together. More of them
// would not stay in the first-level cache between their two visits.
constexpr int together = 2;

template <class S, bool past>
struct Rows {
  using T = Compute<S>;
  const RowNormBackward& args;
  const T* weight;
  Dropout dropout;

  NNZOO_INLINE Vec<T> center(std::int64_t row) const {
    return Vec<T>::set(args.mean ? static_cast<const T*>(args.mean)[row] : T(0));
  }
  NNZOO_INLINE Vec<T> scale(std::int64_t row) const { return Vec<T>::set(static_cast<const T*>(args.rstd)[row]); }

  // Writes the gradients of the rows begin..end and, unless it is null, adds their share of those of weight and bias
  // to sums [2, N].
  void walk(std::int64_t begin, std::int64_t end, T* sums) const {
    std::int64_t row = begin;
    if (sums) {
      for (; row + together <= end; row += together) visit<together, true>(row, sums);
      for (; row < end; ++row) visit<1, true>(row, sums);
    } else {
      for (; row + together <= end; row += together) visit<together, false>(row, sums);
      for (; row < end; ++row) visit<1, false>(row, sums);
    }
    if (past) stream_fence();
  }

  template <int rows, bool adds>
  NNZOO_INLINE void visit(std::int64_t first, T* sums) const {
    const std::int64_t n = args.N;
    const S* const grad = static_cast<const S*>(args.grad_output) + first * n;
    const S* const x = static_cast<const S*>(args.x) + first * n;
    T alone[rows] = {}, with_unit[rows] = {};
    Vec<T> about[rows], by[rows];
    for (int r = 0; r < rows; ++r) about[r] = center(first + r), by[r] = scale(first + r);
    for (std::int64_t begin = 0; begin < n; begin += moments_chunk) {
      T found[2 * rows];
      const std::int64_t size = n - begin < moments_chunk ? n - begin : moments_chunk;
      vector_sums<T, 2 * rows, 2>(size, found, [&](std::int64_t j, int count, Vec<T>* sum) {
        const std::int64_t i = begin + j;
        const Vec<T> w = load_lanes<T>(weight + i, count);
        Vec<T> of_weight = Vec<T>::zero(), of_bias = of_weight;
        if constexpr (adds) {
          of_weight = load_lanes<T>(sums + i, count);
          of_bias = load_lanes<T>(sums + n + i, count);
        }
#pragma GCC unroll 4
        for (int r = 0; r < rows; ++r) {
          const Vec<T> g = load_lanes<T>(grad + r * n + i, count);
          const Vec<T> unit = (load_lanes<T>(x + r * n + i, count) - about[r]) * by[r];
          const Vec<T> h = g * w;
          sum[2 * r] += h;
          sum[2 * r + 1] = fma(h, unit, sum[2 * r + 1]);
          if constexpr (adds) {
            of_weight = fma(g, unit, of_weight);
            of_bias += g;
          }
        }
        if constexpr (adds) {
          store_lanes(of_weight, sums + i, count);
          store_lanes(of_bias, sums + n + i, count);
        }
      });
      for (int r = 0; r < rows; ++r) {
        alone[r] += found[2 * r];
        with_unit[r] += found[2 * r + 1];
      }
    }
    if (!args.grad_x && !args.grad_input) return;
    for (int r = 0; r < rows; ++r) write(first + r, args.mean ? alone[r] / T(n) : T(0), with_unit[r] / T(n));
  }

  NNZOO_INLINE void write(std::int64_t row, T alone, T with_unit) const {
    const std::int64_t n = args.N, at = row * n;
    const S* const grad = static_cast<const S*>(args.grad_output) + at;
    const S* const x = static_cast<const S*>(args.x) + at;
    const Vec<T> about = center(row), by = scale(row);
    const Vec<T> mean_alone = Vec<T>::set(alone), mean_with_unit = Vec<T>::set(with_unit);
    for_each_vector<T>(n, [&](std::int64_t i, int count) {
      // The rows walked next: of rows that are read side by side, not all begin where the one before ended.
      prefetch_to_level2(x + together * n + i);
      prefetch_to_level2(grad + together * n + i);
      const Vec<T> unit = (load_lanes<T>(x + i, count) - about) * by;
      const Vec<T> h = load_lanes<T>(grad + i, count) * load_lanes<T>(weight + i, count);
      Vec<T> result = by * fnma(unit, mean_with_unit, h - mean_alone);
      if (args.grad_sum) result += load_lanes<T>(static_cast<const S*>(args.grad_sum) + at + i, count);
      if (args.grad_x) store_result<past>(result, static_cast<S*>(args.grad_x) + at + i, count);
      if (args.grad_input) {
        if (args.probability > 0) {
          const Vec<T> factor = dropout.template factors<T>(static_cast<std::uint64_t>(at + i));
          result = select(factor == Vec<T>::zero(), Vec<T>::zero(), result * factor);
        }
        store_result<past>(result, static_cast<S*>(args.grad_input) + at + i, count);
      }
    });
  }
};

template <class S, bool past>
void run(const RowNormBackward& args) {
  using T = Compute<S>;
  Scratch scratch;
  const std::int64_t M = args.M, N = args.N;
  const T* const weight = parameters<T>(args.weight, args.parameter_dtype, N, T(1), scratch);
  const Rows<S, past> rows{args, weight, Dropout(args.probability, static_cast<std::uint64_t>(args.seed))};
  const bool wants_sums = args.grad_weight || args.grad_bias;
  if (!wants_sums) {
    const auto walk = [&](std::int64_t begin, std::int64_t end) {
      rows.walk(begin * together, end * together < M ? end * together : M, nullptr);
    };
    return parallel_for((M + together - 1) / together, args.threads, walk, 1 + grain / (1 + together * N));
  }
  std::int64_t blocks = M / least_rows < most_blocks ? M / least_rows : most_blocks;
  if (blocks < 1) blocks = 1;
  T* const shares = scratch.take<T>(blocks * 2 * N);
  const auto walk = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      T* const sums = shares + block * 2 * N;
      for (std::int64_t i = 0; i < 2 * N; ++i) sums[i] = 0;
      const Range range = split_range(M, static_cast<int>(block), static_cast<int>(blocks));
      rows.walk(range.begin, range.end, sums);
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
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    const std::int64_t row = args.N * static_cast<std::int64_t>(sizeof(S));
    const std::int64_t tensors = 2 + (args.grad_sum ? 1 : 0) + (args.grad_x ? 1 : 0) + (args.grad_input ? 1 : 0);
    // An absent one is aligned.
    const bool past =
        streams(args.grad_x, row, tensors * args.M * row) && streams(args.grad_input, row, tensors * args.M * row);
    past ? run<S, true>(args) : run<S, false>(args);
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
