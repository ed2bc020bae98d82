// The persistent kernels of `lstm`: one launch runs all steps of a layer's directions. A cluster of blocks has a slice
// of the batch to itself. Each of its blocks has 32 hidden units: it keeps the 128 rows of w_hh that belong to them in
// its registers, 128 of each thread, and exchanges what the others need through distributed shared memory, with one
// cluster barrier a step. Clusters never wait for each other.
#pragma once

#include <type_traits>

#include "common/cluster.cuh"
#include "common/dtype.cuh"
#include "ops/lstm/lstm_cuda.h"

namespace nnzoo::cuda {

constexpr int kPersistentThreads = 256;
constexpr int kUnits = 32;                 // of a block
constexpr int kGateRows = 4 * kUnits;      // of a block; row 32 * gate + unit
constexpr int kBatchTile = 8;              // sequences that are multiplied together; warp i has the cells of the i-th
constexpr int kWeightBytes = 512;          // of w_hh in the registers of a thread
constexpr int kSumsPitch = kGateRows + 4;  // [batch][row]: tensor cores then write each bank once

constexpr int kMostClusterBlocks = 16;

// The widest state whose weights fit into registers: 256 threads with 512 bytes for 128 rows, and at most 16 blocks in
// a cluster. A `wide` state has as many bytes again in shared memory.
template <class T>
constexpr int kMostNarrow =
    kPersistentThreads * kWeightBytes / kGateRows / static_cast<int>(sizeof(T)) < kMostClusterBlocks * kUnits
        ? kPersistentThreads * kWeightBytes / kGateRows / static_cast<int>(sizeof(T))
        : kMostClusterBlocks * kUnits;

template <class T>
constexpr int kMostHidden =
    kMostNarrow<T> * 2 < kMostClusterBlocks * kUnits ? kMostNarrow<T> * 2 : kMostClusterBlocks * kUnits;

// Calls `run` with whether the state is wide, as a type.
template <class T, class Run>
void dispatch_width(std::int64_t hidden, Run run) {
  if (hidden <= kMostNarrow<T>) return run(std::false_type());
  if constexpr (kMostHidden<T> > kMostNarrow<T>) {
    if (hidden <= kMostHidden<T>) return run(std::true_type());
  }
  throw std::invalid_argument("lstm: the recurrent weights don't fit into a cluster");
}

// The rows of up to kMostSteps steps of a direction, in the order in which a launch runs them. Counts travel with the
// launch, so that the device waits for no copy; padded batches need none and run all steps in one launch.
struct Walk {
  static constexpr int kMostSteps = 450;  // for two directions, within the 4 KB of a kernel's parameters
  std::int64_t first;                     // the first row of the first step
  bool ascending;
  std::int32_t counts[kMostSteps + 1];  // if ragged; the last entry is that of the step after this launch
};

// What a launch is told: the tensors and the steps of each direction, which is the block's number in y, and what both
// have in common. A direction's is looked up anew by each call: kept in registers, it would push out weights.
template <class Args>
struct Directions {
  int hidden, tiles, steps, batch;
  bool ragged;
  std::int64_t output_stride, grad_output_stride;
  Args of[2];
  Walk walk[2];

  __device__ const Args& args() const { return of[direction()]; }
  __device__ std::int64_t first() const { return walk[direction()].first; }
  __device__ int count(int step) const { return ragged ? walk[direction()].counts[step] : step < steps ? batch : 0; }
  // Of the next step, given that of this one.
  __device__ std::int64_t next_first(std::int64_t current, int step) const {
    return walk[direction()].ascending ? current + count(step) : current - count(step + 1);
  }

 private:
  static __device__ unsigned direction() {
    unsigned own = blockIdx.y;
#ifndef NNZOO_CUEMU
    asm volatile("" : "+r"(own));
#endif
    return own;
  }
};

// Calls `run()` for the launches of a layer, with the steps of each direction, forward or backward, in `both`.
template <class Args, class Run>
void for_each_walk(const LstmSteps* shapes, int directions, bool backwards, Directions<Args>& both, Run run) {
  const std::int64_t steps = shapes[0].steps;
  const std::int64_t most = both.ragged ? Walk::kMostSteps : steps;
  const auto count = [&](int direction, std::int64_t step) -> std::int64_t {
    const LstmSteps& shape = shapes[direction];
    if (step >= steps) return 0;
    if (!shape.batch_sizes) return shape.batch;
    return shape.batch_sizes[both.walk[direction].ascending ? step : steps - 1 - step];
  };
  for (int d = 0; d < directions; ++d) {
    both.walk[d].ascending = shapes[d].reverse == backwards;
    both.walk[d].first = both.walk[d].ascending ? 0 : shapes[d].rows - count(d, 0);
  }
  for (std::int64_t begin = 0; begin < steps; begin += most) {
    both.steps = static_cast<int>(steps - begin < most ? steps - begin : most);
    for (int d = 0; d < directions; ++d)
      for (int i = 0; both.ragged && i <= both.steps; ++i)
        both.walk[d].counts[i] = static_cast<std::int32_t>(count(d, begin + i));
    run();
    for (int d = 0; d < directions; ++d)
      for (int i = 0; both.ragged && i < both.steps; ++i)
        both.walk[d].first += both.walk[d].ascending ? count(d, begin + i) : -count(d, begin + i + 1);
  }
}

// Which sequence and unit this thread has in batch tile `tile`, and where the batch slice of its cluster begins.
struct Place {
  int lane = threadIdx.x % 32;
  int warp = threadIdx.x / 32;
  int rank = static_cast<int>(cluster_rank());
  int unit = rank * kUnits + threadIdx.x % 32;
  int slice;  // the first sequence of the slice

  __device__ explicit Place(int tiles) : slice(static_cast<int>(blockIdx.x / cluster_blocks()) * tiles * kBatchTile) {}
  __device__ int sequence(int tile) const { return slice + tile * kBatchTile + warp; }
};

// One cluster for each direction of each slice of `tiles` tiles of the batch. `of(step)` are a direction's arguments.
template <auto kernel, class Args, class Steps, class Of>
void launch_persistent(const Steps* steps, int directions, bool backwards, Directions<Args> both,
                       std::size_t shared_bytes, void* stream, Of of) {
  static_assert(sizeof(both) <= 4096);
  LstmSteps shapes[2]{};
  for (int d = 0; d < directions; ++d) {
    both.of[d] = of(steps[d]);
    shapes[d] = steps[d].shape;
  }
  both.hidden = static_cast<int>(shapes[0].hidden);
  both.batch = static_cast<int>(shapes[0].batch);
  both.ragged = shapes[0].batch_sizes != nullptr;
  const auto blocks = static_cast<unsigned>(ceil_div<std::int64_t>(both.hidden, kUnits));
  const auto slices = static_cast<unsigned>(ceil_div<std::int64_t>(both.batch, both.tiles * kBatchTile));
  for_each_walk(shapes, directions, backwards, both, [&] {
    launch_together<kernel>(Together{dim3(blocks, 1, 1)}, dim3(slices * blocks, directions), kPersistentThreads,
                            shared_bytes, stream, both);
  });
}

}  // namespace nnzoo::cuda
