// Clusters: blocks that run together, wait for each other and reach into each other's shared memory (PTX ISA,
// "barrier.cluster", "mapa", and the special registers %cluster_*). cooperative_groups.h says the same in CUDA's words,
// csrc/common/cluster.cuh in this project's.
#pragma once

#include "cuemu/runtime.h"

namespace cuemu {

inline uint3 block_index_in_cluster() {
  const uint3 size = cluster_size();
  return {blockIdx.x % size.x, blockIdx.y % size.y, blockIdx.z % size.z};
}

inline unsigned cluster_block_count() {
  const uint3 size = cluster_size();
  return size.x * size.y * size.z;
}

inline void cluster_barrier(Site site) {
  cluster_arrive(site);
  cluster_wait(site);
}

template <class T>
T* map_shared_rank(T* address, unsigned rank, Site site) {
  return static_cast<T*>(map_shared(address, rank, site));
}

}  // namespace cuemu
