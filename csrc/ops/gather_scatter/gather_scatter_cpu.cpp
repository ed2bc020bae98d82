// Forward by registers: a row's tile of features stays in registers while the row's edges are walked.
#include "common/vmath.h"
#include "ops/gather_scatter/messages.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

struct Max {
  template <class T>
  static NNZOO_INLINE T identity() {
    return -T(__builtin_inf());
  }
  template <class T>
  static NNZOO_INLINE Vec<T> apply(Vec<T> best, Vec<T> message) {
    return select(is_nan(message), message, max(message, best));
  }
};

struct Min {
  template <class T>
  static NNZOO_INLINE T identity() {
    return T(__builtin_inf());
  }
  template <class T>
  static NNZOO_INLINE Vec<T> apply(Vec<T> best, Vec<T> message) {
    return select(is_nan(message), message, min(message, best));
  }
};

template <class S, WeightKind kind>
class Forward {
 public:
  using T = Compute<S>;
  static constexpr bool weighted = kind != WeightKind::none;

  explicit Forward(const GatherScatterForward& args)
      : args_(args),
        x_(static_cast<const S*>(args.x)),
        weights_{static_cast<const S*>(args.weight), args.heads},
        out_(static_cast<S*>(args.out)),
        distance_(args.walk == Walk::tiled ? Distance::of_rows(args.features * std::int64_t(sizeof(S)))
                                           : Distance{0, 0}) {}

  void run(std::int64_t span) {
    streamed_ = streams_rows<S>(out_, args_.in.num_groups * args_.num_reduces, args_.features, span);
    bool plain = true;
    for (int r = 0; r < args_.num_reduces; ++r) plain = plain && args_.reduces[r] <= Reduce::min;
    plain ? walk<kMostVectors>(span) : walk<1>(span);
  }

 private:
  // Wide tiles are for the plain reductions: the others have arithmetic enough, and a line of a row is read once
  // anyway.
  template <int most>
  void walk(std::int64_t span) const {
    for_each_row_tile<T, most>(args_.in, args_.features, span, weighted, args_.threads, args_.valid,
                               [&](auto shape, const FeaturePlace& place, std::int64_t target) {
                                 for (int r = 0; r < args_.num_reduces; ++r)
                                   reduce_row<most == 1>(shape, place, target, r);
                               });
  }

  template <bool further, class Shape>
  NNZOO_INLINE void reduce_row(Shape, const FeaturePlace& place, std::int64_t target, int r) const {
    S* const out = out_ + (r * args_.in.num_groups + target) * args_.features;
    const std::int32_t size = args_.in.start[target + 1] - args_.in.start[target];
    FeatureTile<T, Shape> result = filled<Shape>(T(args_.reduces[r] == Reduce::mul ? 1 : 0));
    if (size > 0) {
      switch (args_.reduces[r]) {
        case Reduce::sum:
          add(place, target, result);
          break;
        case Reduce::mean:
          mean(place, target, result);
          break;
        case Reduce::max:
          extreme<Max>(place, target, result);
          break;
        case Reduce::min:
          extreme<Min>(place, target, result);
          break;
        default:
          if constexpr (further) reduce_row_further(args_.reduces[r], place, target, result);
      }
    }
    store_tile<Shape>(result, out, place, streamed_);
  }

  template <class Shape>
  NNZOO_INLINE void add(const FeaturePlace& place, std::int64_t target, FeatureTile<T, Shape>& sum) const {
    add_rows<Shape, weighted>(
        args_.in, target, x_, args_.x_stride, distance_, weights_, place,
        [&](std::int32_t, std::int32_t edge, int i) { return weights_.template at<Shape>(edge, place, i); }, sum);
  }

  template <class Shape>
  NNZOO_INLINE void mean(const FeaturePlace& place, std::int64_t target, FeatureTile<T, Shape>& result) const {
    const std::int32_t size = args_.in.start[target + 1] - args_.in.start[target];
    add(place, target, result);
#pragma GCC unroll 8
    for (int i = 0; i < Shape::vectors; ++i) result.v[i] = result.v[i] / Vec<T>::set(T(size));
  }

