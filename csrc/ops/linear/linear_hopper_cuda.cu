// The product as Hopper GPUs want it (compute capability 9.0): wgmma fed by tensor maps.
//
// A block has two warpgroups that multiply, 64 rows each, and a third of which one thread starts the copies. A ring of
// stages, 64 of the depth each, hands tiles over: `full` counts the bytes that have come, `empty` the warpgroups that
// have finished with them. Blocks stay and take tile after tile, so that the next tile's copies run while the last one
// is stored. The wide configuration joins two blocks to a cluster: each loads its own rows of a, and half of the
// columns of b for both.
#include "ops/linear/linear_dispatch.cuh"
#include "ops/linear/linear_hopper.cuh"

namespace nnzoo::cuda {
namespace hopper {
namespace {

template <bool a_along_depth, bool b_along_depth, class Memory>
__device__ void produce(Memory& memory, const Maps& maps, const Walk& walk, std::int64_t first, std::int64_t step_by) {
  constexpr int kCluster = Memory::kCluster;
  const int rank = kCluster > 1 ? static_cast<int>(cluster_rank()) : 0;
  Turn<Memory::kStages> turn;
  for (std::int64_t index = first; index < walk.items; index += step_by) {
    const Item item = item_of<Memory>(walk, index);
    const int part = Memory::kColumns / kCluster * rank;
    for (int step = 0; step < item.steps; ++step, turn.next()) {
      auto& stage = memory.stages[turn.stage];
      std::uint64_t* const full = &memory.full[turn.stage];
      const std::int64_t k = item.slice * walk.slice + static_cast<std::int64_t>(step) * kDepth;
      mbarrier_wait(&memory.empty[turn.stage], turn.parity ^ 1);
      mbarrier_arrive_expect_bytes(full, sizeof stage);
      for_each_box<a_along_depth>(item.row, k, [&](int at, const int (&corner)[2]) {
        tensor_copy_to_shared(stage.a + at, &maps.a, corner, full);
      });
      for_each_box<b_along_depth>(item.column + part, k, [&](int at, const int (&corner)[2]) {
        auto* const into = stage.b + part * kDepth + at;
        if constexpr (kCluster > 1) {
          tensor_copy_to_cluster(into, &maps.b, corner, full, (1 << kCluster) - 1);
        } else {
          tensor_copy_to_shared(into, &maps.b, corner, full);
        }
      });
    }
  }
}

// The strips of a warp on their way to global memory: while a tensor map takes one, the next is written.
template <class T>
class StripStore {
 public:
  __device__ StripStore(T (&strips)[2][kStripRows * kStripColumns], const Maps& maps, const Walk& walk)
      : strips_(strips), maps_(maps), by_map_(walk.stores_by_map) {}

  __device__ void operator()(const Output<T>& to, T* tensor, const float (&values)[kStripValues], std::int64_t row,
                             std::int64_t column) {
    const bool leads = threadIdx.x % 32 == 0;
    T* const strip = strips_[odd_];
    odd_ = !odd_;
    if (by_map_ && leads) bulk_copy_wait_read<1>();
    __syncwarp();
    put_strip(strip, values);
    if (!by_map_) {
      __syncwarp();
      store_strip(to, tensor, strip, row, column);
      return;
    }
    bulk_copy_fence();
    __syncwarp();
    if (leads && row < to.rows && column < to.columns) {
      const int corner[2] = {static_cast<int>(column), static_cast<int>(row)};
      tensor_copy_to_global(tensor == to.out ? &maps_.out : &maps_.kept, corner, strip);
    }
    if (leads) bulk_copy_commit();
  }

  __device__ void wait() const {
    if (by_map_ && threadIdx.x % 32 == 0) bulk_copy_wait<0>();
  }

