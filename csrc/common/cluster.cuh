// Blocks of a cluster: who am I, wait for the others, and where is their shared memory. PTX under nvcc (sm_90), the
// emulator's functions under g++. Launch with `launch_together` (launch.cuh).
#pragma once

#include "common/launch.cuh"
#include "common/site.cuh"

#ifndef NNZOO_CUEMU
#include <cooperative_groups.h>
#endif

namespace nnzoo {

// This block's number within its cluster, x fastest.
__device__ __forceinline__ unsigned cluster_rank() {
#ifdef NNZOO_CUEMU
  return cuemu::cluster_rank();
#else
  unsigned rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
#endif
}

__device__ __forceinline__ unsigned cluster_blocks() {
#ifdef NNZOO_CUEMU
  return cuemu::cluster_block_count();
#else
  unsigned count;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(count));
  return count;
#endif
}

// What this thread wrote to shared memory before `cluster_arrive` is seen by all threads of the cluster after
// `cluster_wait`.
__device__ __forceinline__ void cluster_arrive(NNZOO_SITE_ONLY) {
#ifdef NNZOO_CUEMU
  cuemu::cluster_arrive(site);
#else
  asm volatile("barrier.cluster.arrive.aligned;" ::: "memory");
#endif
}

__device__ __forceinline__ void cluster_wait(NNZOO_SITE_ONLY) {
#ifdef NNZOO_CUEMU
  cuemu::cluster_wait(site);
#else
  asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
#endif
}

// All threads of all blocks of the cluster. Also the last thing a block does whose shared memory others may still read.
__device__ __forceinline__ void cluster_sync(NNZOO_SITE_ONLY) {
#ifdef NNZOO_CUEMU
  cuemu::cluster_barrier(site);
#else
  cluster_arrive();
  cluster_wait();
#endif
}

// The variable at `shared`, an address in this block's shared memory, in the block of rank `rank`.
template <class T>
__device__ __forceinline__ T* map_shared_rank(T* shared, unsigned rank NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  return cuemu::map_shared_rank(shared, rank, site);
#else
  T* address;
  asm volatile("mapa.u64 %0, %1, %2;" : "=l"(address) : "l"(shared), "r"(rank));
  return address;
#endif
}

// All threads of the grid, which must have been launched with `cooperative`.
__device__ __forceinline__ void grid_sync(NNZOO_SITE_ONLY) {
#ifdef NNZOO_CUEMU
  cuemu::grid_barrier(site);
#else
  cooperative_groups::this_grid().sync();
#endif
}

}  // namespace nnzoo
