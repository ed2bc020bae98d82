// How each reduction passes a target's gradient on to one of its messages: from the message itself and from rows of the
// target that are found once, by a walk over all its messages.
#pragma once

#include "common/vmath.h"
#include "ops/gather_scatter/tile.h"

namespace nnzoo {
namespace NNZOO_ISA {

enum class Passing {
  linear,   // sum, mean: the same whatever the message is
  extreme,  // max, min: an equal part of the gradient to each message that attains out
  product,  // mul: the product of the others; with one zero among the messages, only that one gets any
  moment,   // var, std: in proportion to the distance from the mean
  softmax,
};

template <Passing how_>
struct PassingTag {
  static constexpr Passing how = how_;
};

template <class Function>
NNZOO_INLINE void dispatch_passing(Reduce reduce, const Function& run) {
  switch (reduce) {
    case Reduce::sum:
    case Reduce::mean:
      return run(PassingTag<Passing::linear>());
    case Reduce::max:
    case Reduce::min:
      return run(PassingTag<Passing::extreme>());
    case Reduce::mul:
      return run(PassingTag<Passing::product>());
    case Reduce::var:
    case Reduce::std:
      return run(PassingTag<Passing::moment>());
    case Reduce::softmax:
      return run(PassingTag<Passing::softmax>());
  }
}

NNZOO_INLINE int rows_kept(Reduce reduce) {
  if (reduce == Reduce::sum || reduce == Reduce::mean) return 0;
  return reduce == Reduce::max || reduce == Reduce::min ? 1 : 2;
}

constexpr bool reads_out(Passing how) { return how == Passing::extreme || how == Passing::softmax; }

// Of one reduction, each [num_targets, features]; a second kept row lies `values` behind the first in `share`.
template <class S>
struct Rows {
  const S *grad, *out;
  Compute<S>* share;
  std::int64_t values;
};

template <class T, class Shape>
struct Kept {
  FeatureTile<T, Shape> first, second;
};

template <class T>
NNZOO_INLINE Vec<T> one_if(Mask<T> mask) {
  return select(mask, Vec<T>::set(T(1)), Vec<T>::zero());
}

// What a message receives, of one vector; `at` is the vector's place in the target's rows.
template <Passing how, class T, class Shape, class S>
NNZOO_INLINE Vec<T> received(const Rows<S>& rows, Vec<T> message, std::int64_t at, const FeaturePlace& place) {
  const Vec<T> first = load_vector<Shape, T>(rows.share + at, place);
  if constexpr (how == Passing::extreme) {
    return one_if(message == load_vector<Shape, T>(rows.out + at, place)) * first;
  } else {
    const Vec<T> second = load_vector<Shape, T>(rows.share + rows.values + at, place);
    if constexpr (how == Passing::product) {  // grad * the product of what isn't 0, and the number of zeros
      const Vec<T> zero = Vec<T>::zero(), one = Vec<T>::set(T(1));
      const Mask<T> is_zero = message == zero;
      const Vec<T> others = select(is_zero, first, first / select(is_zero, one, message));
      return select(second == one_if(is_zero), others, zero);
    } else if constexpr (how == Passing::moment) {  // the mean, and the gradient of a distance over that distance
      return second * (message - first);
    } else {  // the largest message, and grad / the sum of exponentials
      const Vec<T> out = load_vector<Shape, T>(rows.out + at, place);
      return second * exp(message - first) * (Vec<T>::set(T(1)) + (message - out));
    }
  }
}

// The two kept rows of one tile, of what isn't an extreme; `walk(visit)` calls `visit(i, message)` for each vector of
// each of the target's messages.
template <Passing how, class T, class Shape, class S, class Walk>
NNZOO_INLINE Kept<T, Shape> gather_kept(const Rows<S>& rows, std::int64_t at, const FeaturePlace& place, Reduce reduce,
                                        T size, const Walk& walk) {
  const S* const grad_row = rows.grad + at - place.feature;
  FeatureTile<T, Shape> grad = load_tile<Shape, T>(grad_row, place);
  Kept<T, Shape> kept{filled<Shape>(T(0)), filled<Shape>(T(0))};
  if constexpr (how == Passing::product) {
    kept.first = grad;
    walk([&](int i, Vec<T> message) {
      const Vec<T> is_zero = one_if(message == Vec<T>::zero());
      kept.second.v[i] += is_zero;
      kept.first.v[i] *= message + is_zero;
    });
  } else if constexpr (how == Passing::moment) {
    kept.first = shifted_mean<T, Shape>(size, walk);
    if (reduce == Reduce::var) {
      for (int i = 0; i < Shape::vectors; ++i) kept.second.v[i] = grad.v[i] * Vec<T>::set(2 / size);
    } else {
      walk([&](int i, Vec<T> message) {
        const Vec<T> distance = message - kept.first.v[i];
        kept.second.v[i] = fma(distance, distance, kept.second.v[i]);
      });
      for (int i = 0; i < Shape::vectors; ++i) {
        const Vec<T> variance = kept.second.v[i] / Vec<T>::set(size);
        const Vec<T> slope = grad.v[i] / (sqrt(variance) * Vec<T>::set(size));
        kept.second.v[i] = select(variance <= Vec<T>::set(T(kLeastVariance)), Vec<T>::zero(), slope);
      }
    }
  } else {
    kept.first = filled<Shape>(-T(__builtin_inf()));
    walk([&](int i, Vec<T> message) {
      kept.first.v[i] = select(is_nan(message), message, max(message, kept.first.v[i]));
    });
    walk([&](int i, Vec<T> message) { kept.second.v[i] += exp(message - kept.first.v[i]); });
    for (int i = 0; i < Shape::vectors; ++i) kept.second.v[i] = grad.v[i] / kept.second.v[i];
  }
  return kept;
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