 private:
  T (&strips_)[2][kStripRows * kStripColumns];
  const Maps& maps_;
  bool by_map_;
  bool odd_ = false;
};

template <bool a_along_depth, bool b_along_depth, class Memory, class T>
__device__ void consume(Memory& memory, const Maps& maps, const Output<T>& to, const Walk& walk, std::int64_t first,
                        std::int64_t step_by) {
  constexpr int kColumns = Memory::kColumns;
  constexpr int kCluster = Memory::kCluster;
  const int warpgroup_row = static_cast<int>(threadIdx.x) / 128 * 64;
  const int thread = threadIdx.x % 128;
  StripStore<T> store(memory.strips[threadIdx.x / 32], maps, walk);
  Turn<Memory::kStages> turn;
  const auto release = [&](int stage) {
    if constexpr (kCluster > 1) {
      if (thread < kCluster) mbarrier_arrive_at_rank(&memory.empty[stage], thread);
    } else {
      if (thread == 0) mbarrier_arrive(&memory.empty[stage]);
    }
  };
  for (std::int64_t index = first; index < walk.items; index += step_by) {
    const Item item = item_of<Memory>(walk, index);
    float sums[kColumns / 2];
    int before = 0;
    for (int step = 0; step < item.steps; ++step, turn.next()) {
      const auto& stage = memory.stages[turn.stage];
      mbarrier_wait(&memory.full[turn.stage], turn.parity);
      wgmma_fence();
#pragma unroll
      for (int k = 0; k < kDepth; k += 16)
        wgmma<kColumns, !a_along_depth, !b_along_depth>(sums, descriptor<a_along_depth>(stage.a, warpgroup_row, k),
                                                        descriptor<b_along_depth>(stage.b, 0, k), step + k > 0, T());
      wgmma_commit();
      wgmma_wait<1>();
      if (step > 0) release(before);
      before = turn.stage;
    }
    wgmma_wait<0>(sums);
    release(before);

    const std::int64_t row = item.row + warpgroup_row + thread / 32 * kStripRows;
    std::int64_t column = item.column;
#pragma unroll 1
    for (int strip = 0; strip < kColumns / kStripColumns; ++strip, column += kStripColumns) {
      float values[kStripValues];
#pragma unroll
      for (int i = 0; i < kStripValues; ++i) values[i] = sums[i];
#pragma unroll
      for (int i = kStripValues; i < kColumns / 2; ++i) sums[i - kStripValues] = sums[i];
      if (to.parts) {
        store_part(to, item.slice, values, row, column);
      } else {
        finish_strip(to, values, row, column,
                     [&](T* tensor, const float (&rounded)[kStripValues]) { store(to, tensor, rounded, row, column); });
      }
    }
  }
  store.wait();
}

template <bool a_along_depth, bool b_along_depth, class Memory>
__global__ void __launch_bounds__(kThreads, 1)
    product_kernel(const __grid_constant__ Maps maps, const Output<typename Memory::Element> to, const Walk walk) {
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL) || defined(NNZOO_CUEMU)
  Memory& memory = Memory::of_block();
  if (threadIdx.x == 0) {
    for (int i = 0; i < Memory::kStages; ++i) {
      mbarrier_init(&memory.full[i], 1);
      mbarrier_init(&memory.empty[i], kMultiplyingThreads / 128 * Memory::kCluster);
    }
    mbarrier_fence_init();
  }
  const auto meet = [] {
    if constexpr (Memory::kCluster > 1) {
      cluster_sync();
    } else {
      __syncthreads();
    }
  };
  meet();
  const std::int64_t first = blockIdx.x / Memory::kCluster;
  const std::int64_t step_by = gridDim.x / Memory::kCluster;
  if (threadIdx.x >= kMultiplyingThreads) {
    give_registers<40>();
    if (threadIdx.x == kMultiplyingThreads) produce<a_along_depth, b_along_depth>(memory, maps, walk, first, step_by);
    __syncwarp();
  } else {
    take_registers<232>();
    consume<a_along_depth, b_along_depth>(memory, maps, to, walk, first, step_by);
  }
  meet();  // nobody ends while the other may still write to its shared memory or arrive there
#else
  __trap();
#endif
}

template <class T>
constexpr CUtensorMapDataType kMapType = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
template <>
constexpr CUtensorMapDataType kMapType<__half> = CU_TENSOR_MAP_DATA_TYPE_FLOAT16;

// A matrix of `lines` of `length` neighbours.
template <class T>
CUtensorMap map_of(const void* data, std::int64_t length, std::int64_t lines, std::int64_t stride,
                   unsigned lines_of_box) {
  const std::uint64_t sizes[2] = {static_cast<std::uint64_t>(length), static_cast<std::uint64_t>(lines)};
  const std::uint64_t strides[1] = {static_cast<std::uint64_t>(stride) * sizeof(T)};
  const std::uint32_t box[2] = {kLine, lines_of_box};
  return make_tensor_map<2>(kMapType<T>, const_cast<void*>(data), sizes, strides, box, CU_TENSOR_MAP_SWIZZLE_128B);
}

template <class T, bool along_depth>
CUtensorMap map_of_operand(const void* data, std::int64_t rows, std::int64_t depth, std::int64_t row_stride,
                           std::int64_t depth_stride) {
  return along_depth ? map_of<T>(data, depth, rows, row_stride, kBoxLines)
                     : map_of<T>(data, rows, depth, depth_stride, kDepth);
}

template <bool a_along_depth, bool b_along_depth, class Memory>
void launch_hopper(const LinearProduct& args, void* stream) {
  using T = typename Memory::Element;
  constexpr int kCluster = Memory::kCluster;
  Walk walk;
  walk.group = 8;
  walk.row_units = static_cast<int>(ceil_div<std::int64_t>(args.rows, kRows * kCluster));
  walk.column_tiles = static_cast<int>(ceil_div<std::int64_t>(args.columns, Memory::kColumns));
  walk.items = args.slices() * walk.row_units * walk.column_tiles;
  walk.depth = args.depth;
  walk.slice = args.parts ? args.slice : args.depth;
  const Output<T> to(args);
  walk.stores_by_map = to.packed;
  Maps maps;
  maps.a = map_of_operand<T, a_along_depth>(args.a, args.rows, args.depth, args.a_row, args.a_depth);
  maps.b = map_of_operand<T, b_along_depth>(args.b, args.columns, args.depth, args.b_row, args.b_depth);
  maps.out = maps.kept = maps.a;
  if (walk.stores_by_map) {
    maps.out = map_of<T>(args.out, args.columns, args.rows, args.columns, kStripRows);
    if (args.kept) maps.kept = map_of<T>(args.kept, args.columns, args.rows, args.columns, kStripRows);
  }
  const std::int64_t most = args.multiprocessors / kCluster;
  const auto clusters = static_cast<unsigned>(walk.items < most ? walk.items : most);
  launch_together<product_kernel<a_along_depth, b_along_depth, Memory>>({dim3(kCluster)}, dim3(clusters * kCluster),
                                                                        kThreads, sizeof(Memory) + kAlignment, stream,
                                                                        maps, Output<T>(args), walk);
}

}  // namespace
}  // namespace hopper

void linear_hopper(const LinearProduct& args, void* stream) {
  using namespace hopper;
  // 48 KB a stage or 32 KB; both rings take 192 KB, and the strips 32 KB.
  constexpr int kWideColumns = 256;
  const std::int64_t wide_tiles =
      ceil_div<std::int64_t>(args.rows, kRows) * ceil_div<std::int64_t>(args.columns, kWideColumns);
  const bool for_two = args.rows > kRows && args.columns > kWideColumns / 2 && args.multiprocessors > 1;
  const bool wide = for_two && wide_tiles * args.slices() >= args.multiprocessors;
  dispatch_16_bit(args, [&](auto element, auto a_along_depth, auto b_along_depth) {
    using T = decltype(element);
    if (wide) {
      launch_hopper<a_along_depth, b_along_depth, Shared<T, kWideColumns, 4, 2>>(args, stream);
    } else {
      launch_hopper<a_along_depth, b_along_depth, Shared<T, 128, 6, 1>>(args, stream);
    }
  });
}

}  // namespace nnzoo::cuda
