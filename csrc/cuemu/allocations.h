// The device memory that a program has asked the runtime for.
#pragma once

#include <cstddef>

namespace cuemu {

struct Allocation {
  char* begin = nullptr;  // nullptr: there is none
  std::size_t bytes = 0;
};

// The allocation that `address` lies in.
Allocation find_allocation(const void* address);

}  // namespace cuemu