  template <class Shape>
  NNZOO_INLINE void reduce_row_further(Reduce reduce, const FeaturePlace& place, std::int64_t target,
                                       FeatureTile<T, Shape>& result) const {
    switch (reduce) {
      case Reduce::mul:
        return for_each_message<Shape>(place, target, [&](int i, Vec<T> message) { result.v[i] *= message; });
      case Reduce::softmax:
        return softmax(place, target, result);
      default:
        variance(place, target, result);
        if (reduce == Reduce::std) {
          const Vec<T> least = Vec<T>::set(T(kLeastVariance));
          for (int i = 0; i < Shape::vectors; ++i) {
            result.v[i] = select(result.v[i] <= least, Vec<T>::zero(), sqrt(result.v[i]));
          }
        }
    }
  }

  // Rows are walked twice, the second time from the cache where the group is not a hub.
  template <class Shape>
  NNZOO_INLINE void variance(const FeaturePlace& place, std::int64_t target, FeatureTile<T, Shape>& result) const {
    const std::int32_t size = args_.in.start[target + 1] - args_.in.start[target];
    const auto walk = [&](const auto& visit) { for_each_message<Shape>(place, target, visit); };
    const FeatureTile<T, Shape> middle = shifted_mean<T, Shape>(T(size), walk);
    walk([&](int i, Vec<T> message) {
      const Vec<T> distance = message - middle.v[i];
      result.v[i] = fma(distance, distance, result.v[i]);
    });
    for (int i = 0; i < Shape::vectors; ++i) result.v[i] = result.v[i] / Vec<T>::set(T(size));
  }

  // The mean of the distances to the largest message: equal messages give exactly that, and a large one costs small
  // differences no digits.
  template <class Shape>
  NNZOO_INLINE void softmax(const FeaturePlace& place, std::int64_t target, FeatureTile<T, Shape>& result) const {
    FeatureTile<T, Shape> top = filled<Shape>(Max::template identity<T>()), total = filled<Shape>(T(0));
    extreme<Max>(place, target, top);
    for_each_message<Shape>(place, target, [&](int i, Vec<T> message) {
      const Vec<T> distance = message - top.v[i], share = exp(distance);
      total.v[i] += share;
      // A distance that overflowed has no share either, and the message itself says whether that makes 0 or NaN.
      const Vec<T> term = select(share == Vec<T>::zero(), message, distance);
      result.v[i] = fma(share, term, result.v[i]);
    });
    for (int i = 0; i < Shape::vectors; ++i) result.v[i] = top.v[i] + result.v[i] / total.v[i];
  }

  template <class Op, class Shape>
  NNZOO_INLINE void extreme(const FeaturePlace& place, std::int64_t target, FeatureTile<T, Shape>& best) const {
    best = filled<Shape>(Op::template identity<T>());
    for_each_message<Shape>(place, target, [&](int i, Vec<T> message) { best.v[i] = Op::apply(best.v[i], message); });
  }

  template <class Shape, class Visit>
  NNZOO_INLINE void for_each_message(const FeaturePlace& place, std::int64_t target, const Visit& visit) const {
    Messages<S, kind>{args_.in, x_, args_.x_stride, weights_, distance_}.template for_each<Shape>(place, target, visit);
  }

  const GatherScatterForward& args_;
  const S* x_;
  Weights<S, kind> weights_;
  S* out_;
  Distance distance_;
  bool streamed_ = false;
};

}  // namespace

void gather_scatter_forward(const GatherScatterForward& args) {
  *args.valid = true;
  dispatch_dtype(args.dtype, [&](auto type) {
    using S = typename decltype(type)::Type;
    dispatch_weights(args.weight, args.features, args.heads,
                     [&](auto weights, std::int64_t span) { Forward<S, decltype(weights)::kind>(args).run(span); });
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
