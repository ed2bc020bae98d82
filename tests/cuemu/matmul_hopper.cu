// A matrix product as Hopper GPUs want it: one warp loads tiles by tensor maps, a warpgroup multiplies them by wgmma,
// and mbarriers hand the stages of the pipeline to and fro. Clusters of two blocks share the tiles of b by multicast.
#include "common/bulk_copy.cuh"
#include "common/cluster.cuh"
#include "common/launch.cuh"
#include "common/wgmma.cuh"
#include "guarded.h"

using nnzoo::WgmmaSwizzle;
using std::uint32_t;
using std::uint64_t;

namespace {

constexpr int kRows = 64;      // of a tile of a and c
constexpr int kColumns = 128;  // of a tile of b and c
constexpr int kDepth = 64;     // 128 bytes: one swizzle span
constexpr int kStages = 3;
constexpr int kClusterBlocks = 2;
constexpr int kThreads = 128 + 32;

struct Stage {
  __align__(1024) __nv_bfloat16 a[kRows][kDepth];
  __align__(1024) __nv_bfloat16 b[kColumns][kDepth];
};

// c = a * b^T. a: [rows, depth], b: [columns, depth], c: [rows, columns] with sizes that are multiples of the tiles'.
__global__ void __launch_bounds__(kThreads)
    multiply(const __grid_constant__ CUtensorMap a_map, const __grid_constant__ CUtensorMap b_map, float* c,
             int columns, int depth) {
  Stage* stages = nnzoo::dynamic_shared<Stage>();
  __shared__ uint64_t full[kStages];
  __shared__ uint64_t empty[kStages];
  const int row = blockIdx.x * kRows;
  const int column = blockIdx.y * kColumns;
  const int steps = depth / kDepth;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      nnzoo::mbarrier_init(&full[i], 1);
      nnzoo::mbarrier_init(&empty[i], kClusterBlocks);  // both blocks read what either loads
    }
    nnzoo::mbarrier_fence_init();
  }
  nnzoo::cluster_sync();

  if (threadIdx.x >= 128) {
    if (threadIdx.x == 128) {
      const unsigned rank = nnzoo::cluster_rank();
      for (int step = 0; step < steps; ++step) {
        const int i = step % kStages;
        Stage& stage = stages[i];
        nnzoo::mbarrier_wait(&empty[i], (step / kStages + 1) % 2);
        nnzoo::mbarrier_arrive_expect_bytes(&full[i], sizeof stage.a + sizeof stage.b);
        const int a_start[2] = {step * kDepth, row};
        nnzoo::tensor_copy_to_shared(stage.a, &a_map, a_start, &full[i]);
        // Each block loads its half of b for both.
        const int half = kColumns / kClusterBlocks * rank;
        const int b_start[2] = {step * kDepth, column + half};
        nnzoo::tensor_copy_to_cluster(stage.b[half], &b_map, b_start, &full[i], (1 << kClusterBlocks) - 1);
      }
    }
  } else {
    float sums[kColumns / 2] = {};
    for (int step = 0; step < steps; ++step) {
      const int i = step % kStages;
      nnzoo::mbarrier_wait(&full[i], step / kStages % 2);
      nnzoo::wgmma_fence();
      for (int k = 0; k < kDepth; k += 16)
        nnzoo::wgmma<kColumns>(sums, nnzoo::wgmma_descriptor(&stages[i].a[0][k], 16, 1024, WgmmaSwizzle::bytes_128),
                               nnzoo::wgmma_descriptor(&stages[i].b[0][k], 16, 1024, WgmmaSwizzle::bytes_128), true,
                               __nv_bfloat16());
      nnzoo::wgmma_commit();
      nnzoo::wgmma_wait<0>(sums);
      if (threadIdx.x < kClusterBlocks) nnzoo::mbarrier_arrive_at_rank(&empty[i], threadIdx.x);
    }
    const int own_row = row + threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
    for (int i = 0; i < kColumns / 2; ++i)
      c[(own_row + i / 2 % 2 * 8) * columns + column + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2] = sums[i];
  }
  nnzoo::cluster_sync();  // nobody ends while the other may still write to or arrive in its shared memory
}

CUtensorMap map_of(void* address, int rows, int depth, int box_rows) {
  const uint64_t sizes[2] = {static_cast<uint64_t>(depth), static_cast<uint64_t>(rows)};
  const uint64_t strides[1] = {static_cast<uint64_t>(depth) * 2};
  const uint32_t box[2] = {kDepth, static_cast<uint32_t>(box_rows)};
  return nnzoo::make_tensor_map<2>(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, address, sizes, strides, box,
                                   CU_TENSOR_MAP_SWIZZLE_128B);
}

}  // namespace

EXPORT(matmul_on_hopper)(void* a, void* b, float* c, int rows, int columns, int depth) {
  return guarded([&] {
    nnzoo::launch_together<multiply>({dim3(kClusterBlocks)}, dim3(rows / kRows, columns / kColumns), kThreads,
                                     kStages * sizeof(Stage), nullptr, map_of(a, rows, depth, kRows),
                                     map_of(b, columns, depth, kColumns / kClusterBlocks), c, columns, depth);
  });
}
