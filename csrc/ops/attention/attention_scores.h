// What forward and backward share: where a head's tensors lie, and the masked scores of a block of keys for a tile of
// queries. A tile keeps its queries in vector lanes: scores[key][query], so that maxima, sums and masks need no
// shuffles.
#pragma once

#include "common/parallel.h"
#include "common/random.h"
#include "common/vmath.h"
#include "ops/attention/attention.h"
#include "ops/attention/attention_ahead.h"
#include "ops/attention/attention_block.h"
#include "ops/attention/attention_query_tiles.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Keys of a block: its scores and the tile's panel of queries stay in the first-level cache.
template <class T>
constexpr std::int64_t key_block = 128 / Tile<T>::rows * Tile<T>::rows;

template <class T>
constexpr T infinity = static_cast<T>(__builtin_inf());

template <class S>
NNZOO_INLINE const S* at(const void* tensor, const std::int64_t (&stride)[3], std::int64_t batch, std::int64_t head) {
  return static_cast<const S*>(tensor) + batch * stride[0] + head * stride[1];
}

// One head of query and the head of key and value that it uses.
template <class S>
struct Head {
  const AttentionInputs& inputs;
  const S *query, *key, *value;
  std::int64_t batch, head;

  Head(const AttentionInputs& in, std::int64_t b, std::int64_t h)
      : inputs(in),
        query(at<S>(in.query, in.query_stride, b, h)),
        key(at<S>(in.key, in.key_stride, b, h / (in.heads / in.kv_heads))),
        value(at<S>(in.value, in.value_stride, b, h / (in.heads / in.kv_heads))),
        batch(b),
        head(h) {}

  // The position of the head's first query among those of all heads.
  std::int64_t first_row() const { return (batch * inputs.heads + head) * inputs.queries; }
};

// Whether tasks are whole heads, so that one core alone fetches a head's keys and values: where there are enough of
// them.
inline bool task_per_head(const AttentionInputs& in, int threads) { return in.batch * in.heads >= 16 * threads; }

// What a head needs of its inputs beside tile `index` of `tiles`: that tile's queries and an equal part of all keys.
template <class S>
void add_inputs(const Head<S>& head, const QueryTile& tile, std::int64_t index, std::int64_t tiles, Ahead<S>& ahead) {
  const AttentionInputs& in = head.inputs;
  const Range keys = split_range(in.keys, static_cast<int>(index), static_cast<int>(tiles));
  const std::int64_t n = keys.end - keys.begin;
  ahead.add(head.query + tile.first * in.query_stride[2], in.query_stride[2], tile.count, in.head_dim);
  ahead.add(head.key + keys.begin * in.key_stride[2], in.key_stride[2], n, in.head_dim);
  ahead.add(head.value + keys.begin * in.value_stride[2], in.value_stride[2], n, in.value_dim);
}

// The threads worth waking: each gets at least 5 us of multiply-adds.
inline int useful_threads(const AttentionInputs& in) {
  const std::int64_t work = in.batch * in.heads * in.queries * in.keys * (in.head_dim + in.value_dim);
  return clamp_threads(in.threads, work >> 18);
}

// `count` rows as the compute type: in place, or converted into `memory`.
template <class T, class S>
NNZOO_INLINE const T* rows_in_place(const S* source, std::int64_t stride, std::int64_t count, std::int64_t size,
                                    T* memory, std::int64_t* stride_out) {
  if constexpr (sizeof(S) == sizeof(T)) {
    *stride_out = stride;
    return source;
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      for_each_vector<T>(size, [&](std::int64_t j, int lanes) {
        Vec<T>::load(source + i * stride + j, lanes).store(memory + i * size + j, lanes);
      });
    }
    *stride_out = size;
    return memory;
  }
}

// panel[feature][query] = source[query][feature] * factor; lanes beyond `count` are 0.
template <int W, class T, class S>
void pack_queries(const S* source, std::int64_t stride, int count, std::int64_t size, T factor, T* panel) {
  Strided<S>{source, stride, 1}.template pack<W>(0, count, 0, size, panel);
  const Vec<T> by = Vec<T>::set(factor);
  for (std::int64_t i = 0; i < size * W; i += Vec<T>::width) (Vec<T>::load(panel + i) * by).store(panel + i);
}

