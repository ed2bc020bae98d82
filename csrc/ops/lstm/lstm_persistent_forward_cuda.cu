#include "ops/lstm/lstm_persistent_math.cuh"

namespace nnzoo::cuda {
namespace {

template <class T>
struct ForwardArgs {
  const T* w_hh;
  Accumulator<T>* preactivations;
  Accumulator<T>* cells;  // null: nothing is kept for backward
  T* h;
  Accumulator<T>* c;
  T* output;
};

// Dynamic shared memory: h twice, for steps of even and odd number, the sums likewise, c, and the weights of a wide
// state.
template <class T, bool wide>
struct ForwardMemory {
  using A = Accumulator<T>;
  static constexpr int kParts = GateMathOf<T, wide>::kParts;
  static constexpr int kSums = kParts * kBatchTile * kSumsPitch;  // of a tile
  int depth, pitch, rows, tiles;

  __host__ __device__ ForwardMemory(int blocks, int tiles)
      : depth(blocks * kUnits), pitch(depth + kPackSize<T>), rows(tiles * kBatchTile), tiles(tiles) {}

  __host__ __device__ std::size_t h_bytes() const { return 2 * sizeof(T) * rows * pitch; }
  __host__ __device__ std::size_t state_bytes() const {
    return h_bytes() + sizeof(A) * (2 * static_cast<std::size_t>(tiles) * kSums + rows * kUnits);
  }
  __host__ __device__ std::size_t bytes() const { return state_bytes() + GateMathOf<T, wide>::Shared::kBytes; }
  __device__ T* h(int parity) const { return dynamic_shared<T>() + parity * rows * pitch; }
  __device__ A* sums(int parity, int tile) const {
    return reinterpret_cast<A*>(dynamic_shared<unsigned char>() + h_bytes()) + (parity * tiles + tile) * kSums;
  }
  __device__ A* c() const { return sums(2, 0); }
  __device__ void* weights() const { return dynamic_shared<unsigned char>() + state_bytes(); }
};

// Copies this block's units of the next h to the other blocks of the cluster, 16 bytes at a time.
template <class T, bool wide>
__device__ void send(T* next, const ForwardMemory<T, wide>& memory, int rank, int blocks) {
  constexpr int kPacks = kUnits / kPackSize<T>;
  for (int i = threadIdx.x; i < memory.rows * kPacks * (blocks - 1); i += kPersistentThreads) {
    const int to = i / (memory.rows * kPacks);
    const int at = i % (memory.rows * kPacks);
    auto* const pack =
        reinterpret_cast<Pack<T, kPackSize<T>>*>(next + at / kPacks * memory.pitch + rank * kUnits) + at % kPacks;
    *map_shared_rank(pack, static_cast<unsigned>(to < rank ? to : to + 1)) = *pack;
  }
}

template <class T, bool wide>
__global__ void __launch_bounds__(kPersistentThreads, 1)
    persistent_forward_kernel(const __grid_constant__ Directions<ForwardArgs<T>> both) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  using A = Accumulator<T>;
  using Math = GateMathOf<T, wide>;
  const int hidden = both.hidden;
  const int blocks = static_cast<int>(cluster_blocks());
  const Place place(both.tiles);
  const ForwardMemory<T, wide> memory(blocks, both.tiles);
  const bool inside = place.unit < hidden;

  Math math(memory.weights());
  math.load(both.args().w_hh, place.rank, hidden, memory.depth);
  for (int i = threadIdx.x; i < memory.rows * memory.pitch; i += kPersistentThreads) {
    const int sequence = place.slice + i / memory.pitch;
    const int unit = i % memory.pitch;
    const bool known = sequence < both.batch && unit < hidden;
    memory.h(0)[i] = known ? both.args().h[static_cast<std::int64_t>(sequence) * hidden + unit] : narrow<T>(0);
    memory.h(1)[i] = narrow<T>(0);
  }
  for (int tile = 0; tile < both.tiles; ++tile) {
    const int sequence = place.sequence(tile);
    const std::int64_t at = static_cast<std::int64_t>(sequence) * hidden + place.unit;
    memory.c()[tile * kPersistentThreads + threadIdx.x] = inside && sequence < both.batch ? both.args().c[at] : A(0);
  }
  cluster_sync();

