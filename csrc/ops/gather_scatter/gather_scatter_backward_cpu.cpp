// Backward: passes over rows or edges that no two threads share.
//   kept rows    over the targets: what the gradient of a message needs to know of the other messages
//   grad_x       over the sources: the rows of grad (or kept rows) at the other ends of a source's edges
//   grad_weight  over the edges: the dot product of x[source] and what the message receives; of a sum or mean with
//                heads that fit a tile, the pass over the sources finds it on its way
#include "ops/gather_scatter/messages.h"
#include "ops/gather_scatter/passing.h"
#include "ops/gather_scatter/ties.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S, WeightKind kind>
class Backward {
 public:
  using T = Compute<S>;
  static constexpr bool weighted = kind != WeightKind::none;

  explicit Backward(const GatherScatterBackward& args)
      : args_(args),
        grad_(static_cast<const S*>(args.grad)),
        x_(static_cast<const S*>(args.x)),
        weights_{static_cast<const S*>(args.weight), args.heads},
        out_(static_cast<const S*>(args.out)),
        share_(static_cast<T*>(args.share)),
        values_(args.in.num_groups * args.features),
        distance_(Distance::of_rows(args.features * std::int64_t(sizeof(S)))) {}

  void run(std::int64_t span) {
    Scratch scratch;
    if (any(Reduce::mean)) find_parts(scratch.take<T>(args_.in.num_groups));
    streamed_ = args_.grad_x && streams_rows<S>(args_.grad_x, args_.out_of.num_groups, args_.features, span);
    span_ = span;
    if (args_.grad_x) reserve_ties(scratch);
    for (int r = 0; r < args_.num_reduces && *args_.valid; ++r) {
      dispatch_passing(args_.reduces[r], [&](auto passing) {
        constexpr Passing how = decltype(passing)::how;
        if constexpr (how == Passing::extreme) {
          find_ties(r);
        } else if constexpr (how != Passing::linear) {
          find_kept<how>(r);
        }
      });
    }
    const bool together = args_.grad_x && args_.grad_weight && finds_weights_with_x(span);
    bool plain = true;
    for (int r = 0; r < args_.num_reduces; ++r) plain = plain && args_.reduces[r] <= Reduce::min;
    if (args_.grad_x && *args_.valid) plain ? find_grad_x<kMostVectors>(span, together) : find_grad_x<1>(span, false);
    if (args_.grad_weight && !together && *args_.valid) find_grad_weight(span);
  }

 private:
  // The rows of reduction r: [num_targets, features] each.
  Rows<S> rows(int r) const {
    int before = 0;
    for (int i = 0; i < r; ++i) before += rows_kept(args_.reduces[i]);
    return {grad_ + r * values_, out_ + r * values_, share_ + before * values_, values_};
  }
  static bool is_extreme(Reduce reduce) { return reduce == Reduce::max || reduce == Reduce::min; }

  // The extremes among the first `count` reductions.
  int extremes(int count) const {
    int found = 0;
    for (int r = 0; r < count; ++r) found += is_extreme(args_.reduces[r]);
    return found;
  }
  bool any(Reduce reduce) const {
    for (int r = 0; r < args_.num_reduces; ++r) {
      if (args_.reduces[r] == reduce) return true;
    }
    return false;
  }

  void reserve_ties(Scratch& scratch) {
    const int count = extremes(args_.num_reduces);
    ties_.of_head = (span_ + Vec<T>::width - 1) / Vec<T>::width;
    ties_.of_edge = args_.features / span_ * ties_.of_head;
    if (count > 0) ties_.bits = scratch.take<std::uint16_t>(count * args_.in.num_edges * ties_.of_edge);
  }
  Ties ties(int r) const {
    Ties own = ties_;
    if (own.bits) own.bits += extremes(r) * args_.in.num_edges * ties_.of_edge;
    return own;
  }

  // What add_rows fetches ahead of a mean's factors.
  struct Parts {
    const Weights<S, kind>& weights;
    const T* parts;

