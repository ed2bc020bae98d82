// The forward pass. A task is a tile of queries of one head, which walks over the keys once:
//
//     scores = K_block Q^T          maximum, rescaling factor and exp in vector lanes
//     out^T  = out^T * factor + V_block^T weights
//
// so that what is stored of a tile are its running maxima and sums and out^T, all in the first-level cache.
#include "ops/attention/attention_few_queries.h"

namespace nnzoo {
namespace NNZOO_ISA {

// The state of a softmax over keys that come block by block, for `vectors` vectors of queries.
template <class T, int vectors>
struct OnlineSoftmax {
  static constexpr int width = Vec<T>::width, W = vectors * width;
  Vec<T> maximum[vectors], sum[vectors], factor[vectors];

  OnlineSoftmax() {
    for (int j = 0; j < vectors; ++j) {
      maximum[j] = Vec<T>::set(-infinity<T>);
      sum[j] = Vec<T>::zero();
    }
  }

  // Turns scores [n][W] into exp(score - maximum); `factor` is what earlier results must be multiplied with.
  NNZOO_INLINE void add(std::int64_t n, T* scores) {
    Vec<T> top[vectors], shift[vectors], total[vectors];
    for (int j = 0; j < vectors; ++j) top[j] = maximum[j];
    for (std::int64_t k = 0; k < n; ++k) {
      for (int j = 0; j < vectors; ++j) top[j] = max(top[j], Vec<T>::load(scores + k * W + j * width));
    }
    for (int j = 0; j < vectors; ++j) {
      // While no key is visible the maximum is -inf: subtracting 0 in its place keeps exp(-inf) = 0.
      shift[j] = select(top[j] == Vec<T>::set(-infinity<T>), Vec<T>::zero(), top[j]);
      factor[j] = exp(maximum[j] - shift[j]);
      maximum[j] = top[j];
      total[j] = Vec<T>::zero();
    }
    for (std::int64_t k = 0; k < n; ++k) {
      for (int j = 0; j < vectors; ++j) {
        T* const score = scores + k * W + j * width;
        const Vec<T> weight = exp(Vec<T>::load(score) - shift[j]);
        weight.store(score);
        total[j] += weight;
      }
    }
    for (int j = 0; j < vectors; ++j) sum[j] = fma(sum[j], factor[j], total[j]);
  }

  // 1 / sum, 0 for queries that saw no key.
  Vec<T> inverse(int j) const { return select(sum[j] == Vec<T>::zero(), Vec<T>::zero(), Vec<T>::set(T(1)) / sum[j]); }

  // The two rows of AttentionForward::statistics.
  Vec<T> kept_maximum(int j) const { return select(sum[j] == Vec<T>::zero(), Vec<T>::set(infinity<T>), maximum[j]); }
  Vec<T> kept_log(int j) const { return select(sum[j] == Vec<T>::zero(), Vec<T>::zero(), log(sum[j])); }
};

template <class S, int vectors>
void forward_tile(const AttentionForward& args, const Head<S>& head, const QueryTile& queries, const Ahead<S>& ahead) {
  using T = Compute<S>;
  constexpr int width = Vec<T>::width, W = vectors * width;
  const AttentionInputs& in = args.inputs;
  const std::int64_t value_dim = in.value_dim, room = round_up(value_dim, Tile<T>::rows);

  Scratch scratch;
  ScoreTile<S, vectors> score_tile(head, queries, ahead, scratch);
  T* const scores = scratch.take<T>(key_block<T> * W);
  T* const sums = scratch.take<T>(room * W);  // out^T: [feature][query]
  T* const factors = in.dropout_p > 0 ? scratch.take<T>(key_block<T> * W) : nullptr;
  T* const staged = sizeof(S) == sizeof(T) ? nullptr : scratch.take<T>(key_block<T> * value_dim);
  for (std::int64_t i = 0; i < room * W; i += width) Vec<T>::zero().store(sums + i);

  OnlineSoftmax<T, vectors> softmax;
  for (std::int64_t begin = queries.begin; begin < queries.end; begin += key_block<T>) {
    const std::int64_t n = queries.end - begin < key_block<T> ? queries.end - begin : key_block<T>;
    if (!score_tile(begin, n, scores)) continue;
    softmax.add(n, scores);
    if (factors) {
      score_tile.dropout_factors(begin, n, factors);
      for (std::int64_t i = 0; i < n * W; i += width) {
        (Vec<T>::load(scores + i) * Vec<T>::load(factors + i)).store(scores + i);
      }
    }
    std::int64_t stride;
    const S* const value = head.value + begin * in.value_stride[2];
    const T* const values = rows_in_place<T>(value, in.value_stride[2], n, value_dim, staged, &stride);
    product_add<T, vectors>(value_dim, KeySteps<T>{{n, score_tile.level(begin)}}, Left<T>{values, 1, stride}, scores,
                            softmax.factor, sums);
  }

  alignas(64) T statistics[2][W];
  for (int j = 0; j < vectors; ++j) {
    const Vec<T> inverse = softmax.inverse(j);
    softmax.kept_maximum(j).store(statistics[0] + j * width);
    softmax.kept_log(j).store(statistics[1] + j * width);
    for (std::int64_t d = 0; d < value_dim; ++d) {
      T* const sum = sums + d * W + j * width;
      (Vec<T>::load(sum) * inverse).store(sum);
    }
  }
  const std::int64_t row = head.first_row() + queries.first;
  const int count = queries.count;
  store_transposed<W>(sums, count, value_dim, static_cast<S*>(args.output) + row * value_dim);
  for (int i = 0; args.statistics && i < 2; ++i) {
    T* const kept = static_cast<T*>(args.statistics) + i * in.batch * in.heads * in.queries + row;
    for (int lane = 0; lane < count; ++lane) kept[lane] = statistics[i][lane];
  }
}

void attention_forward(const AttentionForward& args) {
  const AttentionInputs& in = args.inputs;
  dispatch_dtype(in.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    using T = Compute<S>;
    if (few_queries(args)) return forward_few_queries<S>(args);
    Scratch scratch;
    const QueryTiles tiles(in, Tile<T>::columns, scratch);
    const int threads = useful_threads(in);
    const bool per_head = task_per_head(in, threads);
    const std::int64_t pairs = in.batch * in.heads;
    const auto run = [&](std::int64_t pair, std::int64_t index) {
      const QueryTile tile = tiles[index];
      const Head<S> head(in, pair / in.heads, pair % in.heads);
      Ahead<S> ahead;
      const std::int64_t row = head.first_row() + tile.first;
      ahead.add(static_cast<const S*>(args.output) + row * in.value_dim, in.value_dim, tile.count, in.value_dim);
      if (const std::int64_t next = pair + threads; per_head && next < pairs) {
        add_inputs(Head<S>(in, next / in.heads, next % in.heads), tile, index, tiles.count(), ahead);
      }
      dispatch_lanes<T>(tile.count,
                        [&](auto lanes) { forward_tile<S, decltype(lanes)::vectors>(args, head, tile, ahead); });
    };
    // With a causal mask the last tiles see the most keys: they go first, so that the threads end together.
    if (per_head) {
      parallel_for_dynamic(pairs, threads, [&](std::int64_t pair) {
        for (std::int64_t index = tiles.count(); index-- > 0;) run(pair, index);
      });
    } else {
      parallel_for_dynamic(pairs * tiles.count(), threads, [&](std::int64_t task) {
        run(task / tiles.count(), tiles.count() - 1 - task % tiles.count());
      });
    }
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