// out[query][feature] = panel[feature][query] for `count` queries.
template <int W, class T, class S>
void store_transposed(const T* panel, std::int64_t count, std::int64_t size, S* out) {
  if constexpr (sizeof(S) == sizeof(T)) {
    transpose(panel, W, size, count, out, size);
  } else {
    Scratch scratch;
    T* const rows = scratch.take<T>(count * size);
    transpose(panel, W, size, count, rows, size);
    for_each_vector<T>(count * size,
                       [&](std::int64_t i, int lanes) { Vec<T>::load(rows + i, lanes).store(out + i, lanes); });
  }
}

// The masked scores of one tile of up to `vectors` vectors of queries, a block of keys at a time.
template <class S, int vectors>
class ScoreTile {
 public:
  using T = Compute<S>;
  static constexpr int width = Vec<T>::width, W = vectors * width;

  // `ahead` is fetched beside the products.
  ScoreTile(const Head<S>& head, const QueryTile& tile, const Ahead<S>& ahead, Scratch& scratch)
      : head_(head), in_(head.inputs), tile_(tile), ahead_(ahead), first_(tile.first), count_(tile.count) {
    panel_ = scratch.take<T>(in_.head_dim * W);
    if (sizeof(S) != sizeof(T)) staged_ = scratch.take<T>(key_block<T> * in_.head_dim);
    if (in_.mask_kind != MaskKind::none) bias_ = scratch.take<T>(key_block<T> * W);
    if (in_.mask_kind == MaskKind::boolean) mask_rows_ = scratch.take<T>(key_block<T> * W);
    pack_queries<W>(head.query + first_ * in_.query_stride[2], in_.query_stride[2], count_, in_.head_dim,
                    static_cast<T>(in_.scale), panel_);
  }

  // scores[key - begin][query] for n keys, -inf where hidden; false, with nothing written, if no key is visible.
  bool operator()(std::int64_t begin, std::int64_t n, T* scores) {
    if (in_.mask_kind != MaskKind::none && !load_bias(begin, n)) return false;
    std::int64_t stride;
    const T* keys = this->keys(begin, n, &stride);
    product<T, vectors>(n, KeyRows<T>{{in_.head_dim, level(begin)}}, Left<T>{keys, stride, 1}, panel_, scores,
                        [this] { ahead_.fetch(); });
    if (in_.mask_kind != MaskKind::none) {
      for (std::int64_t i = 0; i < n * W; i += width) {
        (Vec<T>::load(scores + i) + Vec<T>::load(bias_ + i)).store(scores + i);
      }
    }
    if (in_.slopes) add_slopes(begin, n, scores);
    if (begin + n - 1 > tile_.diagonal + in_.after) hide_later_keys(begin, n, scores);
    if (begin < tile_.diagonal + count_ - 1 - in_.before) hide_earlier_keys(begin, n, scores);
    return true;
  }

  // Query lane q sees no key behind begin + level + q.
  std::int64_t level(std::int64_t begin) const { return tile_.diagonal + in_.after - begin; }

  // Keys [begin, begin + n) as rows of the compute type.
  const T* keys(std::int64_t begin, std::int64_t n, std::int64_t* stride) {
    const std::int64_t step = in_.key_stride[2];
    return rows_in_place<T>(head_.key + begin * step, step, n, in_.head_dim, staged_, stride);
  }

  // factors[key - begin][query]: what dropout multiplies the weights with.
  void dropout_factors(std::int64_t begin, std::int64_t n, T* factors) const {
    const Dropout dropout(in_.dropout_p, static_cast<std::uint64_t>(*in_.seed));
    const std::uint64_t stride = static_cast<std::uint64_t>(in_.keys);
    for (std::int64_t k = 0; k < n; ++k) {
      for (int j = 0; j < vectors; ++j) {
        const std::int64_t row = head_.first_row() + first_ + j * width;
        const std::uint64_t index = static_cast<std::uint64_t>(row * in_.keys + begin + k);
        dropout.factors<T>(index, stride).store(factors + k * W + j * width);
      }
    }
  }

