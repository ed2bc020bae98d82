// `mbarrier`: a barrier object in shared memory that counts arriving threads and arriving bytes (PTX ISA, "Parallel
// Synchronization and Communication Instructions: mbarrier").
//
// A phase is over when as many arrivals as `count` have come and all bytes that were announced have been copied; then
// the next one begins by itself. A waiting thread names the phase it waits for by its parity: 0 for the first.
#pragma once

#include <cstdint>

#include "cuemu/runtime.h"

namespace cuemu {

void mbarrier_init(std::uint64_t* barrier, unsigned count, Site site);
void mbarrier_invalidate(std::uint64_t* barrier, Site site);
// The barrier may be one in the shared memory of another block of the cluster.
void mbarrier_arrive(std::uint64_t* barrier, unsigned count, Site site);
// Announces bytes that copies will bring in this phase.
void mbarrier_expect_bytes(std::uint64_t* barrier, unsigned bytes, Site site);
bool mbarrier_test_wait(std::uint64_t* barrier, unsigned parity, Site site);
void mbarrier_wait(std::uint64_t* barrier, unsigned parity, Site site);

// By a copy, when its bytes are there. Returns what is wrong, or nullptr.
const char* mbarrier_complete_bytes(std::uint64_t* barrier, unsigned bytes);

}  // namespace cuemu
