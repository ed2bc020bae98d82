// One block in execution: its threads, who may run, who waits for what. Internal to the emulator's .cpp files.
//
// Threads run until they wait; there is no preemption, so nothing here needs a lock. A thread that has to wait switches
// straight to the next ready thread. The queue's order is the schedule. When nobody is ready, `find_work` asks, in this
// order: which conditions have come true, is an asynchronous operation still to be done, which lanes have converged,
// and can another block of the team go on.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "cuemu/device_limits.h"
#include "cuemu/environment.h"
#include "cuemu/fiber.h"
#include "cuemu/language.h"
#include "cuemu/operation_queue.h"
#include "cuemu/runtime.h"
#include "cuemu/wgmma_queue.h"

namespace cuemu {

constexpr unsigned kMaxThreads = kThreadsPerBlock;
constexpr unsigned kMaxWarps = kMaxThreads / 32;

inline std::uint64_t next_random(std::uint64_t& state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return state >> 33;
}

inline bool same_site(Site a, Site b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

enum class State : std::uint8_t { ready, spinning, at_barrier, in_warp_op, waiting, converging, returned };

class Block;
class Team;

// Counts the threads of a cluster or of a grid. Arriving and waiting are two steps, as in `barrier.cluster`.
struct GroupBarrier {
  unsigned expected;
  unsigned arrived;
  unsigned phase;

  void arrive() {
    ++arrived;
    release_if_complete();
  }
  // A thread that has returned is no longer waited for.
  void leave() {
    --expected;
    release_if_complete();
  }

 private:
  void release_if_complete() {
    if (arrived == 0 || arrived < expected) return;
    arrived = 0;
    ++phase;
  }
};

// Where a block stands among those that run together with it. A lone block is a cluster of one.
struct Neighbours {
  Block* const* cluster;  // by rank
  uint3 cluster_size;
  unsigned rank;
  GroupBarrier* cluster_barrier;
  GroupBarrier* grid_barrier;  // nullptr: not a cooperative launch
  Team* team;                  // nullptr: runs alone
};

// Remembers since when nothing but spinning has been going on.
class SpinClock {
 public:
  // `events` grows with everything that is progress. True when it has stood still for CUEMU_SPIN_SECONDS.
  bool expired(std::uint64_t events);

 private:
  std::uint64_t seen_ = ~std::uint64_t{0};
  std::chrono::steady_clock::time_point since_;
};

struct Thread {
  Fiber fiber;
  char* stack;  // nullptr: has not begun
  State state;
  uint3 index;
  unsigned number;  // x + y * blockDim.x + z * blockDim.x * blockDim.y
  // What a waiting thread waits for.
  unsigned mask;
  void* frame;
  const WarpOp* op;
  const Condition* condition;
  Site site;
  const void* pc;          // of a thread that spins on a load, or nullptr
  unsigned arrived_phase;  // of the cluster's barrier, while `has_arrived`
  bool has_arrived;
};

struct Copy {
  void* shared;
  const void* global;
  unsigned bytes;
  unsigned zero_bytes;
  unsigned group;
  Site site;
};

struct CopyQueue {
  std::vector<Copy> copies;
  unsigned open_group = 0;
};

// A barrier of some warps of a block, `bar.sync id, threads`.
struct NamedBarrier {
  unsigned expected;
  unsigned arrived;
  unsigned phase;
};
constexpr unsigned kNamedBarriers = 16;

class Block {
 public:
  Block();

  // Runs all threads of one block to their end. Throws std::runtime_error. `neighbours` is nullptr for a lone block.
  void run(const Grid& grid, uint3 index, Schedule schedule, const Neighbours* neighbours, void (*entry)(const void*),
           const void* body);

  // Called from inside a fiber; runtime.h says what they do.
  void warp_collective(unsigned mask, void* frame, const WarpOp& op, Site site);
  int barrier(bool predicate, Site site);
  void named_barrier(unsigned id, unsigned threads, bool waits, Site site);
  void wait_until(const Condition& condition, void* frame, Site site);
  unsigned converge(Site site);
  void spin(Site site, const void* pc = nullptr);
  void spin(const void* pc) { spin({"a loop of loads", 0}, pc); }
  // `operation` is done when nobody can go on without it.
  void defer(std::function<void()> operation);
  [[noreturn]] void fail(const std::string& message, Site site = {}, Fault fault = Fault::other);
  [[noreturn]] void stop(const std::string& message);
  // The same while no thread of the block runs.
  void fail_outside(const std::string& message, Site site, Fault fault = Fault::other);
  [[noreturn]] void run_threads();
  // nullptr between threads: no thread has begun, or none can go on.
  Thread* current() { return current_; }
  const Grid& grid() const { return *grid_; }
  const uint3& index() const { return index_; }
  unsigned thread_count() const { return thread_count_; }
  unsigned alive_lanes(unsigned warp) const { return alive_lanes_[warp]; }
  CopyQueue& copies();
  OperationQueue& bulk_copies();
  WgmmaQueue& wgmma_queue();
  const Neighbours& neighbours() const { return neighbours_; }

  void* shared_memory() { return shared_; }
  bool has_dynamic_shared(const void* address) const {
    return address >= shared_ && address < shared_ + grid_->shared_bytes;
  }
  // The address in this block's shared memory of what `address` is in the shared memory of `other`; nullptr if it is
  // not in there.
  void* same_shared_address(const Block& other, const void* address) const;

  // Asked by the team, also from the OS threads of other blocks while this one stands still.
  bool find_own_work();
  bool has_ready_threads() const { return queue_length_ > 0; }
  bool has_returned() const { return alive_count_ == 0; }
  std::uint64_t progress() const { return progress_; }
  std::string describe_waiting() const;
  // To the observer: a deadlock at every line where threads wait.
  void tell_deadlock(const std::string& message);

 private:
  void reset(const Grid& grid, uint3 index);
  void run_ready_threads();
  bool find_work();
  bool wake_conditions();
  bool do_deferred();
  bool release_converged();
  void enqueue(Thread& thread);
  template <class Wanted>
  void enqueue_in_order(unsigned first, unsigned count, Wanted wanted);
  Thread* dequeue();
  void prepare(Thread& thread);
  void resume(Thread& thread);
  void wait();
  void leave();
  void end_thread();
  void release_barrier();
  bool try_warp_op(unsigned warp, const Thread& lane);

  const Grid* grid_ = nullptr;
  uint3 index_{};
  std::vector<Thread> threads_;
  std::vector<char*> free_stacks_;
  std::vector<char> shared_buffer_;
  char* shared_ = nullptr;
  std::vector<CopyQueue> copies_;
  bool copies_used_ = false;
  std::vector<OperationQueue> bulk_copies_;
  bool bulk_copies_used_ = false;
  std::vector<WgmmaQueue> wgmma_queues_;  // empty: not used by this block
  std::vector<std::function<void()>> deferred_;
  NamedBarrier named_barriers_[kNamedBarriers];

  Neighbours neighbours_{};
  Block* self_ = this;  // the cluster of a lone block
  GroupBarrier own_barrier_{};
  char* thread_local_base_ = nullptr;  // of the OS thread that runs this block

  // A ring: at most every thread is in it once.
  std::uint16_t queue_[kMaxThreads];
  unsigned queue_head_ = 0;
  unsigned queue_length_ = 0;

  unsigned thread_count_ = 0;
  unsigned alive_count_ = 0;
  unsigned at_barrier_ = 0;
  int barrier_votes_ = 0;
  int barrier_result_ = 0;
  std::uint32_t alive_lanes_[kMaxWarps];
  std::uint32_t waiting_lanes_[kMaxWarps];  // parked in a warp collective
  unsigned waiting_count_ = 0;              // parked until a condition holds
  unsigned converging_count_ = 0;
  unsigned spins_in_a_row_ = 0;
  std::uint64_t progress_ = 0;
  SpinClock spin_clock_;

  Thread* current_ = nullptr;
  Fiber scheduler_;
  Schedule schedule_{};
  std::uint64_t random_ = 0;
  void (*entry_)(const void*) = nullptr;
  const void* body_ = nullptr;
  bool failed_ = false;
  std::string error_;
};

inline void Block::enqueue(Thread& thread) {
  queue_[(queue_head_ + queue_length_++) % kMaxThreads] = static_cast<std::uint16_t>(thread.number);
}

template <class Wanted>
void Block::enqueue_in_order(unsigned first, unsigned count, Wanted wanted) {
  const unsigned before = queue_length_;
  for (unsigned k = 0; k < count; ++k) {
    Thread& thread = threads_[first + (schedule_.order == Order::reverse ? count - 1 - k : k)];
    if (!wanted(thread)) continue;
    thread.state = State::ready;
    enqueue(thread);
  }
  if (queue_length_ == before) return;
  spins_in_a_row_ = 0;
  ++progress_;
}

// The block that this OS thread runs.
extern __thread Block* current_block;

// "threads 0-15 wait at __syncthreads (kernel.cu:12)" for every group of threads that waits for the same thing.
std::string describe_waiting(const std::vector<Thread>& threads, unsigned count);
std::string describe(Site site);

}  // namespace cuemu
