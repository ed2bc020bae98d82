// Backward: three passes, each over rows or edges that no two threads share.
//   shares       over the targets: what each of the messages that attain a max or min receives
//   grad_x       over the sources: the rows of grad (or of shares) at the other ends of a source's edges
//   grad_weight  over the edges: the dot product of x[source] and what the message receives
#include "ops/gather_scatter/schedule.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

bool is_extreme(Reduce reduce) { return reduce == Reduce::max || reduce == Reduce::min; }

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
        values_(args.in.num_groups * args.features) {}

  void run(std::int64_t span) const {
    for (int r = 0; r < args_.num_reduces && *args_.valid; ++r) {
      if (is_extreme(args_.reduces[r])) find_shares(span, r);
    }
    if (args_.grad_x && *args_.valid) find_grad_x(span);
    if (args_.grad_weight && *args_.valid) find_grad_weight(span);
  }

 private:
  // The rows that reduction r keeps per target: [num_targets, features] each.
  const S* grad(int r) const { return grad_ + r * values_; }
  const S* out(int r) const { return out_ + r * values_; }
  T* share(int r) const {
    int before = 0;
    for (int i = 0; i < r; ++i) before += is_extreme(args_.reduces[i]);
    return share_ + before * values_;
  }
  T into_mean(std::int32_t target) const { return T(1) / T(args_.in.start[target + 1] - args_.in.start[target]); }

  static NNZOO_INLINE Vec<T> one_if(Mask<T> mask) { return select(mask, Vec<T>::set(T(1)), Vec<T>::zero()); }

  void find_shares(std::int64_t span, int r) const {
    for_each_row_tile<T>(
        args_.in, args_.features, span, weighted, args_.threads, args_.valid,
        [&](auto shape, const TilePlace& place, std::int64_t target) { share_row(shape, place, target, r); });
  }

  template <class Shape>
  NNZOO_INLINE void share_row(Shape, const TilePlace& place, std::int64_t target, int r) const {
    const std::int64_t row = target * args_.features;
    const Tile<T, Shape> best = load_tile<Shape, T>(out(r) + row, place);
    Tile<T, Shape> ties = filled<Shape>(T(0));
    for_each_edge<true>(
        args_.in, args_.in.start[target], args_.in.start[target + 1],
        [&](std::int32_t source, std::int32_t edge) NNZOO_PREFETCHING {
          weights_.prefetch(edge, place);
          prefetch_tile<Shape, T>(x_ + source * args_.x_stride, place);
        },
        [&](std::int32_t source, std::int32_t edge) {
          const Tile<T, Shape> x = load_tile<Shape, T>(x_ + source * args_.x_stride, place);
#pragma GCC unroll 8
          for (int i = 0; i < Shape::vectors; ++i) {
            ties.v[i] += one_if(weights_.template message<Shape>(x.v[i], edge, place, i) == best.v[i]);
          }
        });
    Tile<T, Shape> part = load_tile<Shape, T>(grad(r) + row, place);
#pragma GCC unroll 8
    for (int i = 0; i < Shape::vectors; ++i) part.v[i] = part.v[i] / ties.v[i];
    store_tile<Shape>(part, share(r) + row, place);
  }

  void find_grad_x(std::int64_t span) const {
    for_each_row_tile<T>(args_.out_of, args_.features, span, weighted, args_.threads, args_.valid,
                         [&](auto shape, const TilePlace& place, std::int64_t source) {
                           using Shape = decltype(shape);
                           Tile<T, Shape> sum = filled<Shape>(T(0));
                           for (int r = 0; r < args_.num_reduces; ++r) add_grad(place, source, r, sum);
                           store_tile<Shape>(sum, static_cast<S*>(args_.grad_x) + source * args_.features, place);
                         });
  }

  template <class Shape>
  NNZOO_INLINE void add_grad(const TilePlace& place, std::int64_t source, int r, Tile<T, Shape>& sum) const {
    switch (args_.reduces[r]) {
      case Reduce::sum:
        return add_rows<Shape, true, weighted>(
            args_.out_of, source, grad(r), args_.features, weights_, place,
            [&](std::int32_t, std::int32_t edge, int i) { return weights_.template at<Shape>(edge, place, i); }, sum);
      case Reduce::mean:
        return add_rows<Shape, true, true>(
            args_.out_of, source, grad(r), args_.features, weights_, place,
            [&](std::int32_t target, std::int32_t edge, int i) {
              const Vec<T> part = Vec<T>::set(into_mean(target));
              if constexpr (weighted) return part * weights_.template at<Shape>(edge, place, i);
              return part;
            },
            sum);
      case Reduce::max:
      case Reduce::min:
        return add_shares(place, source, r, sum);
    }
  }

  template <class Shape>
  NNZOO_INLINE void add_shares(const TilePlace& place, std::int64_t source, int r, Tile<T, Shape>& sum) const {
    const Tile<T, Shape> x = load_tile<Shape, T>(x_ + source * args_.x_stride, place);
    const S* const best = out(r);
    const T* const parts = share(r);
    for_each_edge<true>(
        args_.out_of, args_.out_of.start[source], args_.out_of.start[source + 1],
        [&](std::int32_t target, std::int32_t edge) NNZOO_PREFETCHING {
          weights_.prefetch(edge, place);
          prefetch_tile<Shape, T>(best + target * args_.features, place);
          prefetch_tile<Shape, T>(parts + target * args_.features, place);
        },
        [&](std::int32_t target, std::int32_t edge) {
          const std::int64_t row = target * args_.features;
#pragma GCC unroll 8
          for (int i = 0; i < Shape::vectors; ++i) {
            const std::int64_t at = row + place.feature + i * Vec<T>::width;
            const Vec<T> message = weights_.template message<Shape>(x.v[i], edge, place, i);
            Vec<T> part = one_if(message == load_vector<Shape, T>(best + at, place));
            if constexpr (weighted) part = part * weights_.template at<Shape>(edge, place, i);
            sum.v[i] = fma(part, load_vector<Shape, T>(parts + at, place), sum.v[i]);
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
        const std::int64_t ahead = k + kEdgesAhead < in.num_edges ? k + kEdgesAhead : in.num_edges - 1;
        prefetch_row(x_ + in.node[ahead] * args_.x_stride);
        __builtin_prefetch(static_cast<S*>(args_.grad_weight) + in.edge[ahead] * args_.heads, 1, 2);
        weights_.prefetch(in.edge[ahead], TilePlace{0, 0, 0});
        weight_of_edge(span, static_cast<std::int32_t>(target), in.node[k], in.edge[k]);
      }
    });
  }

  NNZOO_INLINE void prefetch_row(const S* row) const {
    constexpr std::int64_t most = 1024 / sizeof(S), line = 64 / sizeof(S);
    for (std::int64_t f = 0; f < args_.features && f < most; f += line) prefetch_far(row + f);
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
    const std::int64_t row = target * args_.features;
    Vec<T> dot = Vec<T>::zero();
    for_each_tile<T>(args_.features, span, 1, [&](auto shape, const TilePlace& place) {
      using Shape = decltype(shape);
      const Vec<T> value = load_vector<Shape, T>(x + place.feature, place);
      Vec<T> sum = Vec<T>::zero();
      for (int r = 0; r < args_.num_reduces; ++r) sum += received<Shape>(value, row, target, edge, place, r);
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
  NNZOO_INLINE Vec<T> received(Vec<T> x, std::int64_t row, std::int32_t target, std::int32_t edge,
                               const TilePlace& place, int r) const {
    const std::int64_t at = row + place.feature;
    switch (args_.reduces[r]) {
      case Reduce::sum:
        return load_vector<Shape, T>(grad(r) + at, place);
      case Reduce::mean:
        return load_vector<Shape, T>(grad(r) + at, place) * Vec<T>::set(into_mean(target));
      case Reduce::max:
      case Reduce::min: {
        const Vec<T> message = weights_.template message<Shape>(x, edge, place, 0);
        const Vec<T> attains = one_if(message == load_vector<Shape, T>(out(r) + at, place));
        return attains * load_vector<Shape, T>(share(r) + at, place);
      }
    }
    return Vec<T>::zero();
  }

  const GatherScatterBackward& args_;
  const S *grad_, *x_;
  Weights<S, kind> weights_;
  const S* out_;
  T* share_;
  std::int64_t values_;
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
