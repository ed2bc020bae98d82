// The persistent kernels of `lstm`: one launch runs all steps of one direction. A cluster of blocks has a slice of the
// batch to itself. Each of its blocks has 32 hidden units: it keeps the 128 rows of w_hh that belong to them in its
// registers, 128 of each thread, and exchanges what the others need through distributed shared memory, with one cluster
// barrier a step. Clusters never wait for each other.
#pragma once

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

// The widest state whose weights fit: 256 threads with 512 bytes for 128 rows, and at most 16 blocks in a cluster.
template <class T>
constexpr int kMostHidden =
    kPersistentThreads * kWeightBytes / kGateRows / static_cast<int>(sizeof(T)) < kMostClusterBlocks * kUnits
        ? kPersistentThreads * kWeightBytes / kGateRows / static_cast<int>(sizeof(T))
        : kMostClusterBlocks * kUnits;

template <class T>
void check_persistent(std::int64_t hidden) {
  if (hidden > kMostHidden<T>) throw std::invalid_argument("lstm: the recurrent weights don't fit into a cluster");
}

// The rows of up to kMostSteps steps, in the order in which a launch runs them. Counts travel with the launch, so that
// the device waits for no copy; padded batches need none and run all steps in one launch.
struct Walk {
  static constexpr int kMostSteps = 900;
  std::int64_t first;  // the first row of the first step
  int steps;
  int batch;
  bool ragged, ascending;
  std::int32_t counts[kMostSteps + 1];  // if ragged; the last entry is that of the step after this launch

  __device__ int count(int step) const { return ragged ? counts[step] : step < steps ? batch : 0; }
  // Of the next step, given that of this one.
  __device__ std::int64_t next_first(std::int64_t current, int step) const {
    return ascending ? current + count(step) : current - count(step + 1);
  }
};

// Calls `run(walk)` for the launches of a direction, forward or backward.
template <class Run>
void for_each_walk(const LstmSteps& shape, bool backwards, Run run) {
  const bool ascending = shape.reverse == backwards;
  const auto count = [&](std::int64_t step) -> std::int64_t {
    if (step >= shape.steps) return 0;
    if (!shape.batch_sizes) return shape.batch;
    return shape.batch_sizes[ascending ? step : shape.steps - 1 - step];
  };
  Walk walk{};
  walk.batch = static_cast<int>(shape.batch);
  walk.ragged = shape.batch_sizes != nullptr;
  walk.ascending = ascending;
  const std::int64_t most = walk.ragged ? Walk::kMostSteps : shape.steps;
  walk.first = ascending ? 0 : shape.rows - count(0);
  for (std::int64_t begin = 0; begin < shape.steps; begin += most) {
    walk.steps = static_cast<int>(shape.steps - begin < most ? shape.steps - begin : most);
    for (int i = 0; walk.ragged && i <= walk.steps; ++i) walk.counts[i] = static_cast<std::int32_t>(count(begin + i));
    run(walk);
    for (int i = 0; walk.ragged && i < walk.steps; ++i)
      walk.first += ascending ? count(begin + i) : -count(begin + i + 1);
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

// One cluster for each slice of `tiles` tiles of the batch.
template <auto kernel, class Args>
void launch_persistent(const LstmSteps& shape, int tiles, std::size_t shared_bytes, void* stream, const Args& args,
                       const Walk& walk) {
  const auto blocks = static_cast<unsigned>(ceil_div<std::int64_t>(shape.hidden, kUnits));
  const auto slices = static_cast<unsigned>(ceil_div<std::int64_t>(shape.batch, tiles * kBatchTile));
  launch_together<kernel>(Together{dim3(blocks, 1, 1)}, slices * blocks, kPersistentThreads, shared_bytes, stream, args,
                          walk);
}

}  // namespace nnzoo::cuda
