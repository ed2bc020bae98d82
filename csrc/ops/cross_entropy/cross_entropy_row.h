// The loss and the gradient of one row of classes.
#pragma once

#include "common/log_sum_exp.h"
#include "ops/cross_entropy/cross_entropy.h"

namespace nnzoo {
namespace NNZOO_ISA {

template <class S>
class CrossEntropyRow {
  using T = Compute<S>;

 public:
  explicit CrossEntropyRow(const CrossEntropy& call)
      : weight_(static_cast<const S*>(call.weight)),
        classes_(call.classes),
        hard_(static_cast<T>(1.0 - call.smoothing)),
        soft_(static_cast<T>(call.smoothing / static_cast<double>(call.classes))) {
    FourSums<T> sums;
    for_each_vector_of_four<T>(
        classes_, [&](int lane, std::int64_t i, int count) { sums.sum[lane] += kept_lanes(weight(i, count), count); });
    all_weights_ = sums.total();
  }

  T weight_of(std::int64_t c) const { return weight_ ? to_float(weight_[c]) : T(1); }

  T loss(const S* x, std::int64_t target, const LogSumExp<T>& row) const {
    T loss = hard_ * weight_of(target) * (row.log_sum - (to_float(x[target]) - row.largest));
    if (soft_ != T(0)) {
      loss += soft_ * weighted(x, row, [&](std::int64_t i, int count) { return weight(i, count); });
    }
    return loss;
  }

  T loss(const S* x, const S* probabilities, const LogSumExp<T>& row) const {
    return weighted(x, row, [&](std::int64_t i, int count) { return smoothed(probabilities, i, count); });
  }

  // g is the gradient of the row's loss.
  void gradient(const S* x, std::int64_t target, const LogSumExp<T>& row, T g, S* out) const {
    const T at_target = hard_ * weight_of(target), scale = g * (at_target + soft_ * all_weights_), off = soft_ * g;
    // 1 - p of the target is the sum of the others: as a difference it would lose its digits where p is near 1.
    const T others =
        off_target(x, row, 0, target, scale, off, out) + off_target(x, row, target + 1, classes_, scale, off, out);
    const T p = exp_of((to_float(x[target]) - row.largest) - row.log_sum);
    out[target] = from_float<S>(off * (all_weights_ * p - weight_of(target)) - g * at_target * others);
  }

  void gradient(const S* x, const S* probabilities, const LogSumExp<T>& row, T g, S* out) const {
    FourSums<T> sums;
    for_each_vector_of_four<T>(classes_, [&](int lane, std::int64_t i, int count) {
      sums.sum[lane] += kept_lanes(smoothed(probabilities, i, count), count);
    });
    const Vec<T> total = Vec<T>::set(sums.total()), grad = Vec<T>::set(g);
    for_each_vector<T>(classes_, [&](std::int64_t i, int count) {
      (grad * (total * softmax(x, row, i, count) - smoothed(probabilities, i, count))).store(out + i, count);
    });
  }

  void gradient_of_probabilities(const S* x, const LogSumExp<T>& row, T g, S* out) const {
    const Vec<T> scale = Vec<T>::set(g * hard_);
    for_each_vector<T>(classes_, [&](std::int64_t i, int count) {
      (scale * weight(i, count) * surprise(x, row, i, count)).store(out + i, count);
    });
  }

 private:
  static NNZOO_INLINE Vec<T> kept_lanes(Vec<T> v, int count) {
    return count == Vec<T>::width ? v : select(first_lanes<T>(count), v, Vec<T>::zero());
  }

  NNZOO_INLINE Vec<T> weight(std::int64_t i, int count) const {
    return weight_ ? Vec<T>::load(weight_ + i, count) : Vec<T>::set(T(1));
  }

  // weight * p'
  NNZOO_INLINE Vec<T> smoothed(const S* probabilities, std::int64_t i, int count) const {
    const Vec<T> p = fma(Vec<T>::set(hard_), Vec<T>::load(probabilities + i, count), Vec<T>::set(soft_));
    return weight(i, count) * p;
  }

  // -log(softmax)
  NNZOO_INLINE Vec<T> surprise(const S* x, const LogSumExp<T>& row, std::int64_t i, int count) const {
    return Vec<T>::set(row.log_sum) - (Vec<T>::load(x + i, count) - Vec<T>::set(row.largest));
  }

  // The gradients of classes that are not the target, begin to end, and the sum of their probabilities.
  T off_target(const S* x, const LogSumExp<T>& row, std::int64_t begin, std::int64_t end, T scale, T off,
               S* out) const {
    const Vec<T> s = Vec<T>::set(scale), o = Vec<T>::set(off);
    const bool spread = off != T(0);
    FourSums<T> sums;
    for_each_vector_of_four<T>(end - begin, [&](int lane, std::int64_t i, int count) {
      const Vec<T> p = softmax(x, row, begin + i, count);
      sums.sum[lane] += kept_lanes(p, count);
      (spread ? fnma(o, weight(begin + i, count), s * p) : s * p).store(out + begin + i, count);
    });
    return sums.total();
  }

  NNZOO_INLINE Vec<T> softmax(const S* x, const LogSumExp<T>& row, std::int64_t i, int count) const {
    return exp((Vec<T>::load(x + i, count) - Vec<T>::set(row.largest)) - Vec<T>::set(row.log_sum));
  }

  template <class Factor>
  NNZOO_INLINE T weighted(const S* x, const LogSumExp<T>& row, const Factor& factor) const {
    FourSums<T> sums;
    for_each_vector_of_four<T>(classes_, [&](int lane, std::int64_t i, int count) {
      sums.sum[lane] += kept_lanes(factor(i, count) * surprise(x, row, i, count), count);
    });
    return sums.total();
  }

  const S* const weight_;
  const std::int64_t classes_;
  const T hard_, soft_;
  T all_weights_;
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
