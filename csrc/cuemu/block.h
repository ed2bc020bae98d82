// One block in execution: its threads, who may run, who waits for what. Internal to the emulator's .cpp files.
//
// Threads run until they wait; there is no preemption, so nothing here needs a lock. A thread that has to wait switches
// straight to the next ready thread. The queue's order is the schedule.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cuemu/fiber.h"
#include "cuemu/language.h"
#include "cuemu/runtime.h"

namespace cuemu {

constexpr unsigned kMaxThreads = 1024;
constexpr unsigned kMaxWarps = kMaxThreads / 32;

enum class Order { forward, reverse, random };

struct Schedule {
  Order order;
  std::uint64_t seed;
};

enum class State : std::uint8_t { ready, at_barrier, in_warp_op, returned };

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
  Site site;
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

class Block {
 public:
  Block();

  // Runs all threads of one block to their end. Throws std::runtime_error.
  void run(const Grid& grid, uint3 index, Schedule schedule, void (*entry)(const void*), const void* body);

  // Called from inside a fiber (runtime.h).
  void warp_collective(unsigned mask, void* frame, const WarpOp& op, Site site);
  int barrier(bool predicate, Site site);
  [[noreturn]] void fail(const std::string& message, Site site = {}, Fault fault = Fault::other);
  [[noreturn]] void run_threads();
  // nullptr between threads: no thread has begun, or none can go on.
  Thread* current() { return current_; }
  void* shared_memory() { return shared_; }
  const Grid& grid() const { return *grid_; }
  const uint3& index() const { return index_; }
  unsigned thread_count() const { return thread_count_; }
  unsigned alive_lanes(unsigned warp) const { return alive_lanes_[warp]; }
  CopyQueue& copies();

 private:
  void reset(const Grid& grid, uint3 index);
  void enqueue(Thread& thread);
  template <class Wanted>
  void enqueue_in_order(unsigned first, unsigned count, Wanted wanted);
  Thread* dequeue();
  void resume(Thread& thread);
  void wait();
  void leave();
  void end_thread();
  void release_barrier();
  bool try_warp_op(unsigned warp, const Thread& lane);

  // To the observer: a deadlock at every line where threads wait.
  void tell_deadlock(const std::string& message);

  const Grid* grid_ = nullptr;
  uint3 index_{};
  std::vector<Thread> threads_;
  std::vector<char*> free_stacks_;
  std::vector<char> shared_buffer_;
  char* shared_ = nullptr;
  std::vector<CopyQueue> copies_;
  bool copies_used_ = false;

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

  Thread* current_ = nullptr;
  Fiber scheduler_;
  Schedule schedule_{};
  std::uint64_t random_ = 0;
  void (*entry_)(const void*) = nullptr;
  const void* body_ = nullptr;
  bool failed_ = false;
  std::string error_;
};

// The block that this OS thread runs.
extern __thread Block* current_block;

// "threads 0-15 wait at __syncthreads (kernel.cu:12)" for every group of threads that waits for the same thing.
std::string describe_waiting(const std::vector<Thread>& threads, unsigned count);
std::string describe(Site site);

}  // namespace cuemu
