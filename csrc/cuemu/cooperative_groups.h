// Cooperative groups (CUDA programming guide, "Cooperative Groups"): a block, a tile of a warp, the lanes that happen
// to be together, a cluster, a grid. Each is a name for threads, on which the collectives of the other headers work.
#pragma once

#include "cuemu/barrier.h"
#include "cuemu/cluster.h"
#include "cuemu/warp.h"

namespace cooperative_groups {

using cuemu::Site;

// What all groups of lanes of one warp can do. A thread's rank is its place among the lanes of the mask.
class lane_group {
 public:
  explicit lane_group(unsigned mask) : mask_(mask) {}

  unsigned lanes() const { return mask_; }
  unsigned long long size() const { return num_threads(); }
  unsigned num_threads() const { return static_cast<unsigned>(__builtin_popcount(mask_)); }
  unsigned thread_rank() const {
    return static_cast<unsigned>(__builtin_popcount(mask_ & ((1u << cuemu::lane()) - 1)));
  }
  void sync(Site site = Site::here()) const { __syncwarp(mask_, site); }

  template <class T>
  T shfl(T value, int rank, Site site = Site::here()) const {
    return read(value, static_cast<unsigned>(rank) % num_threads(), site);
  }
  template <class T>
  T shfl_up(T value, unsigned delta, Site site = Site::here()) const {
    return read(value, thread_rank() >= delta ? thread_rank() - delta : thread_rank(), site);
  }
  template <class T>
  T shfl_down(T value, unsigned delta, Site site = Site::here()) const {
    return read(value, delta < num_threads() - thread_rank() ? thread_rank() + delta : thread_rank(), site);
  }
  int any(int predicate, Site site = Site::here()) const { return __any_sync(mask_, predicate, site); }
  int all(int predicate, Site site = Site::here()) const { return __all_sync(mask_, predicate, site); }
  // Bit i is the thread of rank i.
  unsigned ballot(int predicate, Site site = Site::here()) const {
    return by_rank(__ballot_sync(mask_, predicate, site));
  }
  template <class T>
  unsigned match_any(T value, Site site = Site::here()) const {
    return by_rank(__match_any_sync(mask_, value, site));
  }
  template <class T>
  unsigned match_all(T value, int& all, Site site = Site::here()) const {
    return by_rank(__match_all_sync(mask_, value, &all, site));
  }

 protected:
  template <class T>
  T read(T value, unsigned rank, Site site) const {
    return cuemu::read_lane<cuemu::Shuffle::index>(mask_, value, lane_of(rank), site);
  }
  unsigned lane_of(unsigned rank) const {
    unsigned rest = mask_;
    for (; rank; --rank) rest &= rest - 1;
    return static_cast<unsigned>(__builtin_ctz(rest));
  }
  unsigned by_rank(unsigned lanes) const {
    unsigned ranks = 0;
    unsigned rank = 0;
    for (unsigned rest = mask_; rest; rest &= rest - 1, ++rank)
      if (lanes & rest & -rest) ranks |= 1u << rank;
    return ranks;
  }

  unsigned mask_;
};

// Lanes that came together, or a part of other groups.
class coalesced_group : public lane_group {
 public:
  explicit coalesced_group(unsigned mask, unsigned rank = 0, unsigned count = 1)
      : lane_group(mask), rank_(rank), count_(count) {}
  unsigned meta_group_rank() const { return rank_; }
  unsigned meta_group_size() const { return count_; }

 private:
  unsigned rank_;
  unsigned count_;
};

inline coalesced_group coalesced_threads(Site site = Site::here()) {
  return coalesced_group(cuemu::converged_lanes(site));
}

class thread_block {
 public:
  static void sync(Site site = Site::here()) { __syncthreads(site); }
  static unsigned thread_rank() { return cuemu::thread_number(); }
  static unsigned num_threads() { return blockDim.x * blockDim.y * blockDim.z; }
  static unsigned size() { return num_threads(); }
  static uint3 thread_index() { return threadIdx; }
  static uint3 group_index() { return blockIdx; }
  static dim3 group_dim() { return blockDim; }
  static dim3 dim_threads() { return blockDim; }
};

inline thread_block this_thread_block() { return thread_block(); }

// `size` neighbouring threads of one warp, a power of two.
template <unsigned tile_size, class Parent = void>
class thread_block_tile : public lane_group {
  static_assert(tile_size > 0 && tile_size <= 32 && (tile_size & (tile_size - 1)) == 0,
                "a tile is a power of two up to 32; larger ones are not emulated");

 public:
  explicit thread_block_tile(unsigned rank, unsigned count) : lane_group(own_lanes()), rank_(rank), count_(count) {}
  // `thread_block_tile<32>`, as most programs write it, leaves out the parent.
  template <class Other>
  thread_block_tile(const thread_block_tile<tile_size, Other>& tile)
      : thread_block_tile(tile.meta_group_rank(), tile.meta_group_size()) {}

  static constexpr unsigned num_threads() { return tile_size; }
  static constexpr unsigned size() { return tile_size; }
  static unsigned thread_rank() { return cuemu::lane() % tile_size; }
  unsigned meta_group_rank() const { return rank_; }
  unsigned meta_group_size() const { return count_; }
  template <class T>
  T shfl_xor(T value, unsigned lane_mask, Site site = Site::here()) const {
    return this->read(value, (thread_rank() ^ lane_mask) % tile_size, site);
  }

 private:
  static unsigned own_lanes() {
    const unsigned lanes = tile_size == 32 ? cuemu::kFullMask : (1u << tile_size % 32) - 1;
    return lanes << (cuemu::lane() & ~(tile_size - 1));
  }

