// How far ahead of its use a row is fetched, and results that are too large for the caches to keep.
#pragma once

#include "common/stream.h"
#include "ops/gather_scatter/schedule.h"

namespace nnzoo {
namespace NNZOO_ISA {

// How many edges before its use a row is fetched into L2, and from there into L1; 0: not at all. A short row is added
// up in less time than one takes to come, so more of them must be on their way.
struct Distance {
  std::int64_t far, near;

  static Distance of_rows(std::int64_t bytes) {
    constexpr std::int64_t kShort = 256;
    return bytes <= kShort ? Distance{128, 16} : Distance{Far::edges, Near::edges};
  }
};

// Calls `visit(node, edge)` for positions begin..end and `ahead(node, edge, level)` for positions that come up later,
// in any group.
template <class Ahead, class Visit>
NNZOO_INLINE void for_each_edge(const EdgeGroups& groups, std::int64_t begin, std::int64_t end, Distance distance,
                                const Ahead& ahead, const Visit& visit) {
  const std::int32_t *const node = groups.node, *const edge = groups.edge;
  const std::int64_t last = groups.num_edges - 1;
  for (std::int64_t k = begin; k < end; ++k) {
    if (distance.far > 0) {
      const std::int64_t later = k + distance.far < last ? k + distance.far : last;
      const std::int64_t soon = k + distance.near < last ? k + distance.near : last;
      ahead(node[later], edge[later], Far());
      ahead(node[soon], edge[soon], Near());
    }
    visit(node[k], edge[k]);
  }
}

// Fetches what the factors of an edge are read from.
template <class Level, class S, WeightKind kind>
NNZOO_INLINE void prefetch_factors(const Weights<S, kind>& weights, std::int32_t, std::int32_t edge,
                                   const FeaturePlace& place) {
  weights.template prefetch<Level>(edge, place);
}
template <class Level, class Factors>
NNZOO_INLINE void prefetch_factors(const Factors& factors, std::int32_t node, std::int32_t edge,
                                   const FeaturePlace& place) {
  factors.template prefetch<Level>(node, edge, place);
}

// sum += factor * the rows of the group's nodes, where `factor(node, edge, i)` gives the factors of vector i, if any.
template <class Shape, bool has_factors, class T, class S, class EdgeWeights, class Factor>
NNZOO_INLINE void add_rows(const EdgeGroups& groups, std::int64_t group, const S* rows, std::int64_t stride,
                           Distance distance, const EdgeWeights& weights, const FeaturePlace& place,
                           const Factor& factor, FeatureTile<T, Shape>& result) {
  FeatureTile<T, Shape> sum = result;  // a tile of its own stays in registers, one that is referred to doesn't
  for_each_edge(
      groups, groups.start[group], groups.start[group + 1], distance,
      [&](std::int32_t node, std::int32_t edge, auto level) NNZOO_PREFETCHING {
        using Level = decltype(level);
        prefetch_tile<Level, Shape, T>(rows + node * stride, place);
        prefetch_factors<Level>(weights, node, edge, place);
      },
      [&](std::int32_t node, std::int32_t edge) {
        const FeatureTile<T, Shape> row = load_tile<Shape, T>(rows + node * stride, place);
#pragma GCC unroll 8
        for (int i = 0; i < Shape::vectors; ++i) {
          if constexpr (has_factors) {
            sum.v[i] = fma(factor(node, edge, i), row.v[i], sum.v[i]);
          } else {
            sum.v[i] += row.v[i];
          }
        }
      });
  result = sum;
}

// Whether results [count, features] go past the caches. Only where every vector is whole and aligned: they begin anew
// at each head, of `span` features. Nobody fences these stores: the loop over blocks takes each block, and finds that
// there is none left, by an atomic addition, which on x86 waits for them.
template <class S>
NNZOO_INLINE bool streams_rows(const void* results, std::int64_t count, std::int64_t features, std::int64_t span) {
  constexpr std::int64_t size = sizeof(S), line = 64;
  return count * features * size >= least_streamed && span * size % line == 0 &&
         reinterpret_cast<std::uintptr_t>(results) % std::uintptr_t(line) == 0;
}

template <class Shape, class T, class S>
NNZOO_INLINE void store_tile(const FeatureTile<T, Shape>& tile, S* row, const FeaturePlace& place, bool streamed) {
  if constexpr (!Shape::partial) {
    if (streamed) {
#pragma GCC unroll 8
      for (int i = 0; i < Shape::vectors; ++i) stream(tile.v[i], row + place.feature + i * Vec<T>::width);
      return;
    }
  }
  store_tile<Shape>(tile, row, place);
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
