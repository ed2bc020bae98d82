// Bulk asynchronous copies, done by the Tensor Memory Accelerator (PTX ISA, "cp.async.bulk", "cp.async.bulk.tensor").
//
// Towards shared memory an mbarrier counts the bytes; such a copy is done when nobody can go on without it, in the
// order of the schedule. Towards global memory the thread waits for groups of its own copies; such a copy is done by
// that wait. So what is read too early, or overwritten too early, shows.
#pragma once

#include <cstdint>

#include "cuemu/runtime.h"
#include "cuemu/tensor_map.h"

namespace cuemu {

// `bytes` and both addresses are multiples of 16. `blocks`: which blocks of the cluster receive the copy and its bytes,
// at the same place in their shared memory; 0 is this one alone, or the one whose memory `shared` points into.
void bulk_copy_to_shared(void* shared, const void* from, unsigned bytes, std::uint64_t* barrier, unsigned blocks,
                         Site site);
void bulk_copy_to_global(void* global, const void* shared, unsigned bytes, Site site);

// The box of `map` that begins at `coordinates`, innermost first; what lies outside of the tensor arrives as zero, and
// is left alone on the way back.
void tensor_copy_to_shared(void* shared, const CUtensorMap* map, const int* coordinates, int rank,
                           std::uint64_t* barrier, unsigned blocks, Site site);
void tensor_copy_to_global(const CUtensorMap* map, const int* coordinates, int rank, const void* shared, Site site);

// `fence.proxy.async`: what this thread has written, or seen of others, is there for bulk copies and wgmma that are
// ordered after the fence.
void proxy_fence();

void commit_bulk_copies();
void wait_bulk_copies(unsigned groups_left);

}  // namespace cuemu
