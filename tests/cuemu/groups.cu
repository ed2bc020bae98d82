// Cooperative groups.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>

#include "common/launch.cuh"
#include "guarded.h"

namespace cg = cooperative_groups;
using nnzoo::launch;
using nnzoo::launch_together;

namespace {

// in: [threads]; out: [12, threads]
template <int size>
__global__ void tiles(const int* in, int* out) {
  cg::thread_block block = cg::this_thread_block();
  cg::thread_block_tile<size> tile = cg::tiled_partition<size>(block);
  const int i = block.thread_rank();
  const int value = in[i];
  const int count = block.size();
  out[i] = tile.thread_rank();
  out[count + i] = tile.meta_group_rank() * 1000 + tile.meta_group_size();
  out[2 * count + i] = tile.shfl(value, size - 1);
  out[3 * count + i] = tile.shfl_xor(value, 1 % size);
  out[4 * count + i] = tile.thread_rank() + 1 < tile.size() ? tile.shfl_down(value, 1) : tile.shfl_down(value, 0);
  out[5 * count + i] = tile.ballot(value % 2);
  out[6 * count + i] = tile.any(value == 3) + 2 * tile.all(value < 10);
  out[7 * count + i] = cg::reduce(tile, value, cg::plus<int>());
  out[8 * count + i] = cg::reduce(tile, value, cg::greater<int>());
  out[9 * count + i] = cg::inclusive_scan(tile, value);
  out[10 * count + i] = cg::exclusive_scan(tile, value, cg::plus<int>());
  out[11 * count + i] = tile.match_any(value);
  tile.sync();
}

__device__ int sum_of(cg::thread_group group, int* scratch, int value) {
  const int rank = group.thread_rank();
  for (int distance = group.size() / 2; distance > 0; distance /= 2) {
    scratch[rank] = value;
    group.sync();
    if (rank < distance) value += scratch[rank + distance];
    group.sync();
  }
  return value;
}

// The same function adds up a block, its warps, and tiles of four. out: [3, 64]
__global__ void sums_of_groups(const int* in, int* out) {
  __shared__ int scratch[64];
  cg::thread_block block = cg::this_thread_block();
  const int i = block.thread_rank();
  out[i] = sum_of(block, scratch, in[i]);
  block.sync();
  auto warp = cg::tiled_partition<32>(block);
  out[64 + i] = sum_of(warp, &scratch[i / 32 * 32], in[i]);
  cg::sync(block);
  auto four = cg::tiled_partition<4>(warp);
  out[128 + i] = sum_of(four, &scratch[i / 4 * 4], in[i]);
}

// One atomic for all lanes that take the branch; each gets its place. out: [64] the places, counts how many atomics.
__global__ void aggregated_atomics(const int* in, int* total, int* atomics, int* out) {
  const int i = threadIdx.x;
  out[i] = -1;
  if (in[i] % 3 == 0) {
    cg::coalesced_group active = cg::coalesced_threads();
    int first = 0;
    if (active.thread_rank() == 0) {
      first = atomicAdd(total, static_cast<int>(active.size()));
      atomicAdd(atomics, 1);
    }
    out[i] = active.shfl(first, 0) + active.thread_rank();
  }
}

// out: [5, 32]
__global__ void partitions(const int* in, int* out) {
  const int i = threadIdx.x;
  auto warp = cg::tiled_partition<32>(cg::this_thread_block());
  auto labeled = cg::labeled_partition(warp, in[i]);
  out[i] = labeled.thread_rank();
  out[32 + i] = labeled.size();
  auto odd = cg::binary_partition(warp, in[i] % 2 == 1);
  out[64 + i] = cg::reduce(odd, in[i], cg::plus<int>());
  out[96 + i] = odd.shfl(in[i], 0);
  out[128 + i] = __activemask() == 0xffffffffu;
}

__global__ void copy_with_group(const float* in, float* out, int waits) {
  float* shared = nnzoo::dynamic_shared<float>();
  cg::thread_block block = cg::this_thread_block();
  cg::memcpy_async(block, shared, in, 100 * sizeof(float));
  if (waits) cg::wait(block);
  block.sync();
  out[threadIdx.x] = shared[threadIdx.x];
  cg::wait(block);
}

__global__ void sum_over_grid(const int* in, int* partial, int* out) {
  __shared__ int sum;
  cg::grid_group grid = cg::this_grid();
  if (threadIdx.x == 0) sum = 0;
  __syncthreads();
  atomicAdd(&sum, in[grid.thread_rank()]);
  __syncthreads();
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
  grid.sync();
  int total = 0;
  for (unsigned i = 0; i < grid.num_blocks(); ++i) total += partial[i];
  out[grid.thread_rank()] = total;
}

__global__ void rotate_in_cluster(int* out) {
  __shared__ int mail;
  cg::cluster_group cluster = cg::this_cluster();
  const unsigned next = (cluster.block_rank() + 1) % cluster.num_blocks();
  cluster.sync();
  if (threadIdx.x == 0) *cluster.map_shared_rank(&mail, next) = cluster.block_rank() * 10 + blockIdx.x;
  cluster.barrier_arrive();
  cluster.barrier_wait();
  if (threadIdx.x == 0) out[blockIdx.x] = mail;
}

}  // namespace

EXPORT(run_tiles)(const int* in, int* out, int threads, int size) {
  return guarded([&] {
    switch (size) {
      case 32:
        return launch<tiles<32>>(1, threads, 0, nullptr, in, out);
      case 8:
        return launch<tiles<8>>(1, threads, 0, nullptr, in, out);
      case 1:
        return launch<tiles<1>>(1, threads, 0, nullptr, in, out);
    }
  });
}
EXPORT(run_sums_of_groups)(const int* in, int* out) {
  return guarded([&] { launch<sums_of_groups>(1, 64, 0, nullptr, in, out); });
}
EXPORT(run_aggregated_atomics)(const int* in, int* total, int* atomics, int* out) {
  return guarded([&] { launch<aggregated_atomics>(1, 64, 0, nullptr, in, total, atomics, out); });
}
EXPORT(run_partitions)(const int* in, int* out) {
  return guarded([&] { launch<partitions>(1, 32, 0, nullptr, in, out); });
}
EXPORT(run_copy_with_group)(const float* in, float* out, int waits) {
  return guarded([&] { launch<copy_with_group>(1, 64, 1024, nullptr, in, out, waits); });
}
EXPORT(run_sum_over_grid)(const int* in, int* partial, int* out) {
  return guarded([&] { launch_together<sum_over_grid>({dim3(1), true}, 12, 64, 0, nullptr, in, partial, out); });
}
EXPORT(run_rotate_in_cluster)(int* out) {
  return guarded([&] { launch_together<rotate_in_cluster>({dim3(4)}, 8, 32, 0, nullptr, out); });
}