 private:
  bool load_bias(std::int64_t begin, std::int64_t n) {
    const std::int64_t* s = in_.mask_stride;
    const std::int64_t start = head_.batch * s[0] + head_.head * s[1] + first_ * s[2] + begin * s[3];
    const std::int64_t rows = s[2] == 0 ? 1 : count_;
    Strided<T> source{static_cast<const T*>(in_.mask) + start, s[2], s[3]};
    if (in_.mask_kind == MaskKind::boolean) {
      const unsigned char* mask = static_cast<const unsigned char*>(in_.mask) + start;
      bool any = false;
      for (std::int64_t i = 0; i < rows; ++i, mask += s[2]) any |= read_booleans(mask, s[3], n, mask_rows_ + i * n);
      if (!any) return false;
      source = {mask_rows_, n, 1};
    }
    if (s[2] == 0) {
      for (std::int64_t k = 0; k < n; ++k) {
        const Vec<T> same = Vec<T>::set(*source.at(0, k));
        for (int j = 0; j < W; j += width) same.store(bias_ + k * W + j);
      }
    } else {
      source.template pack<W>(0, count_, 0, n, bias_);
    }
    return true;
  }

  // A row of a bool mask as what is added to the scores; whether any element is true.
  static bool read_booleans(const unsigned char* mask, std::int64_t stride, std::int64_t n, T* row) {
    unsigned char any = 0;
    for (std::int64_t k = 0; k < n; ++k) {
      const unsigned char visible = mask[k * stride];
      any |= visible;
      row[k] = visible ? T(0) : -infinity<T>;
    }
    return any != 0;
  }

  // Applies change(keys_past, lane, score) to the scores of keys [from, from + n): a key is `zero` plus `keys_past`.
  template <class Change>
  NNZOO_INLINE void for_each_place(std::int64_t from, std::int64_t n, std::int64_t zero, T* scores,
                                   const Change& change) const {
    alignas(64) T lane[W];
    for (int i = 0; i < W; ++i) lane[i] = T(i);
    for (std::int64_t k = 0; k < n; ++k) {
      const Vec<T> past = Vec<T>::set(static_cast<T>(from + k - zero));
      for (int j = 0; j < W; j += width) {
        T* const score = scores + k * W + j;
        change(past, Vec<T>::load(lane + j), Vec<T>::load(score)).store(score);
      }
    }
  }

  // What lane 0 sees of either end is taken off as an integer: a place may have more digits than T.
  void hide_later_keys(std::int64_t begin, std::int64_t n, T* scores) const {
    const std::int64_t last_shown = tile_.diagonal + in_.after, skipped = last_shown + 1 - begin;
    const std::int64_t from = skipped > 0 ? skipped : 0;
    const Vec<T> hidden = Vec<T>::set(-infinity<T>);
    for_each_place(begin + from, n - from, last_shown, scores + from * W,
                   [&](Vec<T> past, Vec<T> lane, Vec<T> score) { return select(lane < past, hidden, score); });
  }

  void hide_earlier_keys(std::int64_t begin, std::int64_t n, T* scores) const {
    const std::int64_t first_shown = tile_.diagonal - in_.before, touched = first_shown + count_ - 1 - begin;
    const Vec<T> hidden = Vec<T>::set(-infinity<T>);
    for_each_place(begin, touched < n ? touched : n, first_shown, scores,
                   [&](Vec<T> past, Vec<T> lane, Vec<T> score) { return select(past < lane, hidden, score); });
  }

  void add_slopes(std::int64_t begin, std::int64_t n, T* scores) const {
    const std::int64_t place = head_.batch * in_.slope_stride[0] + head_.head * in_.slope_stride[1];
    const Vec<T> slope = Vec<T>::set(-static_cast<const T*>(in_.slopes)[place]);
    for_each_place(begin, n, tile_.diagonal, scores, [&](Vec<T> past, Vec<T> lane, Vec<T> score) {
      const Vec<T> distance = past - lane;
      return fma(slope, max(distance, neg(distance)), score);
    });
  }

  const Head<S>& head_;
  const AttentionInputs& in_;
  const QueryTile& tile_;
  Ahead<S> ahead_;
  std::int64_t first_;
  int count_;
  T *panel_, *staged_ = nullptr, *bias_ = nullptr, *mask_rows_ = nullptr;
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