  unsigned rank_;
  unsigned count_;
};

template <unsigned tile_size>
thread_block_tile<tile_size, thread_block> tiled_partition(const thread_block&) {
  return thread_block_tile<tile_size, thread_block>(thread_block::thread_rank() / tile_size,
                                                    (thread_block::num_threads() + tile_size - 1) / tile_size);
}
template <unsigned tile_size, unsigned parent_size, class Parent>
thread_block_tile<tile_size, thread_block_tile<parent_size, Parent>> tiled_partition(
    const thread_block_tile<parent_size, Parent>&) {
  static_assert(tile_size <= parent_size, "a tile is not larger than its parent");
  return thread_block_tile<tile_size, thread_block_tile<parent_size, Parent>>(cuemu::lane() % parent_size / tile_size,
                                                                              parent_size / tile_size);
}

// A block or some lanes of a warp, decided when the program runs.
class thread_group {
 public:
  thread_group(const thread_block&) : lanes_(0), is_block_(true) {}
  thread_group(const lane_group& lanes) : lanes_(lanes.lanes()), is_block_(false) {}

  void sync(Site site = Site::here()) const { is_block_ ? thread_block::sync(site) : lanes_.sync(site); }
  unsigned thread_rank() const { return is_block_ ? thread_block::thread_rank() : lanes_.thread_rank(); }
  unsigned num_threads() const { return is_block_ ? thread_block::num_threads() : lanes_.num_threads(); }
  unsigned long long size() const { return num_threads(); }
  bool is_block() const { return is_block_; }
  const lane_group& lanes() const { return lanes_; }

 private:
  lane_group lanes_;
  bool is_block_;
};

inline thread_group tiled_partition(const thread_group& parent, unsigned tile_size, Site site = Site::here()) {
  if (tile_size == 0 || tile_size > 32 || (tile_size & (tile_size - 1)))
    cuemu::fail("a tile is a power of two up to 32", site);
  const unsigned first = parent.thread_rank() / tile_size * tile_size;
  const unsigned last = first + tile_size < parent.num_threads() ? first + tile_size : parent.num_threads();
  unsigned mask = 0;
  unsigned rank = 0;
  const unsigned all = parent.is_block() ? cuemu::kFullMask : parent.lanes().lanes();
  const unsigned offset = parent.is_block() ? parent.thread_rank() & ~31u : 0;
  for (unsigned rest = all; rest; rest &= rest - 1, ++rank)
    if (offset + rank >= first && offset + rank < last) mask |= rest & -rest;
  return thread_group(lane_group(mask));
}

// The threads of a group that have the same label.
template <class Group, class Label>
coalesced_group labeled_partition(const Group& group, Label label, Site site = Site::here()) {
  const unsigned same = __match_any_sync(group.lanes(), label, site);
  // Groups are numbered by their first lanes.
  const bool is_first = (same & ((1u << cuemu::lane()) - 1)) == 0;
  const unsigned firsts = __ballot_sync(group.lanes(), is_first, site);
  const unsigned before = firsts & ((1u << __builtin_ctz(same)) - 1);
  return coalesced_group(same, static_cast<unsigned>(__builtin_popcount(before)),
                         static_cast<unsigned>(__builtin_popcount(firsts)));
}
template <class Group>
coalesced_group binary_partition(const Group& group, bool predicate, Site site = Site::here()) {
  const unsigned yes = __ballot_sync(group.lanes(), predicate, site);
  return coalesced_group(predicate ? yes : group.lanes() & ~yes, predicate ? 1 : 0, 2);
}

class cluster_group {
 public:
  static void sync(Site site = Site::here()) { cuemu::cluster_barrier(site); }
  static void barrier_arrive(Site site = Site::here()) { cuemu::cluster_arrive(site); }
  static void barrier_wait(Site site = Site::here()) { cuemu::cluster_wait(site); }
  static unsigned block_rank() { return cuemu::cluster_rank(); }
  static unsigned num_blocks() { return cuemu::cluster_block_count(); }
  static uint3 block_index() { return cuemu::block_index_in_cluster(); }
  static dim3 dim_blocks() { return dim3(cuemu::cluster_size()); }
  static unsigned thread_rank() { return block_rank() * thread_block::num_threads() + thread_block::thread_rank(); }
  static unsigned num_threads() { return num_blocks() * thread_block::num_threads(); }
  static unsigned size() { return num_threads(); }
  template <class T>
  static T* map_shared_rank(T* address, int rank, Site site = Site::here()) {
    return cuemu::map_shared_rank(address, static_cast<unsigned>(rank), site);
  }
};

inline cluster_group this_cluster() { return cluster_group(); }

class grid_group {
 public:
  static bool is_valid() { return cuemu::is_cooperative(); }
  static void sync(Site site = Site::here()) { cuemu::grid_barrier(site); }
  static unsigned long long block_rank() {
    return blockIdx.x + gridDim.x * (blockIdx.y + static_cast<unsigned long long>(gridDim.y) * blockIdx.z);
  }
  static unsigned long long num_blocks() { return static_cast<unsigned long long>(gridDim.x) * gridDim.y * gridDim.z; }
  static unsigned long long thread_rank() {
    return block_rank() * thread_block::num_threads() + thread_block::thread_rank();
  }
  static unsigned long long num_threads() { return num_blocks() * thread_block::num_threads(); }
  static unsigned long long size() { return num_threads(); }
  static uint3 block_index() { return blockIdx; }
  static dim3 dim_blocks() { return gridDim; }
  static dim3 group_dim() { return gridDim; }
};

inline grid_group this_grid() { return grid_group(); }

template <class Group>
void sync(const Group& group, Site site = Site::here()) {
  group.sync(site);
}

}  // namespace cooperative_groups
