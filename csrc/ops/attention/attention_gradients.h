// What the backward kernels share: for a tile of queries, the weights and the gradient of the scores, block by block.
#pragma once

#include "ops/attention/attention_scores.h"

namespace nnzoo {
namespace NNZOO_ISA {

// What the forward pass left and what came back, for the backward of `inputs`.
struct Upstream {
  const void *output, *grad_output, *statistics;
};

// A query's largest weight is exp(-log_of_sum), here above 0.8.
template <class T>
constexpr T nearly_one_hot = T(0.22);

// out[query, key] += grads[key][query] * factor, each dimension summed where its stride is 0, for n <= key_block keys.
// `turned` has room for `count` rows of n.
template <class T, int W>
void add_to_mask(const T* grads, std::int64_t n, int count, T factor, std::int64_t query_stride,
                 std::int64_t key_stride, T* out, T* turned) {
  transpose(grads, W, n, count, turned, n);
  for (int q = 0; q < count; ++q, turned += n, out += query_stride) {
    Vec<T> sum = Vec<T>::zero();
    for_each_vector<T>(n, [&](std::int64_t k, int lanes) {
      const Vec<T> grad = Vec<T>::load(turned + k, lanes) * Vec<T>::set(factor);
      if (key_stride != 0) {
        (Vec<T>::load(out + k, lanes) + grad).store(out + k, lanes);
      } else {
        sum += grad;
      }
    });
    if (key_stride == 0) *out += reduce_add(sum);
  }
}

template <class S, int vectors>
class GradientTile {
 public:
  using T = Compute<S>;
  static constexpr int width = Vec<T>::width, W = vectors * width;

  // After compute(), for key `begin + k` and query lane q: weights[k][q] are the forward pass's, with dropout applied,
  // and grads[k][q] is the gradient of the score times `factor`.
  T *weights, *grads;

  GradientTile(const Head<S>& head, const Upstream& upstream, const QueryTile& tile, const Ahead<S>& ahead, T factor,
               Scratch& scratch)
      : weights(scratch.take<T>(key_block<T> * W)),
        grads(scratch.take<T>(key_block<T> * W)),
        scores_(head, tile, ahead, scratch),
        head_(head),
        in_(head.inputs),
        keys_(tile.end - tile.begin) {
    const int count = tile.count;
    const std::int64_t size = in_.value_dim, row = head.first_row() + tile.first;
    const S* const output = static_cast<const S*>(upstream.output) + row * size;
    const S* const grad = static_cast<const S*>(upstream.grad_output) + row * size;
    panel_ = scratch.take<T>(size * W);
    pack_queries<W>(grad, size, count, size, factor, panel_);
    if (sizeof(S) != sizeof(T)) staged_ = scratch.take<T>(key_block<T> * size);
    if (in_.dropout_p > 0) factors_ = scratch.take<T>(key_block<T> * W);
    const T* const statistics = static_cast<const T*>(upstream.statistics);
    bool one_hot = false;
    for (int i = 0; i < W; ++i) {
      // A lane without a query has weights exp(0 - inf) = 0.
      maximum_[i] = i < count ? statistics[row + i] : infinity<T>;
      log_[i] = i < count ? statistics[in_.batch * in_.heads * in_.queries + row + i] : T(0);
      one_hot |= maximum_[i] != infinity<T> && log_[i] < nearly_one_hot<T>;
      mean_[i] = i < count ? factor * dot(output + i * size, grad + i * size, size) : T(0);
      correction_[i] = T(0);
    }
    if (!one_hot || keys_ <= key_block<T>) return;  // compute() sees every key of one block
    for (std::int64_t begin = tile.begin; begin < tile.end; begin += key_block<T>) {
      const std::int64_t n = tile.end - begin < key_block<T> ? tile.end - begin : key_block<T>;
      if (weigh(begin, n)) add_to_correction(n);
    }
  }

  // False, with nothing computed, if no key of [begin, begin + n) is visible.
  bool compute(std::int64_t begin, std::int64_t n) {
    if (!weigh(begin, n)) return false;
    if (keys_ <= key_block<T>) add_to_correction(n);
    for (int j = 0; j < W; j += width) {
      const Vec<T> mean = Vec<T>::load(mean_ + j), correction = Vec<T>::load(correction_ + j);
      for (std::int64_t i = j; i < n * W; i += W) {
        const Vec<T> centred = (Vec<T>::load(grads + i) - mean) - correction;
        (Vec<T>::load(weights + i) * centred).store(grads + i);
      }
    }
    if (factors_) {
      for (std::int64_t i = 0; i < n * W; i += width) {
        (Vec<T>::load(weights + i) * Vec<T>::load(factors_ + i)).store(weights + i);
      }
    }
    return true;
  }

  std::int64_t level(std::int64_t begin) const { return scores_.level(begin); }
  const T* keys(std::int64_t begin, std::int64_t n, std::int64_t* stride) { return scores_.keys(begin, n, stride); }

 private:
  // The weights before dropout, and their gradients.
  bool weigh(std::int64_t begin, std::int64_t n) {
    if (!scores_(begin, n, weights)) return false;
    for (int j = 0; j < vectors; ++j) {
      const Vec<T> maximum = Vec<T>::load(maximum_ + j * width), log_of_sum = Vec<T>::load(log_ + j * width);
      for (std::int64_t k = 0; k < n; ++k) {
        T* const weight = weights + k * W + j * width;
        exp((Vec<T>::load(weight) - maximum) - log_of_sum).store(weight);
      }
    }
    std::int64_t stride;
    const S* const value = head_.value + begin * in_.value_stride[2];
    const T* const values = rows_in_place<T>(value, in_.value_stride[2], n, in_.value_dim, staged_, &stride);
    product<T, vectors>(n, KeyRows<T>{{in_.value_dim, level(begin)}}, Left<T>{values, stride, 1}, panel_, grads, [] {});
    if (factors_) {
      scores_.dropout_factors(begin, n, factors_);
      for (std::int64_t i = 0; i < n * W; i += width) {
        (Vec<T>::load(grads + i) * Vec<T>::load(factors_ + i)).store(grads + i);
      }
    }
    return true;
  }

  void add_to_correction(std::int64_t n) {
    for (int j = 0; j < W; j += width) {
      const Vec<T> mean = Vec<T>::load(mean_ + j);
      Vec<T> sum = Vec<T>::load(correction_ + j);
      for (std::int64_t i = j; i < n * W; i += W) {
        sum = fma(Vec<T>::load(weights + i), Vec<T>::load(grads + i) - mean, sum);
      }
      sum.store(correction_ + j);
    }
  }

  static T dot(const S* a, const S* b, std::int64_t n) {
    Vec<T> sum = Vec<T>::zero();
    for_each_vector<T>(
        n, [&](std::int64_t i, int lanes) { sum = fma(Vec<T>::load(a + i, lanes), Vec<T>::load(b + i, lanes), sum); });
    return reduce_add(sum);
  }

  ScoreTile<S, vectors> scores_;
  const Head<S>& head_;
  const AttentionInputs& in_;
  const std::int64_t keys_;
  T *panel_, *staged_ = nullptr, *factors_ = nullptr;
  alignas(64) T maximum_[W];
  alignas(64) T log_[W];
  // The softmax's derivative subtracts from each weight's gradient their mean, sum of weight * gradient over the keys.
  // It equals dot(output, grad_output); but where a weight is nearly 1 the difference is so small that the mean's
  // rounding (to `dtype`, in the output) would be all of it. There `correction_` is the mean of the differences.
  alignas(64) T mean_[W];
  alignas(64) T correction_[W];
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
