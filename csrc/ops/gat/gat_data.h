// The tensors of a call in their types, and what forward and backward do alike.
#pragma once

#include "common/random.h"
#include "common/vmath.h"
#include "ops/gat/columns.h"
#include "ops/gat/gat.h"
#include "ops/gather_scatter/blocks.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Edges that are scored together: their rows stay in L1.
constexpr int kEdges = 32;

template <class T>
NNZOO_INLINE Vec<T> leaky(Vec<T> z, T slope) {
  return select(z > Vec<T>::zero(), z, z * Vec<T>::set(slope));
}

// What leaky multiplies a gradient by.
template <class T>
NNZOO_INLINE Vec<T> leaky_slope(Vec<T> z, T slope) {
  return select(z > Vec<T>::zero(), Vec<T>::set(T(1)), Vec<T>::set(slope));
}

template <class S, bool v2>
struct GatData {
  using T = Compute<S>;
  static constexpr int width = Vec<T>::width;
  const Gat& args;
  const S *x, *source, *target, *edge, *att;
  std::int64_t heads, features;
  std::int64_t lanes;   // heads in whole vectors: a vector that was just stored in part is slow to load again
  std::int64_t padded;  // features in whole vectors
  T slope;
  Dropout dropout;

  explicit GatData(const Gat& args)
      : args(args),
        x(static_cast<const S*>(args.x)),
        source(static_cast<const S*>(args.source)),
        target(static_cast<const S*>(args.target)),
        edge(static_cast<const S*>(args.edge)),
        att(static_cast<const S*>(args.att)),
        heads(args.heads),
        features(args.heads * args.channels),
        lanes((args.heads + width - 1) / width * width),
        padded((features + width - 1) / width * width),
        slope(T(args.slope)),
        dropout(args.probability, static_cast<std::uint64_t>(args.seed)) {}

  // gatv2: what leaky takes, of one column.
  NNZOO_INLINE Vec<T> inside(std::int32_t j, std::int32_t i, std::int32_t e, const Column& column) const {
    const Vec<T> z = at<T>(x + j * features, column) + at<T>(target + i * features, column);
    return edge ? z + at<T>(edge + e * features, column) : z;
  }

  // gatv2: the scores of an edge.
  NNZOO_INLINE void score(const Columns<T>& columns, std::int32_t j, std::int32_t i, std::int32_t e, T* scores) const {
    head_sums(columns, scores,
              [&](const Column& column) { return at<T>(att, column) * leaky(inside(j, i, e, column), slope); });
  }

  // gat: what leaky takes, of `count` heads, given what the target adds.
  NNZOO_INLINE Vec<T> inside(std::int32_t j, Vec<T> of_target, std::int32_t e, std::int64_t head, int count) const {
    const Vec<T> z = Vec<T>::load(source + j * heads + head, count) + of_target;
    return edge ? z + Vec<T>::load(edge + e * heads + head, count) : z;
  }

  // Calls `body(head, count)` for each vector of heads.
  template <class Body>
  NNZOO_INLINE void for_each_heads(const Body& body) const {
    for (std::int64_t h = 0; h < lanes; h += width) {
      body(h, static_cast<int>(heads - h < width ? heads - h : width));
    }
  }

  // What dropout multiplies by at the heads from `head` on of edge e.
  NNZOO_INLINE Vec<T> keeps(std::int32_t e, std::int64_t head) const {
    return dropout.template factors<T>(static_cast<std::uint64_t>(e * heads + head));
  }

  NNZOO_INLINE void prefetch(const S* rows, std::int32_t node) const {
    for (std::int64_t f = 0; f < features && f < 512; f += 64 / std::int64_t(sizeof(S))) {
      prefetch_to_level2(rows + node * features + f);
    }
  }
};

// Memory for factors [kEdges, heads] of a chunk of edges, as add_rows takes them. The lanes behind the heads are
// finite.
template <class T>
T* take_factors(std::int64_t lanes, Scratch& scratch) {
  const std::int64_t size = kEdges * lanes + Vec<T>::width;
  T* const factors = scratch.take<T>(size);
  for (std::int64_t i = 0; i < size; ++i) factors[i] = T(0);
  return factors;
}

template <class T>
NNZOO_INLINE void fill(T* p, std::int64_t lanes, T value) {
  for (std::int64_t i = 0; i < lanes; i += Vec<T>::width) Vec<T>::set(value).store(p + i);
}

// The position whose rows are asked for while position k is worked on.
NNZOO_INLINE std::int64_t ahead_of(const EdgeGroups& groups, std::int64_t k) {
  return k + Far::edges < groups.num_edges ? k + Far::edges : groups.num_edges - 1;
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
