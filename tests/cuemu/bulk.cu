// mbarriers and bulk copies: linear, tensors, between the blocks of a cluster.
#include "common/bulk_copy.cuh"
#include "common/cluster.cuh"
#include "common/launch.cuh"
#include "guarded.h"

using nnzoo::launch;
using nnzoo::launch_together;
using std::uint64_t;

namespace {

constexpr int kTile = 64;
constexpr int kStages = 2;

enum class Twin { right, no_wait_for_full, no_wait_for_empty, no_wait_for_store };

// One warp loads tiles, another doubles and stores them. in, out: [tiles * 64]
template <Twin twin>
__global__ void double_in_pipeline(const float* in, float* out, int tiles) {
  __shared__ __align__(16) float loaded[kStages][kTile];
  __shared__ __align__(16) float stored[kTile];
  __shared__ uint64_t full[kStages];
  __shared__ uint64_t empty[kStages];
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      nnzoo::mbarrier_init(&full[stage], 1);
      nnzoo::mbarrier_init(&empty[stage], 32);
    }
    nnzoo::mbarrier_fence_init();
  }
  for (int i = threadIdx.x; i < kStages * kTile; i += blockDim.x) loaded[i / kTile][i % kTile] = -1.0f;
  __syncthreads();
  const int lane = threadIdx.x % 32;
  if (threadIdx.x < 32) {
    if (lane > 0) return;
    for (int tile = 0; tile < tiles; ++tile) {
      const int stage = tile % kStages;
      const unsigned parity = tile / kStages % 2;
      if (twin != Twin::no_wait_for_empty) nnzoo::mbarrier_wait(&empty[stage], parity ^ 1);
      nnzoo::mbarrier_arrive_expect_bytes(&full[stage], sizeof loaded[stage]);
      nnzoo::bulk_copy_to_shared(loaded[stage], &in[tile * kTile], sizeof loaded[stage], &full[stage]);
    }
  } else {
    for (int tile = 0; tile < tiles; ++tile) {
      const int stage = tile % kStages;
      const unsigned parity = tile / kStages % 2;
      if (twin != Twin::no_wait_for_full) nnzoo::mbarrier_wait(&full[stage], parity);
      const float values[2] = {loaded[stage][lane], loaded[stage][lane + 32]};
      nnzoo::mbarrier_arrive(&empty[stage]);
      if (lane == 0 && twin != Twin::no_wait_for_store) nnzoo::bulk_copy_wait_read<0>();
      __syncwarp();
      stored[lane] = 2 * values[0];
      stored[lane + 32] = 2 * values[1];
      nnzoo::bulk_copy_fence();
      __syncwarp();
      if (lane == 0) {
        nnzoo::bulk_copy_to_global(&out[tile * kTile], stored, sizeof stored);
        nnzoo::bulk_copy_commit();
      }
    }
    if (lane == 0) nnzoo::bulk_copy_wait<0>();
    if (twin == Twin::no_wait_for_full)
      for (int stage = 0; stage < kStages; ++stage) nnzoo::mbarrier_wait(&full[stage], (tiles - 1) / kStages % 2);
  }
}

struct Box {
  int start[5];
};

// Loads a box, copies the shared memory as it is to `raw`, and stores the box through a second map.
template <int rank>
__global__ void move_box(const __grid_constant__ CUtensorMap from, const __grid_constant__ CUtensorMap to, Box box,
                         int bytes, unsigned char* raw) {
  unsigned char* shared = nnzoo::dynamic_shared<unsigned char>();
  __shared__ uint64_t barrier;
  int start[rank];
  for (int i = 0; i < rank; ++i) start[i] = box.start[i];
  if (threadIdx.x == 0) {
    nnzoo::mbarrier_init(&barrier, 1);
    nnzoo::mbarrier_fence_init();
    nnzoo::mbarrier_arrive_expect_bytes(&barrier, bytes);
    nnzoo::tensor_copy_to_shared(shared, &from, start, &barrier);
  }
  __syncthreads();
  nnzoo::mbarrier_wait(&barrier, 0);
  for (int i = threadIdx.x; i < bytes; i += blockDim.x) raw[i] = shared[i];
  if (threadIdx.x == 0) {
    nnzoo::tensor_copy_to_global(&to, start, shared);
    nnzoo::bulk_copy_commit();
    nnzoo::bulk_copy_wait<0>();
  }
}

