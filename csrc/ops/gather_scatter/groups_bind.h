// A graph's groups of edges as Python hands them over.
#pragma once

#include <pybind11/stl.h>

#include <tuple>

#include "common/bind.h"
#include "ops/gather_scatter/gather_scatter.h"

namespace nnzoo {

// (start, node, edge, num_groups, num_nodes, num_edges), as nnzoo_fast/ops/gather_scatter/cpu.py makes it.
using Groups = std::tuple<Address, Address, Address, std::int64_t, std::int64_t, std::int64_t>;

inline EdgeGroups edge_groups(const Groups& groups) {
  const auto& [start, node, edge, num_groups, num_nodes, num_edges] = groups;
  return {pointer<const std::int32_t>(start),
          pointer<const std::int32_t>(node),
          pointer<const std::int32_t>(edge),
          num_groups,
          num_nodes,
          num_edges};
}

}  // namespace nnzoo
