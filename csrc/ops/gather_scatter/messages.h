// The messages that a target receives: rows of x at the other ends of its edges, times the edges' weights.
#pragma once

#include "ops/gather_scatter/ahead.h"

namespace nnzoo {
namespace NNZOO_ISA {

template <class S, WeightKind kind>
struct Messages {
  using T = Compute<S>;
  const EdgeGroups& in;
  const S* x;
  std::int64_t stride;
  Weights<S, kind> weights;
  Distance distance;

  // Calls `visit(i, message, edge)` for each vector i of the tile of each message to `target`, and `fetch(edge)` for
  // edges that come up later.
  template <class Shape, class Visit, class Fetch>
  NNZOO_INLINE void for_each(const FeaturePlace& place, std::int64_t target, const Visit& visit,
                             const Fetch& fetch) const {
    for_each_edge(
        in, in.start[target], in.start[target + 1], distance,
        [&](std::int32_t source, std::int32_t edge, auto level) NNZOO_PREFETCHING {
          using Level = decltype(level);
          weights.template prefetch<Level>(edge, place);
          prefetch_tile<Level, Shape, T>(x + source * stride, place);
          fetch(edge);
        },
        [&](std::int32_t source, std::int32_t edge) {
          const FeatureTile<T, Shape> row = load_tile<Shape, T>(x + source * stride, place);
#pragma GCC unroll 8
          for (int i = 0; i < Shape::vectors; ++i) {
            visit(i, weights.template message<Shape>(row.v[i], edge, place, i), edge);
          }
        });
  }

  template <class Shape, class Visit>
  NNZOO_INLINE void for_each(const FeaturePlace& place, std::int64_t target, const Visit& visit) const {
    for_each<Shape>(
        place, target, [&](int i, Vec<T> message, std::int32_t) { visit(i, message); },
        [](std::int32_t) NNZOO_PREFETCHING {});
  }
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
