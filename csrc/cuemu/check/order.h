// What happens before what. An access is in order for a thread if the thread has *seen* it: everything that it did
// itself, that was done before the launch, before the last barrier of its block, before the last __syncwarp with its
// lane, or before a release that it has acquired.
//
// All blocks are run by one thread at a time, so one clock serves all, and to have seen thread u is a time: of u's
// accesses, those up to then have been seen.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "cuemu/check/access.h"

namespace cuemu::check {

// What has been seen of some threads: all that they did up to a time.
class View {
 public:
  bool has(const Access& access) const;
  void add(std::uint32_t block, Time everyone);
  void add(std::uint32_t block, unsigned thread, Time time);
  void add(const View& other);

 private:
  struct OfBlock {
    Time everyone = 0;
    std::vector<Time> threads;  // by number; those beyond its end have not been seen
  };
  std::map<std::uint32_t, OfBlock> blocks_;
};

// What has been acquired, from which objects. An object's view only grows, so of two versions the later one says all.
class Acquired {
 public:
  struct Part {
    const void* object;
    std::uint64_t version;
    std::shared_ptr<const View> view;
  };
  bool has(const Access& access) const;
  void add(const Part& part);
  void add(const Acquired& other);
  const std::vector<Part>& parts() const { return parts_; }
  void clear() { parts_.clear(); }

 private:
  std::vector<Part> parts_;
};

// What somebody knows at a release or a fence.
struct Knowledge {
  View own;
  Acquired acquired;
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
    return knows_others_ && (block_acquired_.has(access) || acquired_[thread].has(access));
  }

  void block_meets(Time now);
  void lanes_meet(unsigned warp, unsigned lanes, bool all, Time now);

  // Everything that the thread has seen, and has done up to now.
  Knowledge known_to(unsigned thread, Time now) const;
  void acquire(unsigned thread, const Acquired::Part& part);

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
  bool knows_others_ = false;          // somebody has acquired something
  Acquired block_acquired_;            // shared by all threads since they met
  std::vector<Acquired> acquired_;
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
  // A fence makes the atomics and volatile stores after it release what came before it; after a barrier, those of any
  // thread of the block.
  void fence(const BlockOrder& block, unsigned thread);
  void block_meets(BlockOrder& block);
  // A proxy fence shows the asynchronous engines what the thread has done and seen.
  void proxy_fence(const BlockOrder& block, unsigned thread);
  bool is_proxy_fenced(const Access& access) const;
  void block_ends(const BlockOrder& block);
  void strong_access(BlockOrder& block, unsigned thread, const void* address);

 private:
  struct Object {
    View view;
    std::uint64_t version = 0;
    std::shared_ptr<const View> copy;  // of this version, for those who acquire it; made when the first does
  };
  void release(const Knowledge& knowledge, const void* object);

  Time now_ = 1;
  Time launch_begin_ = 0;
  std::map<const void*, Object> objects_;
  std::map<std::pair<std::uint32_t, unsigned>, Knowledge> fenced_;  // by block and thread
  std::map<std::uint32_t, Knowledge> fenced_by_block_;
  std::map<std::pair<std::uint32_t, unsigned>, Knowledge> proxy_fenced_;  // by block and thread
};

}  // namespace cuemu::check
