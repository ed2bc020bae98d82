#include "cuemu/block.h"

#include <algorithm>
#include <stdexcept>
#include <thread>

#include "cuemu/observer.h"
#include "cuemu/team.h"

__thread uint3 threadIdx;
__thread uint3 blockIdx;
__thread dim3 blockDim;
__thread dim3 gridDim;

namespace cuemu {

__thread Block* current_block = nullptr;
__thread unsigned idle_turns = 0;

namespace {

constexpr std::size_t kSharedAlignment = 1024;  // what the widest swizzle of a tensor map repeats after

// Three cache lines apart, so that the hot frames of 1,024 stacks spread over all sets of a cache.
std::size_t stack_stagger(unsigned thread) { return thread % 64 * 192; }

// A fiber's first function; it never returns, since there is nobody below it.
void begin_fiber() { current_block->run_threads(); }

}  // namespace

std::string Block::describe_waiting() const { return cuemu::describe_waiting(threads_, thread_count_); }

Block::Block() : threads_(kMaxThreads) {}

void Block::reset(const Grid& grid, uint3 index) {
  grid_ = &grid;
  index_ = index;
  ::blockIdx = index;
  ::blockDim = dim3(grid.block[0], grid.block[1], grid.block[2]);
  ::gridDim = dim3(grid.grid[0], grid.grid[1], grid.grid[2]);
  thread_local_base_ = reinterpret_cast<char*>(&::threadIdx);
  thread_count_ = grid.block[0] * grid.block[1] * grid.block[2];
  alive_count_ = thread_count_;
  at_barrier_ = 0;
  barrier_votes_ = 0;
  queue_head_ = 0;
  queue_length_ = 0;
  failed_ = false;
  waiting_count_ = 0;
  converging_count_ = 0;
  spins_in_a_row_ = 0;
  deferred_.clear();
  std::fill(std::begin(named_barriers_), std::end(named_barriers_), NamedBarrier{});
  if (shared_buffer_.size() < grid.shared_bytes + kSharedAlignment)
    shared_buffer_.resize(grid.shared_bytes + kSharedAlignment);
  std::size_t misalignment = reinterpret_cast<std::uintptr_t>(shared_buffer_.data()) % kSharedAlignment;
  shared_ = shared_buffer_.data() + (misalignment ? kSharedAlignment - misalignment : 0);
  std::memset(shared_, 0xff, grid.shared_bytes);
  if (copies_used_) {
    for (CopyQueue& queue : copies_) {
      queue.copies.clear();
      queue.open_group = 0;
    }
    copies_used_ = false;
  }
  wgmma_queues_.clear();
  if (bulk_copies_used_) {
    for (OperationQueue& queue : bulk_copies_) queue.clear();
    bulk_copies_used_ = false;
  }
  std::fill(std::begin(alive_lanes_), std::end(alive_lanes_), 0u);
  std::fill(std::begin(waiting_lanes_), std::end(waiting_lanes_), 0u);
  uint3 thread_index{0, 0, 0};
  for (unsigned i = 0; i < thread_count_; ++i) {
    Thread& thread = threads_[i];
    thread.stack = nullptr;
    thread.state = State::ready;
    thread.number = i;
    thread.has_arrived = false;
    thread.index = thread_index;
    alive_lanes_[i / 32] |= 1u << i % 32;
    if (++thread_index.x == grid.block[0]) {
      thread_index.x = 0;
      if (++thread_index.y == grid.block[1]) {
        thread_index.y = 0;
        ++thread_index.z;
      }
    }
  }
}

void Block::run(const Grid& grid, uint3 index, Schedule schedule, const Neighbours* neighbours,
                void (*entry)(const void*), const void* body) {
  reset(grid, index);
  own_barrier_ = {thread_count_, 0, 0};
  neighbours_ = neighbours ? *neighbours : Neighbours{&self_, {1, 1, 1}, 0, &own_barrier_, nullptr, nullptr};
  schedule_ = schedule;
  random_ = schedule.seed;
  next_random(random_);
  entry_ = entry;
  body_ = body;
  current_block = this;
  if (observer) observer->block_begins(*this);
  enqueue_in_order(0, thread_count_, [](const Thread&) { return true; });
  do {
    run_ready_threads();
  } while (!failed_ && alive_count_ > 0 && find_work() && !failed_);

  if (!failed_ && alive_count_ > 0 && !neighbours_.team) {
    failed_ = true;
    error_ = "deadlock: no thread can go on\n" + describe_waiting();
    current_ = nullptr;
    if (observer) tell_deadlock(error_);
  }
  if (!failed_ && alive_count_ == 0 && !deferred_.empty()) {
    failed_ = true;
    error_ = "the block ends before " + std::to_string(deferred_.size()) +
             " of its asynchronous copies that nobody has waited for";
    if (observer) observer->finds(Fault::missing_wait, error_, {});
  }
  if (observer) observer->block_ends(*this);
  for (unsigned i = 0; i < thread_count_; ++i)
    if (threads_[i].stack) free_stacks_.push_back(threads_[i].stack);
  current_ = nullptr;
  current_block = nullptr;
  if (failed_) throw std::runtime_error(error_);
}

// Returns when nobody is ready: all have returned, one has failed, or the rest waits or spins.
void Block::run_ready_threads() {
  Thread* first = dequeue();
  if (!first) return;
  if (!first->stack) prepare(*first);
  current_ = first;
  ::threadIdx = first->index;
  switch_fiber(scheduler_, first->fiber);
}

bool Block::find_work() {
  if (find_own_work()) return true;
  if (neighbours_.team) return neighbours_.team->wait_for_turn();
  if (!has_ready_threads()) return false;
  // All that are ready spin; perhaps on what a block of another OS thread will do.
  std::this_thread::yield();
  if (spin_clock_.expired(progress_ + finished_blocks())) {
    failed_ = true;
    error_ = "no progress: threads only spin\n" + describe_waiting();
    if (observer) tell_deadlock(error_);
  }
  return !failed_;
}

Thread* Block::dequeue() {
  if (queue_length_ == 0) return nullptr;
  if (schedule_.order == Order::random) {
    unsigned pick = static_cast<unsigned>((next_random(random_) * queue_length_) >> 31);
    std::swap(queue_[queue_head_], queue_[(queue_head_ + pick) % kMaxThreads]);
  }
  Thread* thread = &threads_[queue_[queue_head_]];
  queue_head_ = (queue_head_ + 1) % kMaxThreads;
  --queue_length_;
  return thread;
}

// Gives a thread that begins its stack.
void Block::prepare(Thread& thread) {
  if (free_stacks_.empty()) {
    char* stacks[kStacksAtOnce];
    map_stacks(stacks);
    free_stacks_.assign(std::rbegin(stacks), std::rend(stacks));
  }
  thread.stack = free_stacks_.back();
  free_stacks_.pop_back();
  prepare_fiber(thread.fiber, thread.stack, stack_stagger(thread.number), begin_fiber);
}

// Goes on with `thread`. Returns when the caller is resumed itself.
void Block::resume(Thread& thread) {
  Thread& from = *current_;
  if (!thread.stack) prepare(thread);
  current_ = &thread;
  ::threadIdx = thread.index;
  switch_fiber(from.fiber, thread.fiber);
}

void Block::wait() {
  Thread* next = dequeue();
  if (next == current_) return;
  if (next) {
    resume(*next);
  } else {
    leave();
  }
}

void Block::leave() { switch_fiber(current_->fiber, scheduler_); }

void Block::run_threads() {
  for (;;) {
    entry_(body_);
    end_thread();
    Thread* next = dequeue();
    Thread& ended = *current_;
    if (!next) {
      leave();
    } else if (next->stack) {
      free_stacks_.push_back(ended.stack);
      ended.stack = nullptr;
      resume(*next);
    } else {
      // The next thread has not begun: it takes over this stack. A kernel without waits never switches at all.
      next->stack = ended.stack;
      ended.stack = nullptr;
      current_ = next;
      ::threadIdx = next->index;
    }
  }
}

void Block::end_thread() {
  Thread& thread = *current_;
  if (copies_used_ && !copies_[thread.number].copies.empty())
    fail("the thread returns with cp.async copies that it has not waited for", copies_[thread.number].copies[0].site,
         Fault::missing_wait);
  if (bulk_copies_used_ && !bulk_copies_[thread.number].is_empty())
    fail("the thread returns with bulk copies to global memory that it has not waited for",
         bulk_copies_[thread.number].first_site(), Fault::missing_wait);
  if (!wgmma_queues_.empty() && !wgmma_queues_[thread.number].operations.empty())
    fail("the thread returns with wgmma that it has not waited for",
         wgmma_queues_[thread.number].operations.front().site, Fault::missing_wait);
  if (thread.has_arrived)
    fail("the thread returns between arriving at the cluster's barrier and waiting at it", {}, Fault::missing_wait);
  if (observer) observer->thread_returns(*this);
  thread.state = State::returned;
  --alive_count_;
  ++progress_;
  spins_in_a_row_ = 0;
  neighbours_.cluster_barrier->leave();
  unsigned warp = thread.number / 32;
  alive_lanes_[warp] &= ~(1u << thread.number % 32);
  if (alive_count_ > 0 && at_barrier_ == alive_count_) release_barrier();
  // The lanes that wait in this warp may have waited for this one.
  for (unsigned lanes = waiting_lanes_[warp]; lanes; lanes &= lanes - 1) {
    const Thread& lane = threads_[warp * 32 + static_cast<unsigned>(__builtin_ctz(lanes))];
    if (lane.state == State::in_warp_op) try_warp_op(warp, lane);
  }
}

void Block::fail(const std::string& message, Site site, Fault fault) {
  if (observer) observer->finds(fault, message, site);
  stop(message);
}

void Block::fail_outside(const std::string& message, Site site, Fault fault) {
  if (observer) observer->finds(fault, message, site);
  if (!failed_) error_ = message + " " + describe(site);
  failed_ = true;
}

// Ends the launch.
void Block::stop(const std::string& message) {
  const uint3& at = current_->index;
  failed_ = true;
  error_ =
      "thread (" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) + "): " + message;
  leave();
  __builtin_unreachable();
}

}  // namespace cuemu
