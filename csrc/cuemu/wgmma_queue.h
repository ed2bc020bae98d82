// The wgmma instructions that a thread has started. Internal to the emulator's .cpp files.
#pragma once

#include <vector>

#include "cuemu/wgmma.h"

namespace cuemu {

struct WgmmaOperation {
  WgmmaOperands operands;
  std::uint32_t a_registers[4];
  std::vector<float> d_before;  // of the first one that is under way on these accumulators
  unsigned group;
  Site site;
};

struct WgmmaQueue {
  std::vector<WgmmaOperation> operations;  // under way
  std::size_t done = 0;                    // that were before them; the same for all threads of a warpgroup
  unsigned open_group = 0;
  bool is_fenced = false;
};

}  // namespace cuemu