  // The input's part of the gates, asked for a tile ahead of its use.
  const auto input_of = [&](std::int64_t first, int count, int tile, A(&into)[4]) {
    const int sequence = place.sequence(tile);
    const A* const from = both.args().preactivations + (first + sequence) * 4 * hidden + place.unit;
#pragma unroll
    for (int gate = 0; gate < 4; ++gate)
      into[gate] = inside && sequence < count ? from[static_cast<std::int64_t>(gate) * hidden] : A(0);
  };
  std::int64_t first = both.first();
  A ahead[4];
  input_of(first, both.count(0), 0, ahead);
  for (int step = 0; step < both.steps; ++step) {
    const int parity = step % 2;
    const int count = both.count(step);
    const T* const h = memory.h(parity);
    T* const next = memory.h(1 - parity);
    for (int tile = 0; tile < both.tiles; ++tile) {
      A gate[4] = {ahead[0], ahead[1], ahead[2], ahead[3]};
      if (tile + 1 < both.tiles)
        input_of(first, count, tile + 1, ahead);
      else if (step + 1 < both.steps)
        input_of(both.next_first(first, step), both.count(step + 1), 0, ahead);
      A* const sums = memory.sums(parity, tile);
      math.multiply(h + tile * kBatchTile * memory.pitch, memory.pitch, sums);
      __syncthreads();
      const int own = (tile * kBatchTile + place.warp) * memory.pitch + place.unit;
      T out = h[own];
      if (inside && place.sequence(tile) < count) {
#pragma unroll
        for (int g = 0; g < 4; ++g) {
          A* const sum = sums + place.warp * kSumsPitch + g * kUnits + place.lane;
#pragma unroll
          for (int part = 0; part < Math::kParts; ++part) gate[g] += sum[part * kBatchTile * kSumsPitch];
          *sum = gate[g];
        }
        A& c = memory.c()[tile * kPersistentThreads + threadIdx.x];
        c = logistic(gate[1]) * c + logistic(gate[0]) * hyperbolic_tangent(gate[2]);
        out = narrow<T>(logistic(gate[3]) * hyperbolic_tangent(c));
      }
      next[own] = out;
    }
    __syncthreads();
    send(next, memory, place.rank, blocks);
    cluster_arrive();
    // What leaves the chip is written while the others arrive.
    for (int tile = 0; tile < both.tiles; ++tile) {
      const int sequence = place.sequence(tile);
      if (!inside || sequence >= count) continue;
      const std::int64_t row = first + sequence;
      both.args().output[row * both.output_stride + place.unit] =
          next[(tile * kBatchTile + place.warp) * memory.pitch + place.unit];
      if (!both.args().cells) continue;
      both.args().cells[row * hidden + place.unit] = memory.c()[tile * kPersistentThreads + threadIdx.x];
      const A* const sums = memory.sums(parity, tile) + place.warp * kSumsPitch + place.lane;
      A* const preactivations = both.args().preactivations + row * 4 * hidden + place.unit;
#pragma unroll
      for (int g = 0; g < 4; ++g) preactivations[static_cast<std::int64_t>(g) * hidden] = sums[g * kUnits];
    }
    cluster_wait();
    first = both.next_first(first, step);
  }
  for (int tile = 0; tile < both.tiles; ++tile) {
    const int sequence = place.sequence(tile);
    if (!inside || sequence >= both.batch) continue;
    const std::int64_t at = static_cast<std::int64_t>(sequence) * hidden + place.unit;
    const int own = (tile * kBatchTile + place.warp) * memory.pitch + place.unit;
    both.args().h[at] = memory.h(both.steps % 2)[own];
    both.args().c[at] = memory.c()[tile * kPersistentThreads + threadIdx.x];
  }
#else
  __trap();
#endif
}

}  // namespace

void lstm_forward_persistent(const LstmForwardSteps* directions, int count, int tiles, void* stream) {
  const LstmSteps& shape = directions[0].shape;
  if (shape.batch * shape.hidden == 0) return;
  dispatch_dtype(shape.dtype, [&](auto element) {
    using T = decltype(element);
    using A = Accumulator<T>;
    const auto blocks = static_cast<int>(ceil_div<std::int64_t>(shape.hidden, kUnits));
    Directions<ForwardArgs<T>> both{};
    both.tiles = tiles;
    both.output_stride = directions[0].output_stride;
    dispatch_width<T>(shape.hidden, [&](auto wide) {
      launch_persistent<persistent_forward_kernel<T, wide()>>(
          directions, count, false, both, ForwardMemory<T, wide()>(blocks, tiles).bytes(), stream,
          [&](const LstmForwardSteps& args) {
            return ForwardArgs<T>{static_cast<const T*>(args.w_hh), static_cast<A*>(args.preactivations),
                                  static_cast<A*>(args.cells),      static_cast<T*>(args.h),
                                  static_cast<A*>(args.c),          static_cast<T*>(args.output)};
          });
    });
  });
}

}  // namespace nnzoo::cuda
