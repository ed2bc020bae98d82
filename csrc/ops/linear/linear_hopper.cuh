// What the blocks of the Hopper kernel agree on: the tensor maps, the order of the tiles, where a tile lies in shared
// memory, and whose turn it is.
#pragma once

#include "common/bulk_copy.cuh"
#include "common/cluster.cuh"
#include "common/wgmma.cuh"
#include "ops/linear/linear_output.cuh"

namespace nnzoo::cuda::hopper {

constexpr int kRows = 128;  // of a tile
constexpr int kDepth = 64;
constexpr int kLine = 64;  // elements that are neighbours in memory: 128 bytes, a swizzle span
constexpr int kBoxLines = 128;
constexpr int kMultiplyingThreads = 256;
constexpr int kThreads = kMultiplyingThreads + 128;
constexpr int kAlignment = 1024;  // of 8 swizzled lines

struct Maps {
  CUtensorMap a, b, out, kept;
};

struct Walk {
  int row_units, column_tiles;  // a unit: the rows of a cluster
  int group;                    // of neighbouring units that are walked together
  std::int64_t items;
  std::int64_t depth, slice;
  bool stores_by_map;
};

// One tile of one slice of the depth.
struct Item {
  int slice, row, column, steps;
};

// The order of the tiles: slices of the depth apart; in a slice, groups of rows; in a group column by column. Blocks
// that run at the same time then share rows of a and columns of b in L2.
template <class Memory>
__device__ Item item_of(const Walk& walk, std::int64_t index) {
  const int rank = Memory::kCluster > 1 ? static_cast<int>(cluster_rank()) : 0;
  const std::int64_t tiles = static_cast<std::int64_t>(walk.row_units) * walk.column_tiles;
  const std::int64_t of_group = static_cast<std::int64_t>(walk.group) * walk.column_tiles;
  const std::int64_t tile = index % tiles;
  const int first = static_cast<int>(tile / of_group) * walk.group;
  const int height = walk.row_units - first < walk.group ? walk.row_units - first : walk.group;
  const auto inside = static_cast<int>(tile % of_group);
  const auto slice = static_cast<int>(index / tiles);
  const std::int64_t left = walk.depth - slice * walk.slice;
  return {slice, ((first + inside % height) * Memory::kCluster + rank) * kRows, inside / height * Memory::kColumns,
          static_cast<int>(ceil_div<std::int64_t>(left < walk.slice ? left : walk.slice, kDepth))};
}

template <class T, int kColumns_, int kStages_, int kCluster_>
struct Shared {
  using Element = T;
  static constexpr int kColumns = kColumns_;
  static constexpr int kStages = kStages_;
  static constexpr int kCluster = kCluster_;
  struct Stage {
    T a[kRows * kDepth];
    T b[kColumns * kDepth];
  };
  Stage stages[kStages];
  T strips[kMultiplyingThreads / 32][2][kStripRows * kStripColumns];
  std::uint64_t full[kStages], empty[kStages];

  static __device__ Shared& of_block() {
    auto* const start = dynamic_shared<unsigned char>();
    return *reinterpret_cast<Shared*>(start +
                                      (kAlignment - reinterpret_cast<std::uintptr_t>(start) % kAlignment) % kAlignment);
  }
};

// Which stage of the ring is next, and the parity of its phase.
template <int stages>
struct Turn {
  int stage = 0;
  unsigned parity = 0;
  __device__ void next() {
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// Along depth a tile has a line per row, else it has panels of 64 rows, each with a line for each of the depth.
template <bool along_depth, class T>
__device__ std::uint64_t descriptor(const T* tile, int row, int k) {
  const T* const start = along_depth ? tile + row * kLine + k : tile + (row / kLine * kDepth + k) * kLine;
  return wgmma_descriptor(start, along_depth ? 16 : kDepth * kLine * 2, kAlignment, WgmmaSwizzle::bytes_128);
}

template <bool along_depth, class Copy>
__device__ void for_each_box(int row, std::int64_t k, const Copy& copy) {
  const int depth = static_cast<int>(k);
  if constexpr (along_depth) {
    copy(0, {depth, row});
  } else {
#pragma unroll
    for (int panel = 0; panel < kBoxLines / kLine; ++panel) copy(panel * kDepth * kLine, {row + panel * kLine, depth});
  }
}

}  // namespace nnzoo::cuda::hopper
