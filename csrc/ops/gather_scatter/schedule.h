// Which thread computes which groups: blocks of groups of about equal cost, and for a hub, slices of its features.
// Neither changes the order in which a group's edges are reduced. Each block's indices are checked just before they are
// used, when reading them costs nothing more.
#pragma once

#include "common/parallel.h"
#include "ops/gather_scatter/tile.h"

namespace nnzoo {
namespace NNZOO_ISA {

// An edge costs 1, a group 1 more.
struct Blocks {
  const EdgeGroups& groups;
  std::int64_t count;

  std::int64_t cost_before(std::int64_t group) const { return groups.start[group] + group; }

  // The first group of a block, by bisection.
  std::int64_t first(std::int64_t block) const {
    const std::int64_t cost = split_point(groups.num_edges + groups.num_groups, block);
    std::int64_t low = 0, high = groups.num_groups;
    while (low < high) {
      const std::int64_t middle = (low + high) / 2;
      if (cost_before(middle) < cost) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

 private:
  std::int64_t split_point(std::int64_t total, std::int64_t block) const {
    return total / count * block + total % count * block / count;
  }
};

// Checks the starts and returns the largest group's size, or -1.
inline std::int64_t largest_group(const EdgeGroups& groups) {
  if (groups.start[0] != 0 || groups.start[groups.num_groups] != groups.num_edges) return -1;
  std::int32_t largest = 0, smallest = 0;
  for (std::int64_t group = 0; group < groups.num_groups; ++group) {
    const std::int32_t size = groups.start[group + 1] - groups.start[group];
    largest = size > largest ? size : largest;
    smallest = size < smallest ? size : smallest;
  }
  return smallest < 0 ? -1 : largest;
}

// Whether the nodes, and the edges if they are used, at these positions exist.
inline bool valid_positions(const EdgeGroups& groups, Range positions, bool uses_edges) {
  const auto nodes = static_cast<std::uint32_t>(groups.num_nodes), edges = static_cast<std::uint32_t>(groups.num_edges);
  unsigned invalid = 0;
  for (std::int64_t k = positions.begin; k < positions.end; ++k) {
    invalid |= static_cast<std::uint32_t>(groups.node[k]) >= nodes;
  }
  if (uses_edges) {
    for (std::int64_t k = positions.begin; k < positions.end; ++k) {
      invalid |= static_cast<std::uint32_t>(groups.edge[k]) >= edges;
    }
  }
  return !invalid;
}

inline void mark_invalid(bool* valid) { __atomic_store_n(valid, false, __ATOMIC_RELAXED); }

// How the work is cut. A block's indices fit L1 beside the rows in flight; below kCostPerThread a thread isn't worth
// waking.
struct Plan {
  static constexpr std::int64_t kCostPerBlock = 4096, kValuesPerThread = 1 << 15;
  std::int64_t blocks;
  int slices, most_vectors, threads;

  template <class T>
  static Plan make(const EdgeGroups& groups, std::int64_t largest, std::int64_t features, int threads) {
    const std::int64_t cost = groups.num_edges + groups.num_groups;
    threads = clamp_threads(threads, cost * features / kValuesPerThread);
    Plan plan{(cost + kCostPerBlock - 1) / kCostPerBlock, 1, kMostVectors, threads};
    if (threads == 1) {
      plan.blocks = plan.blocks > 0 ? plan.blocks : 1;
      return plan;
    }
    if (plan.blocks < 4 * threads) plan.blocks = 4 * threads;
    const std::int64_t vectors = (features + Vec<T>::width - 1) / Vec<T>::width;
    if (largest > cost / (2 * threads) && vectors > 1) {
      plan.slices = clamp_threads(threads, vectors);
      while (plan.most_vectors > 1 && plan.most_vectors * plan.slices > vectors) plan.most_vectors /= 2;
    }
    return plan;
  }
};

// Calls `body(shape, place, group)` for every tile of every group's row, in parallel.
template <class T, int most = kMostVectors, class Body>
NNZOO_INLINE void for_each_row_tile(const EdgeGroups& groups, std::int64_t features, std::int64_t span, bool uses_edges,
                                    int threads, bool* valid, const Body& body) {
  const std::int64_t largest = largest_group(groups);
  if (largest < 0) return mark_invalid(valid);
  const Plan plan = Plan::make<T>(groups, largest, features, threads);
  const Blocks blocks{groups, plan.blocks};
  parallel_for_dynamic(plan.blocks * plan.slices, plan.threads, [&](std::int64_t item) {
    const std::int64_t block = item / plan.slices, slice = item % plan.slices;
    const Range rows{blocks.first(block), blocks.first(block + 1)};
    if (!valid_positions(groups, {groups.start[rows.begin], groups.start[rows.end]}, uses_edges)) {
      return mark_invalid(valid);
    }
    std::int64_t index = 0;
    for_each_tile<T, most>(features, span, plan.most_vectors, [&](auto shape, const FeaturePlace& place) {
      if (index++ % plan.slices != slice) return;
      for (std::int64_t row = rows.begin; row < rows.end; ++row) body(shape, place, row);
    });
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
