// Backward: a block finds the deltas of its own 128 gate rows, multiplies them with its rows of w_hh, and sends each
// other block what that adds to its part of dh. The sums are added in the order of the blocks.
#include "ops/lstm/lstm_persistent_math.cuh"

namespace nnzoo::cuda {
namespace {

constexpr int kReceivedPitch = kBatchTile + 2;  // [unit][batch]: pairs are aligned, and lanes meet in two banks at most

template <class T>
struct BackwardArgs {
  using A = Accumulator<T>;
  const T* w_hh;
  const A* preactivations;
  const A* cells;
  const T* output;
  const T* h0;
  const A* c0;
  const T* grad_output;
  A* grad_h;
  A* grad_c;
  T* deltas;
  T* previous;
};

// Dynamic shared memory: what the blocks of the cluster sent, for steps of even and odd number; the gradients of h and
// c; deltas; h before the step; the weights of a wide state. Gradients, deltas and h are read by other threads of the
// block only as factors.
template <class T, bool wide>
struct BackwardMemory {
  using A = Accumulator<T>;
  static constexpr int kParts = DeltaMathOf<T, wide>::kParts;
  static constexpr int kPitch = kGateRows + kPackSize<T>;
  int sources, tiles;

  __host__ __device__ BackwardMemory(int blocks, int tiles) : sources(blocks * kParts), tiles(tiles) {}

  __host__ __device__ std::size_t received_count() const {
    return 2 * static_cast<std::size_t>(tiles) * sources * kUnits * kReceivedPitch;
  }
  __host__ __device__ std::size_t state_bytes() const {
    const std::size_t cells = static_cast<std::size_t>(tiles) * kPersistentThreads;
    return sizeof(A) * (received_count() + 2 * cells) + sizeof(T) * (cells / kUnits * kPitch + cells);
  }
  __host__ __device__ std::size_t bytes() const { return state_bytes() + DeltaMathOf<T, wide>::Shared::kBytes; }
  __device__ void* weights() const { return dynamic_shared<unsigned char>() + state_bytes(); }
  // [unit][batch] of one source.
  __device__ A* received(int parity, int tile, int source) const {
    return dynamic_shared<A>() + ((parity * tiles + tile) * sources + source) * (kUnits * kReceivedPitch);
  }
  __device__ A& grad_h(int tile) const {
    return dynamic_shared<A>()[received_count() + tile * kPersistentThreads + threadIdx.x];
  }
  __device__ A& grad_c(int tile) const { return (&grad_h(tile))[tiles * kPersistentThreads]; }
  __device__ T* deltas(int tile) const {
    return reinterpret_cast<T*>(dynamic_shared<A>() + received_count() + 2 * tiles * kPersistentThreads) +
           tile * kBatchTile * kPitch;
  }
  __device__ T& before(int tile) const { return deltas(tiles)[tile * kPersistentThreads + threadIdx.x]; }
};

// What one cell needs from global memory, asked for a tile ahead.
template <class T>
struct CellInputs {
  using A = Accumulator<T>;
  A gate[4] = {};
  A cell = 0;
  A cell_before = 0;
  T grad_output = narrow<T>(0);
  T before = narrow<T>(0);

  __device__ CellInputs(const Directions<BackwardArgs<T>>& both, int step, std::int64_t first, int sequence, int unit) {
    if (unit >= both.hidden || sequence >= both.count(step)) return;
    const BackwardArgs<T>& args = both.args();
    const std::int64_t row = first + sequence;
#pragma unroll
    for (int g = 0; g < 4; ++g) gate[g] = args.preactivations[(row * 4 + g) * both.hidden + unit];
    cell = args.cells[row * both.hidden + unit];
    grad_output = args.grad_output[row * both.grad_output_stride + unit];
    if (sequence < both.count(step + 1)) {
      const std::int64_t row_before = both.next_first(first, step) + sequence;
      cell_before = args.cells[row_before * both.hidden + unit];
      before = args.output[row_before * both.output_stride + unit];
    } else {
      const std::int64_t at = static_cast<std::int64_t>(sequence) * both.hidden + unit;
      cell_before = args.c0[at];
      before = args.h0[at];
    }
  }
};

template <class T, bool wide>
__global__ void __launch_bounds__(kPersistentThreads, 1)
    persistent_backward_kernel(const __grid_constant__ Directions<BackwardArgs<T>> both) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  using A = Accumulator<T>;
  const int hidden = both.hidden;
  const int tiles = both.tiles;
  const int blocks = static_cast<int>(cluster_blocks());
  const Place place(tiles);
  const BackwardMemory<T, wide> memory(blocks, tiles);
  const bool inside = place.unit < hidden;

  DeltaMathOf<T, wide> math(memory.weights());
  math.load(both.args().w_hh, place.rank, hidden, blocks * kUnits);
  for (int tile = 0; tile < tiles; ++tile) {
    const int sequence = place.sequence(tile);
    const std::int64_t at = static_cast<std::int64_t>(sequence) * hidden + place.unit;
    const bool known = inside && sequence < both.batch;
    memory.grad_h(tile) = known ? both.args().grad_h[at] : A(0);
    memory.grad_c(tile) = known ? both.args().grad_c[at] : A(0);
  }
  cluster_sync();

