// Blocks keep their stacks from one launch to the next.
#pragma once

#include <memory>

#include "cuemu/block.h"

namespace cuemu {

std::unique_ptr<Block> take_block();
void give_back(std::unique_ptr<Block> block);

}  // namespace cuemu
