// Forward for so few queries that a tile's lanes would be empty: a step of decoding over cached keys. Features lie in
// the lanes, each key and value is read once for all heads that share it, and tasks share the keys of a head: each
// leaves a maximum, a sum and an output, which are then added up in a fixed order.
#pragma once

#include "ops/attention/attention_scores.h"

namespace nnzoo {
namespace NNZOO_ISA {

constexpr std::int64_t most_few_queries = 4;

// Keys of a task. It does not depend on the number of threads, so neither do the results.
constexpr std::int64_t keys_per_task = 512;

// Not where gradients are wanted: backward computes the scores again, feature after feature, and where a weight is
// nearly 1 it needs those very bits (README.md).
inline bool few_queries(const AttentionForward& args) {
  const AttentionInputs& in = args.inputs;
  return in.queries <= most_few_queries && !args.statistics && in.dropout_p == 0 && !in.query_starts;
}

// scores[k] = keys[k] . query, `query` being padded with zeros to whole vectors.
template <class T, class S>
void dot_products(const S* keys, std::int64_t stride, std::int64_t n, const T* query, std::int64_t size, T* scores) {
  constexpr int rows = 4, width = Vec<T>::width;
  for (std::int64_t k = 0; k < n; k += rows) {
    const S* row[rows];
    Vec<T> sum[rows];
    for (int r = 0; r < rows; ++r) {
      row[r] = keys + (k + r < n ? k + r : n - 1) * stride;
      sum[r] = Vec<T>::zero();
    }
    std::int64_t d = 0;
    for (; d + width <= size; d += width) {
      const Vec<T> q = Vec<T>::load(query + d);
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) sum[r] = fma(q, Vec<T>::load(row[r] + d), sum[r]);
    }
    if (d < size) {
      const Vec<T> q = Vec<T>::load(query + d);
      for (int r = 0; r < rows; ++r) sum[r] = fma(q, Vec<T>::load(row[r] + d, static_cast<int>(size - d)), sum[r]);
    }
    for (int r = 0; r < rows && k + r < n; ++r) scores[k + r] = reduce_add(sum[r]);
  }
}

// out = out * factor + sum over k of weights[k] * values[k], `vectors` vectors of features of which `lanes` are there.
template <int vectors, class T, class S>
NNZOO_INLINE void weigh_strip(const S* values, std::int64_t stride, std::int64_t n, const T* weights, T factor,
                              int lanes, T* out) {
  constexpr int width = Vec<T>::width;
  const bool whole = lanes == vectors * width;
  Vec<T> sum[vectors];
  for (int v = 0; v < vectors; ++v) sum[v] = Vec<T>::load(out + v * width) * Vec<T>::set(factor);
  for (std::int64_t k = 0; k < n; ++k) {
    const S* const value = values + k * stride;
    const Vec<T> weight = Vec<T>::set(weights[k]);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      sum[v] = fma(weight, whole ? Vec<T>::load(value + v * width) : Vec<T>::load(value + v * width, lanes), sum[v]);
    }
  }
  for (int v = 0; v < vectors; ++v) sum[v].store(out + v * width);
}

// The same for all features; `out` has room for whole vectors.
template <class T, class S>
void weigh(const S* values, std::int64_t stride, std::int64_t n, const T* weights, T factor, std::int64_t size,
           T* out) {
  constexpr int width = Vec<T>::width;
  std::int64_t d = 0;
  for (; d + 4 * width <= size; d += 4 * width)
    weigh_strip<4>(values + d, stride, n, weights, factor, 4 * width, out + d);
  for (; d < size; d += width) {
    const int lanes = static_cast<int>(size - d < width ? size - d : width);
    weigh_strip<1>(values + d, stride, n, weights, factor, lanes, out + d);
  }
}

// One query of one head.
template <class S>
class QueryRow {
 public:
  using T = Compute<S>;

  QueryRow(const AttentionInputs& in, std::int64_t b, std::int64_t h, std::int64_t i)
      : in_(in), head_(in, b, h), query_(i), place_(i + in.query_offset) {}

  std::int64_t position() const { return head_.first_row() + query_; }

  // Adds keys [begin, end) to a softmax: state[0] is the maximum so far, state[1] the sum, and from state[2] the
  // output.
  void add(std::int64_t begin, std::int64_t end, T* state) const {
    if (place_ - in_.before > begin) begin = place_ - in_.before;
    if (place_ + in_.after + 1 < end) end = place_ + in_.after + 1;
    if (begin >= end) return;
    Scratch scratch;
    T* const query = scratch.take<T>(round_up(in_.head_dim, Vec<T>::width));
    const T scale = static_cast<T>(in_.scale);
    for_each_vector<T>(in_.head_dim, [&](std::int64_t d, int lanes) {
      (Vec<T>::load(head_.query + query_ * in_.query_stride[2] + d, lanes) * Vec<T>::set(scale)).store(query + d);
    });
    for (; begin < end; begin += block) add_block(begin, end - begin < block ? end - begin : block, query, state);
  }

 private:
  static constexpr std::int64_t block = 256;

