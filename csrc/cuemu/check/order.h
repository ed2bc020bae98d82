// What happens before what. An access is in order for a thread if the thread has *seen* it: everything that it did
// itself, that was done before the launch, before the last barrier of its block, before the last __syncwarp with its
// lane, or before a release that it has acquired.
//
// All blocks are run by one thread at a time, so one clock serves all, and to have seen thread u is a time: of u's
// accesses, those up to then have been seen.
#pragma once

#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cuemu/check/access.h"

namespace cuemu::check {

// What has been seen of other threads. Only release and acquire need it; barriers and __syncwarp do with less.
class View {
 public:
  bool empty() const { return blocks_.empty(); }
  bool has(const Access& access) const;
  void add(std::uint32_t block, Time everyone);
  void add(std::uint32_t block, unsigned thread, Time time);
  void add(const View& other);

 private:
  struct OfBlock {
    Time everyone = 0;
    std::map<unsigned, Time> threads;
  };
  std::map<std::uint32_t, OfBlock> blocks_;
};

// What the threads of one block have seen.
class BlockOrder {
 public:
  BlockOrder(std::uint32_t number, unsigned threads, Time now);

  std::uint32_t number() const { return number_; }
  Time begin() const { return begin_; }

  // Whether `thread` has seen an access of this launch.
  bool has_seen(unsigned thread, const Access& access) const {
    if (access.block == number_) {
      if (access.thread == thread || access.time <= met_) return true;
      if (access.thread / 32 == thread / 32 && lane_time(thread, access.thread % 32) >= access.time) return true;
    }
    return knows_others_ && (block_view_.has(access) || views_[thread].has(access));
  }

  void block_meets(Time now);
  void lanes_meet(unsigned warp, unsigned lanes, bool all, Time now);

  // Everything that the thread has seen, and has done up to now.
  View seen_by(unsigned thread, Time now) const;
  void learn(unsigned thread, const View& view);

 private:
  using LaneTimes = std::unique_ptr<Time[]>;  // [32, 32]: what each lane has seen of each other one

  Time lane_time(unsigned thread, unsigned lane) const {
    const LaneTimes& times = lane_times_[thread / 32];
    Time met = warp_met_[thread / 32];
    return times && times[thread % 32 * 32 + lane] > met ? times[thread % 32 * 32 + lane] : met;
  }

  std::uint32_t number_;
  unsigned threads_;
  Time begin_;
  Time met_;                           // all threads of the block
  std::vector<Time> warp_met_;         // all lanes of a warp
  std::vector<LaneTimes> lane_times_;  // some lanes of a warp; most kernels never need it
  bool knows_others_ = false;          // a view is not empty
  View block_view_;                    // shared by all threads since they met
  std::vector<View> views_;
};

// The clock, and what has been released to whom.
class Order {
 public:
  Time now() const { return now_; }
  Time launch_begin() const { return launch_begin_; }
  Time tick() { return now_++; }

  void launch_begins();
  // What `thread` has done and seen happens before what anybody does who acquires the object.
  void releases(const BlockOrder& block, unsigned thread, const void* object);
  void acquires(BlockOrder& block, unsigned thread, const void* object);
  // A fence makes the atomics and volatile stores after it release what came before it.
  void fence(const BlockOrder& block, unsigned thread);
  void strong_access(BlockOrder& block, unsigned thread, const void* address);
  // Objects in memory that the next block will use anew.
  void forget(const void* begin, const void* end);

 private:
  Time now_ = 1;
  Time launch_begin_ = 0;
  std::map<const void*, View> objects_;
  std::map<std::pair<std::uint32_t, unsigned>, View> fenced_;
};

}  // namespace cuemu::check
