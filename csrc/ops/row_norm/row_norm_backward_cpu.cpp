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
  // to sums [2, N]. A row at a time: of several side by side, memory would see the beginnings and ends in turn.
  void walk(std::int64_t begin, std::int64_t end, T* sums) const {
    const bool writes = args.grad_x || args.grad_input;
    for (std::int64_t row = begin; row < end; ++row) {
      const Means of = writes ? means(row) : Means{0, 0};
      if (sums) {
        write<true>(row, of, sums);
      } else if (writes) {
        write<false>(row, of, sums);
      }
    }
    if (past) stream_fence();
  }

  // Of a row: the means of h, the gradient times the weight, and of h times the normalised value.
  struct Means {
    T alone, with_unit;
  };

  NNZOO_INLINE Means means(std::int64_t row) const {
    const std::int64_t n = args.N;
    const S* const grad = static_cast<const S*>(args.grad_output) + row * n;
    const S* const x = static_cast<const S*>(args.x) + row * n;
    const Vec<T> about = center(row), by = scale(row);
    Means total{0, 0};
    for (std::int64_t begin = 0; begin < n; begin += moments_chunk) {
      T found[2];
      vector_sums<T, 2>(n - begin < moments_chunk ? n - begin : moments_chunk, found,
                        [&](std::int64_t j, int count, Vec<T>* sum) {
                          const std::int64_t i = begin + j;
                          const Vec<T> h = load_lanes<T>(grad + i, count) * load_lanes<T>(weight + i, count);
                          sum[0] += h;
                          sum[1] = fma(h, (load_lanes<T>(x + i, count) - about) * by, sum[1]);
                        });
      total.alone += found[0];
      total.with_unit += found[1];
    }
    return {args.mean ? total.alone / T(n) : T(0), total.with_unit / T(n)};
  }

  // Meanwhile the next row is fetched.
  template <bool adds>
  NNZOO_INLINE void write(std::int64_t row, Means of, T* sums) const {
    const std::int64_t n = args.N, at = row * n;
    const S* const grad = static_cast<const S*>(args.grad_output) + at;
    const S* const x = static_cast<const S*>(args.x) + at;
    const Vec<T> about = center(row), by = scale(row);
    const Vec<T> alone = Vec<T>::set(of.alone), with_unit = Vec<T>::set(of.with_unit);
    for_each_vector<T>(n, [&](std::int64_t i, int count) {
      prefetch_to_level2(x + n + i);
      prefetch_to_level2(grad + n + i);
      const Vec<T> g = load_lanes<T>(grad + i, count);
      const Vec<T> unit = (load_lanes<T>(x + i, count) - about) * by;
      if constexpr (adds) {
        store_lanes(fma(g, unit, load_lanes<T>(sums + i, count)), sums + i, count);
        store_lanes(g + load_lanes<T>(sums + n + i, count), sums + n + i, count);
      }
      put(at + i, count, by * fnma(unit, with_unit, g * load_lanes<T>(weight + i, count) - alone));
    });
  }

  NNZOO_INLINE void put(std::int64_t at, int count, Vec<T> result) const {
    if (args.grad_sum) result += load_lanes<T>(static_cast<const S*>(args.grad_sum) + at, count);
    if (args.grad_x) store_result<past>(result, static_cast<S*>(args.grad_x) + at, count);
    if (args.grad_input) {
      if (args.probability > 0) {
        const Vec<T> factor = dropout.template factors<T>(static_cast<std::uint64_t>(at));
        result = select(factor == Vec<T>::zero(), Vec<T>::zero(), result * factor);
      }
      store_result<past>(result, static_cast<S*>(args.grad_input) + at, count);
    }
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
    const auto walk = [&](std::int64_t begin, std::int64_t end) { rows.walk(begin, end, nullptr); };
    return parallel_for(M, args.threads, walk, 1 + grain / (1 + N));
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
