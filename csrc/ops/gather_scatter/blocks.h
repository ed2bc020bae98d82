// Blocks of groups whose number and borders don't depend on the number of threads.
#pragma once

#include "ops/gather_scatter/schedule.h"

namespace nnzoo {
namespace NNZOO_ISA {

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
