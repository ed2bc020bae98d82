// Rows [heads, channels] cut into vectors that no two heads share.
#pragma once

#include "common/random.h"
#include "common/scratch.h"
#include "common/vmath.h"
#include "ops/gat/gat.h"
#include "ops/gather_scatter/schedule.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Edges that are scored together: their rows stay in L1.
constexpr int kEdges = 32;

struct Column {
  std::int64_t feature, head;
  int lanes;
  bool ends_head;
};

template <class T>
struct Columns {
  const Column* list;
  std::int64_t count;

  static Columns make(std::int64_t heads, std::int64_t channels, Scratch& scratch) {
    constexpr int width = Vec<T>::width;
    const std::int64_t each = (channels + width - 1) / width;
    Column* list = scratch.take<Column>(heads * each);
    for (std::int64_t i = 0; i < heads * each; ++i) {
      const std::int64_t head = i / each, first = i % each * width;
      const std::int64_t left = channels - first;
      list[i] = {head * channels + first, head, static_cast<int>(left < width ? left : width), left <= width};
    }
    return {list, heads * each};
  }
};

// sums[f] += sum over the edges e of weights[e][head of f] * rows[e][f], n columns at once, edges in order; `lanes`
// weights of an edge.
template <int n, class T, class S>
NNZOO_INLINE void add_columns(const Column* columns, const S* const* rows, const T* weights, std::int64_t lanes,
                              int edges, T* sums) {
  Vec<T> sum[n];
#pragma GCC unroll 4
  for (int i = 0; i < n; ++i) sum[i] = Vec<T>::load(sums + columns[i].feature, columns[i].lanes);
  for (int e = 0; e < edges; ++e) {
#pragma GCC unroll 4
    for (int i = 0; i < n; ++i) {
      const Vec<T> row = Vec<T>::load(rows[e] + columns[i].feature, columns[i].lanes);
      sum[i] = fma(Vec<T>::set(weights[e * lanes + columns[i].head]), row, sum[i]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < n; ++i) sum[i].store(sums + columns[i].feature, columns[i].lanes);
}

template <class T, class S>
void add_weighted_rows(const Columns<T>& columns, const S* const* rows, const T* weights, std::int64_t lanes, int edges,
                       T* sums) {
  std::int64_t i = 0;
  for (; i + 4 <= columns.count; i += 4) add_columns<4>(columns.list + i, rows, weights, lanes, edges, sums);
  for (; i < columns.count; ++i) add_columns<1>(columns.list + i, rows, weights, lanes, edges, sums);
}

// sums[h] = the sum of `product(column)` over the lanes of head h's columns.
template <class T, class Product>
NNZOO_INLINE void head_sums(const Columns<T>& columns, T* sums, const Product& product) {
  Vec<T> sum = Vec<T>::zero();
  for (std::int64_t i = 0; i < columns.count; ++i) {
    const Column& column = columns.list[i];
    sum += product(column);
    if (column.ends_head) {
      sums[column.head] = reduce_add(sum);
      sum = Vec<T>::zero();
    }
  }
}

template <class T, class S>
NNZOO_INLINE Vec<T> at(const S* row, const Column& column) {
  return Vec<T>::load(row + column.feature, column.lanes);
}

template <class T>
NNZOO_INLINE Vec<T> leaky(Vec<T> z, T slope) {
  return select(z > Vec<T>::zero(), z, z * Vec<T>::set(slope));
}

// What leaky multiplies a gradient by.
template <class T>
NNZOO_INLINE Vec<T> leaky_slope(Vec<T> z, T slope) {
  return select(z > Vec<T>::zero(), Vec<T>::set(T(1)), Vec<T>::set(slope));
}

// The tensors of a call in their types, and what forward and backward do alike.
template <class S, bool v2>
struct GatData {
  using T = Compute<S>;
  const Gat& args;
  const S *x, *source, *target, *edge, *att;
  std::int64_t heads, features;
  std::int64_t lanes;  // heads in whole vectors: a vector that was just stored in part is slow to load again
  T slope, kept;
  std::uint64_t drops_below;

  explicit GatData(const Gat& args)
      : args(args),
        x(static_cast<const S*>(args.x)),
        source(static_cast<const S*>(args.source)),
        target(static_cast<const S*>(args.target)),
        edge(static_cast<const S*>(args.edge)),
        att(static_cast<const S*>(args.att)),
        heads(args.heads),
        features(args.heads * args.channels),
        lanes((args.heads + Vec<T>::width - 1) / Vec<T>::width * Vec<T>::width),
        slope(T(args.slope)),
        kept(args.probability < 1 ? T(1 / (1 - args.probability)) : T(0)),
        drops_below(static_cast<std::uint64_t>(args.probability * 4294967296.0)) {}

  // gatv2: what leaky takes, of one column.
  NNZOO_INLINE Vec<T> inside(std::int32_t j, std::int32_t i, std::int32_t e, const Column& column) const {
    const Vec<T> z = at<T>(x + j * features, column) + at<T>(target + i * features, column);
    return edge ? z + at<T>(edge + e * features, column) : z;
  }

  // gat: what leaky takes, of `count` heads.
  NNZOO_INLINE Vec<T> inside(std::int32_t j, std::int32_t i, std::int32_t e, std::int64_t head, int count) const {
    const Vec<T> z = Vec<T>::load(source + j * heads + head, count) + Vec<T>::load(target + i * heads + head, count);
    return edge ? z + Vec<T>::load(edge + e * heads + head, count) : z;
  }

  // Calls `body(head, count)` for each vector of heads.
  template <class Body>
  NNZOO_INLINE void for_each_heads(const Body& body) const {
    for (std::int64_t h = 0; h < lanes; h += Vec<T>::width) {
      body(h, static_cast<int>(heads - h < Vec<T>::width ? heads - h : Vec<T>::width));
    }
  }

  NNZOO_INLINE void score(const Columns<T>& columns, std::int32_t j, std::int32_t i, std::int32_t e, T* scores) const {
    if constexpr (v2) {
      head_sums(columns, scores,
                [&](const Column& column) { return at<T>(att, column) * leaky(inside(j, i, e, column), slope); });
    } else {
      for_each_heads([&](std::int64_t h, int count) { leaky(inside(j, i, e, h, count), slope).store(scores + h); });
    }
  }

  // What dropout multiplies by at head h of edge e.
  NNZOO_INLINE T keeps(std::int32_t e, std::int64_t h) const {
    const auto index = static_cast<std::uint64_t>(e * heads + h);
    return philox(index, static_cast<std::uint32_t>(args.seed)) >= drops_below ? kept : T(0);
  }

  NNZOO_INLINE void prefetch(const S* rows, std::int32_t node) const {
    for (std::int64_t f = 0; f < features && f < 512; f += 64 / std::int64_t(sizeof(S))) {
      prefetch_to_level2(rows + node * features + f);
    }
  }
};

// Calls `body(block, first group, group behind the last)` for blocks that don't depend on the number of threads.
template <class Body>
NNZOO_INLINE void for_each_block(const EdgeGroups& groups, std::int64_t count, int threads, bool* valid,
                                 const Body& body) {
  const Blocks blocks{groups, count};
  parallel_for_dynamic(count, threads, [&](std::int64_t block) {
    const Range rows{blocks.first(block), blocks.first(block + 1)};
    if (!valid_positions(groups, {groups.start[rows.begin], groups.start[rows.end]}, true)) return mark_invalid(valid);
    body(block, rows.begin, rows.end);
  });
}

NNZOO_INLINE std::int64_t count_blocks(const EdgeGroups& groups) {
  constexpr std::int64_t kCostPerBlock = 2048;
  return 1 + (groups.num_edges + groups.num_groups) / kCostPerBlock;
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
