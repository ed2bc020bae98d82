// Blocks that wait for each other: clusters, cooperative grids, spin locks and flags.
#include "common/cluster.cuh"
#include "guarded.h"

using nnzoo::launch;
using nnzoo::launch_together;
using nnzoo::Together;

namespace {

// Each block adds up its own part of a histogram in shared memory and reads the parts of all blocks of its cluster.
// out: [blocks, threads], the sum over the cluster of what thread `threadIdx.x` of each block wrote.
template <bool waits_at_the_end>
__global__ void sum_over_cluster(const int* in, int* out) {
  __shared__ int own[64];
  int* dynamic = nnzoo::dynamic_shared<int>();
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  own[threadIdx.x] = in[at];
  dynamic[threadIdx.x] = 1000 * in[at];
  nnzoo::cluster_sync();
  int sum = 0;
  for (unsigned rank = 0; rank < nnzoo::cluster_blocks(); ++rank) {
    sum += nnzoo::map_shared_rank(own, rank)[threadIdx.x];
    sum += nnzoo::map_shared_rank(dynamic, rank)[threadIdx.x];
  }
  if (waits_at_the_end) nnzoo::cluster_sync();
  out[at] = sum;
}

// Every thread of the cluster adds to a counter in the shared memory of block `rank`.
__global__ void count_in_cluster(int* out) {
  __shared__ int count;
  if (threadIdx.x == 0) count = 0;
  nnzoo::cluster_sync();
  for (unsigned rank = 0; rank < nnzoo::cluster_blocks(); ++rank)
    atomicAdd(nnzoo::map_shared_rank(&count, rank), static_cast<int>(nnzoo::cluster_rank()) + 1);
  nnzoo::cluster_sync();
  if (threadIdx.x == 0) out[blockIdx.x + gridDim.x * blockIdx.y] = count;
}

__global__ void wait_for_absent_block(int* out) {
  if (nnzoo::cluster_rank() == 1 && threadIdx.x < 32) return;
  if (nnzoo::cluster_rank() == 2) __syncthreads();
  if (nnzoo::cluster_rank() == 3) nnzoo::cluster_arrive();
  if (nnzoo::cluster_rank() != 3) nnzoo::cluster_sync();
  out[blockIdx.x] = 1;
}

__global__ void wait_for_ever(int* out) {
  if (nnzoo::cluster_rank() == 1) {
    if (threadIdx.x == 0) __syncthreads();
    __syncwarp();
  }
  nnzoo::cluster_sync();
  out[blockIdx.x] = 1;
}

__global__ void ask_for_a_ninth_block(int* out) {
  __shared__ int value;
  out[0] = *nnzoo::map_shared_rank(&value, 9);
}

__global__ void ask_for_global_memory(int* out) { *nnzoo::map_shared_rank(out, 0) = 1; }

// values: [threads of the grid]; after `steps` steps each holds the sum of its neighbours at the step before.
__global__ void diffuse(int* values, int* next, int steps) {
  const int count = gridDim.x * blockDim.x;
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  for (int step = 0; step < steps; ++step) {
    next[i] = values[(i + 1) % count] + values[(i + count - 1) % count];
    nnzoo::grid_sync();
    int* old = values;
    values = next;
    next = old;
  }
}

__global__ void grid_sync_of_some(int* out) {
  if (blockIdx.x == 1) return;
  nnzoo::grid_sync();
  out[blockIdx.x] = 1;
}

// A lock that every thread takes once; the sum is not atomic.
__global__ void add_under_lock(int* lock, int* sum) {
  while (atomicCAS(lock, 0, 1) != 0) {
  }
  __threadfence();
  const int old = __ldcg(sum);
  __nanosleep(100);
  *sum = old + 1;
  __threadfence();
  atomicExch(lock, 0);
}

// Thread 0 of the last block to begin sets the flag that all others wait for.
__global__ void wait_for_flag(int* flag, int* seen) {
  if (blockIdx.x == 0 && threadIdx.x == 63) {
    atomicExch(flag, 7);
  } else {
    while (atomicAdd(flag, 0) == 0) {
    }
  }
  atomicAdd(seen, *flag);
}

__global__ void spin_for_ever(int* flag) {
  if (threadIdx.x == 5) __syncthreads();
  while (atomicAdd(flag, 0) == 0) {
  }
}

}  // namespace

EXPORT(run_sum_over_cluster)(const int* in, int* out, int blocks, int cluster, int waits) {
  return guarded([&] {
    const Together together{dim3(cluster)};
    if (waits)
      launch_together<sum_over_cluster<true>>(together, blocks, 64, 256, nullptr, in, out);
    else
      launch_together<sum_over_cluster<false>>(together, blocks, 64, 256, nullptr, in, out);
  });
}
EXPORT(run_count_in_cluster)(int* out) {
  return guarded([&] { launch_together<count_in_cluster>({dim3(2, 3)}, dim3(4, 6), 40, 0, nullptr, out); });
}
EXPORT(run_cluster_mistake)(int which, int* out) {
  return guarded([&] {
    switch (which) {
      case 0:
        return launch_together<wait_for_ever>({dim3(2)}, 2, 64, 0, nullptr, out);
      case 1:
        return launch_together<ask_for_a_ninth_block>({dim3(8)}, 8, 1, 0, nullptr, out);
      case 2:
        return launch_together<ask_for_global_memory>({dim3(2)}, 2, 1, 0, nullptr, out);
      case 3:
        return launch_together<sum_over_cluster<true>>({dim3(3)}, 4, 64, 256, nullptr, out, out);
      case 4:
        return launch_together<sum_over_cluster<true>>({dim3(32)}, 32, 64, 256, nullptr, out, out);
      case 5:
        return launch_together<wait_for_absent_block>({dim3(4)}, 4, 64, 0, nullptr, out);
      case 6:
        return launch<diffuse>(4, 32, 0, nullptr, out, out, 1);
      case 7:
        return launch_together<diffuse>({dim3(1), true}, 1000, 1024, 0, nullptr, out, out, 1);
      case 8:
        return launch_together<grid_sync_of_some>({dim3(1), true}, 3, 32, 0, nullptr, out);
      case 9:
        return launch<spin_for_ever>(1, 64, 0, nullptr, out);
      case 10:
        return launch_together<spin_for_ever>({dim3(2)}, 2, 64, 0, nullptr, out);
    }
  });
}
EXPORT(run_diffuse)(int* values, int* next, int blocks, int threads, int steps) {
  return guarded([&] { launch_together<diffuse>({dim3(1), true}, blocks, threads, 0, nullptr, values, next, steps); });
}
EXPORT(run_add_under_lock)(int* lock, int* sum, int blocks) {
  return guarded([&] { launch<add_under_lock>(blocks, 96, 0, nullptr, lock, sum); });
}
EXPORT(run_wait_for_flag)(int* flag, int* seen, int together) {
  return guarded([&] {
    if (together)
      launch_together<wait_for_flag>({dim3(1), true}, 8, 64, 0, nullptr, flag, seen);
    else
      launch<wait_for_flag>(1, 64, 0, nullptr, flag, seen);
  });
}
