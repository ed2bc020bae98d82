// Barriers of a block, and memory fences.
//
// Only fibers of one OS thread share a block, and none is ever interrupted, so a barrier orders everything by itself.
// Fences matter between blocks, which run on different OS threads.
#pragma once

#include "cuemu/runtime.h"

inline void __syncthreads(cuemu::Site site = cuemu::Site::here()) { cuemu::block_barrier(false, site); }

inline int __syncthreads_count(int predicate, cuemu::Site site = cuemu::Site::here()) {
  return cuemu::block_barrier(predicate != 0, site);
}

inline int __syncthreads_or(int predicate, cuemu::Site site = cuemu::Site::here()) {
  return cuemu::block_barrier(predicate != 0, site) != 0;
}

inline int __syncthreads_and(int predicate, cuemu::Site site = cuemu::Site::here()) {
  return cuemu::block_barrier(predicate == 0, site) == 0;
}

// A thread that waits for another one has a fence between its looks, so fences let others run.
inline void __threadfence_block(cuemu::Site site = cuemu::Site::here()) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  cuemu::may_spin(site);
}
inline void __threadfence(cuemu::Site site = cuemu::Site::here()) { __threadfence_block(site); }
inline void __threadfence_system(cuemu::Site site = cuemu::Site::here()) { __threadfence_block(site); }