  // dh, from what step `step` sent.
  const auto take = [&](int step, int tile) {
    A sum = 0;
    for (int source = 0; source < memory.sources; ++source)
      sum += memory.received(step % 2, tile, source)[place.lane * kReceivedPitch + place.warp];
    memory.grad_h(tile) = sum;
  };
  std::int64_t first = both.first();
  CellInputs<T> ahead(both, 0, first, place.sequence(0), place.unit);
  for (int step = 0; step < both.steps; ++step) {
    const int count = both.count(step);
    for (int tile = 0; tile < tiles; ++tile) {
      const int sequence = place.sequence(tile);
      const CellInputs<T> in = ahead;
      if (tile + 1 < tiles)
        ahead = CellInputs<T>(both, step, first, place.sequence(tile + 1), place.unit);
      else if (step + 1 < both.steps)
        ahead = CellInputs<T>(both, step + 1, both.next_first(first, step), place.sequence(0), place.unit);
      if (step > 0 && sequence < both.count(step - 1)) take(step - 1, tile);
      T* const delta = memory.deltas(tile) + place.warp * memory.kPitch + place.lane;
      A grad[4] = {};
      if (inside && sequence < count) {
        const Differentiated<A> i = differentiated_logistic(in.gate[0]);
        const Differentiated<A> f = differentiated_logistic(in.gate[1]);
        const Differentiated<A> g = differentiated_tanh(in.gate[2]);
        const Differentiated<A> o = differentiated_logistic(in.gate[3]);
        const Differentiated<A> t = differentiated_tanh(in.cell);
        const A into_h = widen(in.grad_output) + memory.grad_h(tile);
        const A into_c = memory.grad_c(tile) + into_h * o.value * t.derivative;
        grad[0] = into_c * g.value * i.derivative;
        grad[1] = into_c * in.cell_before * f.derivative;
        grad[2] = into_c * i.value * g.derivative;
        grad[3] = into_h * t.value * o.derivative;
        memory.grad_c(tile) = into_c * f.value;
      }
#pragma unroll
      for (int g = 0; g < 4; ++g) delta[g * kUnits] = narrow<T>(grad[g]);
      memory.before(tile) = in.before;
    }
    __syncthreads();
    for (int tile = 0; tile < tiles; ++tile) {
      math.multiply(memory.deltas(tile), memory.kPitch, blocks * kUnits,
                    [&](int unit, int batch, int part, const Pack<A, 2>& sums) {
                      A* const into = memory.received(step % 2, tile, place.rank * memory.kParts + part) +
                                      unit % kUnits * kReceivedPitch + batch;
                      *map_shared_rank(reinterpret_cast<Pack<A, 2>*>(into), static_cast<unsigned>(unit / kUnits)) =
                          sums;
                    });
    }
    cluster_arrive();
    // What leaves the chip is written while the others arrive.
    for (int tile = 0; tile < tiles; ++tile) {
      const int sequence = place.sequence(tile);
      if (!inside || sequence >= count) continue;
      const std::int64_t row = first + sequence;
      const T* const delta = memory.deltas(tile) + place.warp * memory.kPitch + place.lane;
      T* const deltas = both.args().deltas + row * 4 * hidden + place.unit;
#pragma unroll
      for (int g = 0; g < 4; ++g) deltas[static_cast<std::int64_t>(g) * hidden] = delta[g * kUnits];
      both.args().previous[row * hidden + place.unit] = memory.before(tile);
    }
    cluster_wait();
    first = both.next_first(first, step);
  }
  for (int tile = 0; tile < tiles; ++tile) {
    const int sequence = place.sequence(tile);
    if (!inside || sequence >= both.batch) continue;
    if (sequence < both.count(both.steps - 1)) take(both.steps - 1, tile);
    const std::int64_t at = static_cast<std::int64_t>(sequence) * hidden + place.unit;
    both.args().grad_h[at] = memory.grad_h(tile);
    both.args().grad_c[at] = memory.grad_c(tile);
  }
#else
  __trap();
#endif
}

}  // namespace

void lstm_backward_persistent(const LstmBackwardSteps* directions, int count, int tiles, void* stream) {
  const LstmSteps& shape = directions[0].shape;
  if (shape.batch * shape.hidden == 0) return;
  dispatch_dtype(shape.dtype, [&](auto element) {
    using T = decltype(element);
    using A = Accumulator<T>;
    const auto blocks = static_cast<int>(ceil_div<std::int64_t>(shape.hidden, kUnits));
    Directions<BackwardArgs<T>> both{};
    both.tiles = tiles;
    both.output_stride = directions[0].output_stride;
    both.grad_output_stride = directions[0].grad_output_stride;
    dispatch_width<T>(shape.hidden, [&](auto wide) {
      launch_persistent<persistent_backward_kernel<T, wide()>>(
          directions, count, true, both, BackwardMemory<T, wide()>(blocks, tiles).bytes(), stream,
          [&](const LstmBackwardSteps& args) {
            return BackwardArgs<T>{static_cast<const T*>(args.w_hh),
                                   static_cast<const A*>(args.preactivations),
                                   static_cast<const A*>(args.cells),
                                   static_cast<const T*>(args.output),
                                   static_cast<const T*>(args.h0),
                                   static_cast<const A*>(args.c0),
                                   static_cast<const T*>(args.grad_output),
                                   static_cast<A*>(args.grad_h),
                                   static_cast<A*>(args.grad_c),
                                   static_cast<T*>(args.deltas),
                                   static_cast<T*>(args.previous)};
          });
    });
  });
}

}  // namespace nnzoo::cuda
