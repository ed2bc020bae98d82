// The GPU that is emulated: the limits of compute capability 9.0 (CUDA programming guide, "Technical Specifications per
// Compute Capability") and the 132 multiprocessors of an H100 or H200.
#pragma once

#include <cstddef>

namespace cuemu {

constexpr unsigned kMultiprocessors = 132;
constexpr unsigned kThreadsPerMultiprocessor = 2048;
constexpr unsigned kBlocksPerMultiprocessor = 32;
constexpr std::size_t kSharedPerMultiprocessor = 228 << 10;
constexpr std::size_t kSharedPerBlock = 227 << 10;
constexpr std::size_t kSharedPerBlockUnasked = 48 << 10;  // more must be asked for with cudaFuncSetAttribute
constexpr std::size_t kSharedReserved = 1 << 10;          // of every block, by the system
constexpr unsigned kThreadsPerBlock = 1024;
constexpr unsigned kBlocksPerCluster = 16;

// How many blocks of this size fit on one multiprocessor. Registers are not counted: g++ knows nothing of them.
constexpr unsigned co_resident_blocks(unsigned threads, std::size_t shared_bytes) {
  unsigned warps = (threads + 31) / 32;
  std::size_t by_threads = kThreadsPerMultiprocessor / (warps * 32);
  std::size_t by_shared = kSharedPerMultiprocessor / (shared_bytes + kSharedReserved);
  std::size_t fewest = by_threads < by_shared ? by_threads : by_shared;
  return static_cast<unsigned>(fewest < kBlocksPerMultiprocessor ? fewest : kBlocksPerMultiprocessor);
}

}  // namespace cuemu