// Block 0 of each cluster loads a row for all; then every block sends its part to the next one. in: [clusters, 32];
// out: [2, blocks, 32]
__global__ void pass_around(const float* in, float* out) {
  __shared__ __align__(16) float row[32];
  __shared__ __align__(16) float own[32];
  __shared__ __align__(16) float mail[32];
  __shared__ uint64_t arrived[2];
  __shared__ uint64_t taken;
  const unsigned rank = nnzoo::cluster_rank();
  const unsigned count = nnzoo::cluster_blocks();
  if (threadIdx.x == 0) {
    nnzoo::mbarrier_init(&arrived[0], 1);
    nnzoo::mbarrier_init(&arrived[1], 1);
    nnzoo::mbarrier_init(&taken, count);
    nnzoo::mbarrier_fence_init();
    nnzoo::mbarrier_arrive_expect_bytes(&arrived[0], sizeof row);
    nnzoo::mbarrier_arrive_expect_bytes(&arrived[1], sizeof mail);
  }
  nnzoo::cluster_sync();
  if (rank == 0 && threadIdx.x == 0)
    nnzoo::bulk_copy_to_cluster(row, &in[blockIdx.x / count * 32], sizeof row, &arrived[0],
                                static_cast<std::uint16_t>((1u << count) - 1));
  nnzoo::mbarrier_wait(&arrived[0], 0);
  own[threadIdx.x] = row[threadIdx.x] + 100 * rank;
  nnzoo::bulk_copy_fence();
  __syncthreads();
  if (threadIdx.x == 0) nnzoo::bulk_copy_to_rank(mail, own, sizeof own, &arrived[1], (rank + 1) % count);
  nnzoo::mbarrier_wait(&arrived[1], 0);
  out[blockIdx.x * 32 + threadIdx.x] = row[threadIdx.x];
  out[(gridDim.x + blockIdx.x) * 32 + threadIdx.x] = mail[threadIdx.x];
  // Every block tells every other one that it has finished with it.
  if (threadIdx.x < count) nnzoo::mbarrier_arrive_at_rank(&taken, threadIdx.x);
  nnzoo::mbarrier_wait(&taken, 0);
  nnzoo::cluster_sync();
}

// Looks again and again instead of waiting.
__global__ void poll(const float* in, float* out) {
  __shared__ __align__(16) float row[32];
  __shared__ uint64_t barrier;
  if (threadIdx.x == 0) {
    nnzoo::mbarrier_init(&barrier, 1);
    nnzoo::mbarrier_fence_init();
    nnzoo::mbarrier_arrive_expect_bytes(&barrier, sizeof row);
    nnzoo::bulk_copy_to_shared(row, in, sizeof row, &barrier);
  }
  __syncthreads();
  while (!nnzoo::mbarrier_test_wait(&barrier, 0)) {
  }
  out[threadIdx.x] = row[threadIdx.x];
}

__global__ void make_mistake(int which, const __grid_constant__ CUtensorMap map, float* global) {
  float* shared = nnzoo::dynamic_shared<float>();
  __shared__ uint64_t barriers[2];
  uint64_t* barrier = &barriers[0];
  const int start[1] = {0};
  if (threadIdx.x == 0) nnzoo::mbarrier_init(barrier, which == 8 ? 0 : 2);
  __syncthreads();
  if (threadIdx.x > 0) {
    if (which == 4) nnzoo::mbarrier_wait(barrier, 0);
    return;
  }
  switch (which) {
    case 0:
      return nnzoo::mbarrier_arrive(nnzoo::dynamic_shared<uint64_t>());
    case 1:
      for (int i = 0; i < 2; ++i) nnzoo::bulk_copy_to_shared(shared, global, 16, barrier);
      return;
    case 2:
      return nnzoo::bulk_copy_to_shared(shared + 1, global, 16, barrier);
    case 3:
      return nnzoo::bulk_copy_to_shared(shared, global, 20, barrier);
    case 4:
      nnzoo::mbarrier_arrive_expect_bytes(barrier, 64);
      nnzoo::mbarrier_arrive(barrier);
      nnzoo::bulk_copy_to_shared(shared, global, 48, barrier);
      return nnzoo::mbarrier_wait(barrier, 0);
    case 5:
      return nnzoo::tensor_copy_to_shared(shared, &map, start, barrier);
    case 6:
      return nnzoo::bulk_copy_to_global(global, shared, 16);
    case 7:
      return nnzoo::mbarrier_arrive(reinterpret_cast<uint64_t*>(reinterpret_cast<char*>(barrier) + 4));
    case 9:
      return nnzoo::bulk_copy_to_cluster(shared, global, 16, barrier, 2);
    case 10:
      return nnzoo::bulk_copy_to_shared(shared, global, 16, nnzoo::dynamic_shared<uint64_t>()), __nanosleep(1),
             nnzoo::mbarrier_wait(barrier, 0);
    case 11:
      nnzoo::mbarrier_invalidate(barrier);
      return nnzoo::mbarrier_arrive(barrier);
  }
}

}  // namespace