  void add_block(std::int64_t begin, std::int64_t n, const T* query, T* state) const {
    alignas(64) T scores[block];
    dot_products(head_.key + begin * in_.key_stride[2], in_.key_stride[2], n, query, in_.head_dim, scores);
    if (in_.mask_kind != MaskKind::none) add_mask(begin, n, scores);
    if (in_.slopes) add_slope(begin, n, scores);
    const T top = largest(scores, n, state[0]);
    // Without a visible key weights are exp(-inf - 0) = 0; a NaN, which no maximum shows, stays one.
    const Vec<T> shift = Vec<T>::set(top == -infinity<T> ? T(0) : top);
    Vec<T> sum = Vec<T>::zero();
    for_each_vector<T>(n, [&](std::int64_t k, int lanes) {
      const Vec<T> weight = exp(Vec<T>::load(scores + k, lanes) - shift);
      weight.store(scores + k, lanes);
      sum += select(first_lanes<T>(lanes), weight, Vec<T>::zero());
    });
    alignas(64) T factor[Vec<T>::width];
    exp(Vec<T>::set(state[0]) - shift).store(factor);
    state[0] = top;
    state[1] = state[1] * factor[0] + reduce_add(sum);
    weigh(head_.value + begin * in_.value_stride[2], in_.value_stride[2], n, scores, factor[0], in_.value_dim,
          state + 2);
  }

  static T largest(const T* scores, std::int64_t n, T top) {
    Vec<T> found = Vec<T>::set(top);
    for_each_vector<T>(n, [&](std::int64_t k, int lanes) {
      found = select(first_lanes<T>(lanes), max(Vec<T>::load(scores + k, lanes), found), found);
    });
    return reduce_max(found);
  }

  void add_mask(std::int64_t begin, std::int64_t n, T* scores) const {
    const std::int64_t* const s = in_.mask_stride;
    const std::int64_t start = head_.batch * s[0] + head_.head * s[1] + query_ * s[2] + begin * s[3];
    for (std::int64_t k = 0; k < n; ++k) {
      if (in_.mask_kind == MaskKind::additive) {
        scores[k] += static_cast<const T*>(in_.mask)[start + k * s[3]];
      } else if (!static_cast<const unsigned char*>(in_.mask)[start + k * s[3]]) {
        scores[k] = -infinity<T>;
      }
    }
  }

  void add_slope(std::int64_t begin, std::int64_t n, T* scores) const {
    const std::int64_t* const s = in_.slope_stride;
    const T slope = static_cast<const T*>(in_.slopes)[head_.batch * s[0] + head_.head * s[1]];
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int64_t distance = begin + k - place_;
      scores[k] -= slope * static_cast<T>(distance < 0 ? -distance : distance);
    }
  }

  const AttentionInputs& in_;
  const Head<S> head_;
  std::int64_t query_, place_;
};

// Adds up the parts of one query, `stride` apart, and writes its output.
template <class S, class T>
void combine_keys(const AttentionForward& args, T* parts, std::int64_t count, std::int64_t stride, std::int64_t row) {
  const AttentionInputs& in = args.inputs;
  T top = -infinity<T>, sum = 0;
  for (std::int64_t c = 0; c < count; ++c) {
    const T maximum = parts[c * stride];
    top = maximum > top || maximum != maximum ? maximum : top;
  }
  for (std::int64_t c = 0; c < count; ++c) {
    T* const part = parts + c * stride;
    alignas(64) T factor[Vec<T>::width];
    exp(Vec<T>::set(part[0]) - Vec<T>::set(top == -infinity<T> ? T(0) : top)).store(factor);
    part[0] = factor[0];
    sum += factor[0] * part[1];
  }
  const Vec<T> inverse = Vec<T>::set(sum == T(0) ? T(0) : T(1) / sum);
  for_each_vector<T>(in.value_dim, [&](std::int64_t d, int lanes) {
    Vec<T> total = Vec<T>::zero();
    for (std::int64_t c = 0; c < count; ++c) {
      total = fma(Vec<T>::set(parts[c * stride]), Vec<T>::load(parts + c * stride + 2 + d, lanes), total);
    }
    (total * inverse).store(static_cast<S*>(args.output) + row * in.value_dim + d, lanes);
  });
}

template <class S>
void forward_few_queries(const AttentionForward& args) {
  using T = Compute<S>;
  const AttentionInputs& in = args.inputs;
  const std::int64_t group = in.heads / in.kv_heads, rows = in.batch * in.heads * in.queries;
  const std::int64_t chunks = in.keys > keys_per_task ? ceil_div(in.keys, keys_per_task) : 1;
  const std::int64_t size = 2 + round_up(in.value_dim, Vec<T>::width);
  Scratch scratch;
  T* const parts = scratch.take<T>(rows * chunks * size);  // [row][chunk]
  parallel_for_dynamic(in.batch * in.kv_heads * chunks, useful_threads(in), [&](std::int64_t task) {
    const std::int64_t chunk = task % chunks, pair = task / chunks;
    const std::int64_t begin = chunk * keys_per_task,
                       end = begin + keys_per_task < in.keys ? begin + keys_per_task : in.keys;
    for (std::int64_t item = 0; item < group * in.queries; ++item) {
      const std::int64_t h = pair % in.kv_heads * group + item / in.queries;
      const QueryRow<S> row(in, pair / in.kv_heads, h, item % in.queries);
      T* const state = parts + (row.position() * chunks + chunk) * size;
      state[0] = -infinity<T>;
      for (std::int64_t i = 1; i < size; ++i) state[i] = T(0);
      row.add(begin, end, state);
    }
  });
  for (std::int64_t row = 0; row < rows; ++row) {
    combine_keys<S>(args, parts + row * chunks * size, chunks, size, row);
  }
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
