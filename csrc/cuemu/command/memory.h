// Global memory of a kernel that runs unchecked: arrays end before a page that nobody may touch, and what little room
// alignment leaves between is watched for writes.
#pragma once

#include <cstddef>
#include <string>

namespace cuemu::command {

// Aligned to 256 bytes, as cudaMalloc's. `name` is for messages. Never freed: the process runs one kernel.
char* guarded_memory(std::size_t bytes, const std::string& name);

// "4 bytes past the end of out.npy", or "".
std::string describe_address(const void* address);

// A line for each array behind whose end something was written.
std::string overruns();

}  // namespace cuemu::command