EXPORT(run_double_in_pipeline)(const float* in, float* out, int tiles, int twin) {
  return guarded([&] {
    switch (static_cast<Twin>(twin)) {
      case Twin::right:
        return launch<double_in_pipeline<Twin::right>>(1, 64, 0, nullptr, in, out, tiles);
      case Twin::no_wait_for_full:
        return launch<double_in_pipeline<Twin::no_wait_for_full>>(1, 64, 0, nullptr, in, out, tiles);
      case Twin::no_wait_for_empty:
        return launch<double_in_pipeline<Twin::no_wait_for_empty>>(1, 64, 0, nullptr, in, out, tiles);
      case Twin::no_wait_for_store:
        return launch<double_in_pipeline<Twin::no_wait_for_store>>(1, 64, 0, nullptr, in, out, tiles);
    }
  });
}

namespace {

template <int rank>
void run_box(void* from, void* to, const uint64_t* sizes, const uint64_t* strides, const std::uint32_t* box,
             const int* start, int type, int element_bytes, int swizzle, unsigned char* raw) {
  uint64_t own_sizes[rank];
  std::uint32_t own_box[rank];
  Box begin{};
  int bytes = element_bytes;
  for (int i = 0; i < rank; ++i) {
    own_sizes[i] = sizes[i];
    own_box[i] = box[i];
    begin.start[i] = start[i];
    bytes *= static_cast<int>(box[i]);
  }
  const auto kind = static_cast<CUtensorMapDataType>(type);
  const auto pattern = static_cast<CUtensorMapSwizzle>(swizzle);
  const CUtensorMap source = nnzoo::make_tensor_map<rank>(kind, from, own_sizes, strides, own_box, pattern);
  const CUtensorMap target = nnzoo::make_tensor_map<rank>(kind, to, own_sizes, strides, own_box, pattern);
  launch<move_box<rank>>(1, 32, static_cast<size_t>(bytes), nullptr, source, target, begin, bytes, raw);
}

}  // namespace

EXPORT(run_move_box)(int rank, void* from, void* to, const uint64_t* sizes, const uint64_t* strides,
                     const std::uint32_t* box, const int* start, int type, int bytes, int swizzle, unsigned char* raw) {
  return guarded([&] {
    switch (rank) {
      case 1:
        return run_box<1>(from, to, sizes, strides, box, start, type, bytes, swizzle, raw);
      case 2:
        return run_box<2>(from, to, sizes, strides, box, start, type, bytes, swizzle, raw);
      case 3:
        return run_box<3>(from, to, sizes, strides, box, start, type, bytes, swizzle, raw);
      case 4:
        return run_box<4>(from, to, sizes, strides, box, start, type, bytes, swizzle, raw);
      case 5:
        return run_box<5>(from, to, sizes, strides, box, start, type, bytes, swizzle, raw);
    }
  });
}
EXPORT(run_pass_around)(const float* in, float* out) {
  return guarded([&] { launch_together<pass_around>({dim3(4)}, 8, 32, 0, nullptr, in, out); });
}
EXPORT(run_poll)(const float* in, float* out) {
  return guarded([&] { launch<poll>(1, 32, 0, nullptr, in, out); });
}
EXPORT(run_bulk_mistake)(int which, float* global) {
  return guarded([&] {
    const uint64_t sizes[2] = {64, 2};
    const uint64_t strides[1] = {256};
    const std::uint32_t box[2] = {16, 2};
    const CUtensorMap map = nnzoo::make_tensor_map<2>(CU_TENSOR_MAP_DATA_TYPE_FLOAT32, global, sizes, strides, box,
                                                      CU_TENSOR_MAP_SWIZZLE_NONE);
    launch<make_mistake>(1, 2, 1024, nullptr, which, map, global);
  });
}