    template <class Level>
    NNZOO_INLINE void prefetch(std::int32_t target, std::int32_t edge, const FeaturePlace& place) const {
      Level::fetch(parts + target);
      weights.template prefetch<Level>(edge, place);
    }
  };

  // What part of a mean's gradient goes to each message: [num_targets].
  void find_parts(T* parts) {
    parallel_for(
        args_.in.num_groups, args_.threads,
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t target = begin; target < end; ++target) parts[target] = T(1) / size_of(target);
        },
        Plan::kValuesPerThread);
    parts_ = parts;
  }

  T size_of(std::int64_t target) const { return T(args_.in.start[target + 1] - args_.in.start[target]); }

  template <Passing how>
  void find_kept(int r) const {
    const Rows<S> rows = this->rows(r);
    for_each_row_tile<T, 1>(args_.in, args_.features, span_, weighted, args_.threads, args_.valid,
                            [&](auto shape, const FeaturePlace& place, std::int64_t target) {
                              using Shape = decltype(shape);
                              const std::int64_t at = target * args_.features + place.feature;
                              Kept<T, Shape> kept = gather_kept<how, T, Shape>(
                                  rows, at, place, args_.reduces[r], size_of(target), [&](const auto& visit) {
                                    messages().template for_each<Shape>(place, target, visit);
                                  });
                              store_vector<Shape>(kept.first.v[0], rows.share + at, place);
                              store_vector<Shape>(kept.second.v[0], rows.share + values_ + at, place);
                            });
  }

  // Of an extreme: each attaining message's equal part of the gradient, and which messages these are.
  void find_ties(int r) const {
    const Rows<S> rows = this->rows(r);
    const Ties ties = this->ties(r);
    for_each_row_tile<T>(args_.in, args_.features, span_, weighted || ties.bits, args_.threads, args_.valid,
                         [&](auto shape, const FeaturePlace& place, std::int64_t target) {
                           ties_of_row<decltype(shape)>(rows, ties, place, target);
                         });
  }

  template <class Shape>
  NNZOO_INLINE void ties_of_row(const Rows<S>& rows, const Ties& ties, const FeaturePlace& place,
                                std::int64_t target) const {
    const std::int64_t row = target * args_.features, offset = ties.bits ? ties.template offset<T>(place, span_) : 0;
    const FeatureTile<T, Shape> best = load_tile<Shape, T>(rows.out + row, place);
    FeatureTile<T, Shape> count = filled<Shape>(T(0));
    messages().template for_each<Shape>(
        place, target,
        [&](int i, Vec<T> message, std::int32_t edge) {
          const Mask<T> attains = message == best.v[i];
          count.v[i] += one_if(attains);
          if (ties.bits) ties.of(edge, offset)[i] = static_cast<std::uint16_t>(mask_bits(attains));
        },
        [&](std::int32_t edge) NNZOO_PREFETCHING {
          if (ties.bits) __builtin_prefetch(ties.of(edge, offset), 1, 2);
        });
    FeatureTile<T, Shape> share = load_tile<Shape, T>(rows.grad + row, place);
#pragma GCC unroll 8
    for (int i = 0; i < Shape::vectors; ++i) share.v[i] = share.v[i] / count.v[i];
    store_tile<Shape>(share, rows.share + row, place);
  }

  Messages<S, kind> messages() const { return {args_.in, x_, args_.x_stride, weights_, distance_}; }

  // Whether a source's edges find their weights' gradients while they are walked for grad_x.
  bool finds_weights_with_x(std::int64_t span) const {
    if (!weighted || args_.num_reduces > 1 || rows_kept(args_.reduces[0]) > 0) return false;
    if (kind == WeightKind::per_feature) return true;
    const std::int64_t largest = largest_group(args_.out_of);
    if (largest < 0) return false;
    const Plan plan = Plan::make<T>(args_.out_of, largest, args_.features, args_.threads);
    return is_one_tile<T>(span, plan.most_vectors);
  }

  template <int most>
  void find_grad_x(std::int64_t span, bool with_weights) const {
    for_each_row_tile<T, most>(args_.out_of, args_.features, span, weighted || ties_.bits, args_.threads, args_.valid,
                               [&](auto shape, const FeaturePlace& place, std::int64_t source) {
                                 using Shape = decltype(shape);
                                 FeatureTile<T, Shape> sum = filled<Shape>(T(0));
                                 if constexpr (weighted && most > 1) {
                                   if (with_weights) {
                                     add_grad_and_weights(place, source, sum);
                                     return store_tile<Shape>(sum, grad_x_row(source), place, streamed_);
                                   }
                                 }
                                 for (int r = 0; r < args_.num_reduces; ++r) add_grad<most == 1>(place, source, r, sum);
                                 store_tile<Shape>(sum, grad_x_row(source), place, streamed_);
                               });
  }

  S* grad_x_row(std::int64_t source) const { return static_cast<S*>(args_.grad_x) + source * args_.features; }

  template <bool further, class Shape>
  NNZOO_INLINE void add_grad(const FeaturePlace& place, std::int64_t source, int r, FeatureTile<T, Shape>& sum) const {
    const S* const grad = grad_ + r * values_;
    switch (args_.reduces[r]) {
      case Reduce::sum:
        return add_rows<Shape, weighted>(
            args_.out_of, source, grad, args_.features, distance_, weights_, place,
            [&](std::int32_t, std::int32_t edge, int i) { return weights_.template at<Shape>(edge, place, i); }, sum);
      case Reduce::mean:
        return add_rows<Shape, true>(
            args_.out_of, source, grad, args_.features, distance_, Parts{weights_, parts_}, place,
            [&](std::int32_t target, std::int32_t edge, int i) {
              const Vec<T> part = Vec<T>::set(parts_[target]);
              if constexpr (weighted) return part * weights_.template at<Shape>(edge, place, i);
              return part;
            },
            sum);
      default:
        dispatch_passing(args_.reduces[r], [&](auto passing) {
          constexpr Passing how = decltype(passing)::how;
          if constexpr (how == Passing::extreme) {
            add_shares(place, source, r, sum);
          } else if constexpr (further && how != Passing::linear) {
            add_received<how>(place, source, r, sum);
          }
        });
    }
  }

  // A sum's or mean's gradients of x and of the weights, whose heads are tiles. Both are the very sums that add_grad
  // and find_grad_weight form, so that results don't depend on which pass finds them.
  template <class Shape>
  NNZOO_INLINE void add_grad_and_weights(const FeaturePlace& place, std::int64_t source,
                                         FeatureTile<T, Shape>& sum) const {
    const bool mean = args_.reduces[0] == Reduce::mean;
    const FeatureTile<T, Shape> x = load_tile<Shape, T>(x_ + source * args_.x_stride, place);
    for_each_edge(
        args_.out_of, args_.out_of.start[source], args_.out_of.start[source + 1], distance_,
        [&](std::int32_t target, std::int32_t edge, auto level) NNZOO_PREFETCHING {
          using Level = decltype(level);
          weights_.template prefetch<Level>(edge, place);
          prefetch_tile<Level, Shape, T>(grad_ + target * args_.features, place);
          if (mean) Level::fetch(parts_ + target);
        },
        [&](std::int32_t target, std::int32_t edge) {
          const FeatureTile<T, Shape> grad = load_tile<Shape, T>(grad_ + target * args_.features, place);
          const Vec<T> part = Vec<T>::set(mean ? parts_[target] : T(1));
          S* const result = static_cast<S*>(args_.grad_weight) + edge * args_.heads;
          Vec<T> dot = Vec<T>::zero();
#pragma GCC unroll 8
          for (int i = 0; i < Shape::vectors; ++i) {
            sum.v[i] = fma(part * weights_.template at<Shape>(edge, place, i), grad.v[i], sum.v[i]);
            const Vec<T> received = grad.v[i] * part;
            if constexpr (kind == WeightKind::per_feature) {
              store_vector<Shape>(x.v[i] * received, result + place.feature + i * Vec<T>::width, place);
            } else {
              dot = fma(x.v[i], received, dot);
            }
          }
          if constexpr (kind != WeightKind::per_feature) result[place.head] = from_float<S>(reduce_add(dot));
        });
  }

  // Of an extreme: the shares of the targets whose extreme a message is.
  template <class Shape>
  NNZOO_INLINE void add_shares(const FeaturePlace& place, std::int64_t source, int r,
                               FeatureTile<T, Shape>& sum) const {
    const T* const shares = rows(r).share;
    const Ties ties = this->ties(r);
    const std::int64_t offset = ties.template offset<T>(place, span_);
    for_each_edge(
        args_.out_of, args_.out_of.start[source], args_.out_of.start[source + 1], distance_,
        [&](std::int32_t target, std::int32_t edge, auto level) NNZOO_PREFETCHING {
          using Level = decltype(level);
          weights_.template prefetch<Level>(edge, place);
          Level::fetch(ties.of(edge, offset));
          prefetch_tile<Level, Shape, T>(shares + target * args_.features, place);
        },
        [&](std::int32_t target, std::int32_t edge) {
          const FeatureTile<T, Shape> share = load_tile<Shape, T>(shares + target * args_.features, place);
          const std::uint16_t* const bits = ties.of(edge, offset);
#pragma GCC unroll 8
          for (int i = 0; i < Shape::vectors; ++i) {
            const Vec<T> part = ones_of<T>(bits[i]) * share.v[i];
            if constexpr (weighted) {
              sum.v[i] = fma(part, weights_.template at<Shape>(edge, place, i), sum.v[i]);
            } else {
              sum.v[i] += part;
            }
          }
        });
  }

  template <Passing how, class Shape>
  NNZOO_INLINE void add_received(const FeaturePlace& place, std::int64_t source, int r,
                                 FeatureTile<T, Shape>& sum) const {
    const FeatureTile<T, Shape> x = load_tile<Shape, T>(x_ + source * args_.x_stride, place);
    const Rows<S> rows = this->rows(r);
    for_each_edge(
        args_.out_of, args_.out_of.start[source], args_.out_of.start[source + 1], distance_,
        [&](std::int32_t target, std::int32_t edge, auto level) NNZOO_PREFETCHING {
          using Level = decltype(level);
          const std::int64_t row = target * args_.features;
          weights_.template prefetch<Level>(edge, place);
          if constexpr (reads_out(how)) prefetch_tile<Level, Shape, T>(rows.out + row, place);
          prefetch_tile<Level, Shape, T>(rows.share + row, place);
          prefetch_tile<Level, Shape, T>(rows.share + values_ + row, place);
        },
        [&](std::int32_t target, std::int32_t edge) {
          const std::int64_t row = target * args_.features;
#pragma GCC unroll 8
          for (int i = 0; i < Shape::vectors; ++i) {
            const std::int64_t at = row + place.feature + i * Vec<T>::width;
            const Vec<T> message = weights_.template message<Shape>(x.v[i], edge, place, i);
            const Vec<T> part = received<how, T, Shape>(rows, message, at, place);
            if constexpr (weighted) {
              sum.v[i] = fma(part, weights_.template at<Shape>(edge, place, i), sum.v[i]);
            } else {
              sum.v[i] += part;
            }
          }
        });
  }

  void find_grad_weight(std::int64_t span) const {
    const EdgeGroups& in = args_.in;
    if (largest_group(in) < 0) return mark_invalid(args_.valid);
    const std::int64_t blocks = (in.num_edges + Plan::kCostPerBlock - 1) / Plan::kCostPerBlock;
    const int threads = clamp_threads(args_.threads, in.num_edges * args_.features / Plan::kValuesPerThread);
    parallel_for_dynamic(blocks, threads, [&](std::int64_t block) {
      const std::int64_t begin = block * Plan::kCostPerBlock, end = begin + Plan::kCostPerBlock;
      const Range positions{begin, end < in.num_edges ? end : in.num_edges};
      if (!valid_positions(in, positions, true)) return mark_invalid(args_.valid);
      std::int64_t target = group_of(in, positions.begin);
      for (std::int64_t k = positions.begin; k < positions.end; ++k) {
        while (in.start[target + 1] <= k) ++target;
        const std::int64_t ahead = k + Far::edges < in.num_edges ? k + Far::edges : in.num_edges - 1;
        prefetch_row(x_ + in.node[ahead] * args_.x_stride);
        __builtin_prefetch(static_cast<S*>(args_.grad_weight) + in.edge[ahead] * args_.heads, 1, 2);
        weights_.template prefetch<Far>(in.edge[ahead], FeaturePlace{0, 0, 0});
        weight_of_edge(span, static_cast<std::int32_t>(target), in.node[k], in.edge[k]);
      }
    });
  }

  NNZOO_INLINE void prefetch_row(const S* row) const {
    constexpr std::int64_t most = 1024 / sizeof(S), line = 64 / sizeof(S);
    for (std::int64_t f = 0; f < args_.features && f < most; f += line) Far::fetch(row + f);
  }

  // The last group that starts at or before this position.
  static std::int64_t group_of(const EdgeGroups& groups, std::int64_t position) {
    std::int64_t low = 0, high = groups.num_groups;
    while (high - low > 1) {
      const std::int64_t middle = (low + high) / 2;
      (groups.start[middle] <= position ? low : high) = middle;
    }
    return low;
  }

  NNZOO_INLINE void weight_of_edge(std::int64_t span, std::int32_t target, std::int32_t source,
                                   std::int32_t edge) const {
    S* const result = static_cast<S*>(args_.grad_weight) + edge * args_.heads;
    const S* const x = x_ + source * args_.x_stride;
    Vec<T> dot = Vec<T>::zero();
    for_each_tile<T>(args_.features, span, 1, [&](auto shape, const FeaturePlace& place) {
      using Shape = decltype(shape);
      const Vec<T> value = load_vector<Shape, T>(x + place.feature, place);
      Vec<T> sum = Vec<T>::zero();
      for (int r = 0; r < args_.num_reduces; ++r) sum += received_of<Shape>(value, target, edge, place, r);
      if constexpr (kind == WeightKind::per_feature) {
        store_vector<Shape>(value * sum, result + place.feature, place);
      } else {
        dot = fma(value, sum, dot);
        if (place.feature + place.lanes == (place.head + 1) * span) {
          result[place.head] = from_float<S>(reduce_add(dot));
          dot = Vec<T>::zero();
        }
      }
    });
  }

  // G of one vector of one message, for reduction r.
  template <class Shape>
  NNZOO_INLINE Vec<T> received_of(Vec<T> x, std::int32_t target, std::int32_t edge, const FeaturePlace& place,
                                  int r) const {
    const std::int64_t at = target * args_.features + place.feature;
    const Rows<S> rows = this->rows(r);
    Vec<T> result = Vec<T>::zero();
    dispatch_passing(args_.reduces[r], [&](auto passing) {
      constexpr Passing how = decltype(passing)::how;
      if constexpr (how == Passing::linear) {
        result = load_vector<Shape, T>(rows.grad + at, place);
        if (args_.reduces[r] == Reduce::mean) result *= Vec<T>::set(parts_[target]);
      } else {
        const Vec<T> message = weights_.template message<Shape>(x, edge, place, 0);
        result = received<how, T, Shape>(rows, message, at, place);
      }
    });
    return result;
  }

  const GatherScatterBackward& args_;
  const S *grad_, *x_;
  Weights<S, kind> weights_;
  const S* out_;
  T* share_;
  std::int64_t values_;
  Distance distance_;
  bool streamed_ = false;
  std::int64_t span_ = 0;
  Ties ties_{nullptr, 0, 0};
  const T* parts_ = nullptr;  // of a mean
};

}  // namespace

void gather_scatter_backward(const GatherScatterBackward& args) {
  *args.valid = true;
  dispatch_dtype(args.dtype, [&](auto type) {
    using S = typename decltype(type)::Type;
    dispatch_weights(args.weight, args.features, args.heads,
                     [&](auto weights, std::int64_t span) { Backward<S, decltype(weights)::kind>(args).run(span); });
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
