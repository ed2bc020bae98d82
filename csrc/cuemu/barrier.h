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

inline void __threadfence() {
  CUEMU_TELL_FENCE();
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
inline void __threadfence_block() { __threadfence(); }
inline void __threadfence_system() { __threadfence(); }

[[noreturn]] inline void __trap(cuemu::Site site = cuemu::Site::here()) { cuemu::fail("__trap was called", site); }
