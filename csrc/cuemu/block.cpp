#include "cuemu/block.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "cuemu/observer.h"

__thread uint3 threadIdx;
__thread uint3 blockIdx;
__thread dim3 blockDim;
__thread dim3 gridDim;

namespace cuemu {

__thread Block* current_block = nullptr;

namespace {

constexpr std::size_t kSharedAlignment = 128;

// Three cache lines apart, so that the hot frames of 1,024 stacks spread over all sets of a cache.
std::size_t stack_stagger(unsigned thread) { return thread % 64 * 192; }

// A fiber's first function; it never returns, since there is nobody below it.
void begin_fiber() { current_block->run_threads(); }

std::uint64_t next_random(std::uint64_t& state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return state >> 33;
}

}  // namespace

Block::Block() : threads_(kMaxThreads) {}

void Block::reset(const Grid& grid, uint3 index) {
  grid_ = &grid;
  index_ = index;
  ::blockIdx = index;
  ::blockDim = dim3(grid.block[0], grid.block[1], grid.block[2]);
  ::gridDim = dim3(grid.grid[0], grid.grid[1], grid.grid[2]);
  thread_count_ = grid.block[0] * grid.block[1] * grid.block[2];
  alive_count_ = thread_count_;
  at_barrier_ = 0;
  barrier_votes_ = 0;
  queue_head_ = 0;
  queue_length_ = 0;
  failed_ = false;
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
  std::fill(std::begin(alive_lanes_), std::end(alive_lanes_), 0u);
  std::fill(std::begin(waiting_lanes_), std::end(waiting_lanes_), 0u);
  uint3 thread_index{0, 0, 0};
  for (unsigned i = 0; i < thread_count_; ++i) {
    Thread& thread = threads_[i];
    thread.stack = nullptr;
    thread.state = State::ready;
    thread.number = i;
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

void Block::run(const Grid& grid, uint3 index, Schedule schedule, void (*entry)(const void*), const void* body) {
  reset(grid, index);
  schedule_ = schedule;
  random_ = schedule.seed;
  next_random(random_);
  entry_ = entry;
  body_ = body;
  current_block = this;
  if (observer) observer->block_begins(*this);
  enqueue_in_order(0, thread_count_, [](const Thread&) { return true; });
  Thread& first = *dequeue();
  first.stack = free_stacks_.empty() ? map_stack() : free_stacks_.back();
  if (!free_stacks_.empty()) free_stacks_.pop_back();
  prepare_fiber(first.fiber, first.stack, stack_stagger(first.number), begin_fiber);
  current_ = &first;
  ::threadIdx = first.index;
  switch_fiber(scheduler_, first.fiber);

  // Nobody is ready any more: all have returned, one has failed, or the rest wait for ever.
  if (!failed_ && alive_count_ > 0) {
    failed_ = true;
    error_ = "deadlock: no thread can go on\n" + describe_waiting(threads_, thread_count_);
    current_ = nullptr;
    if (observer) tell_deadlock(error_);
  }
  if (observer) observer->block_ends(*this);
  for (unsigned i = 0; i < thread_count_; ++i)
    if (threads_[i].stack) free_stacks_.push_back(threads_[i].stack);
  current_ = nullptr;
  current_block = nullptr;
  if (failed_) throw std::runtime_error(error_);
}

void Block::enqueue(Thread& thread) {
  queue_[(queue_head_ + queue_length_++) % kMaxThreads] = static_cast<std::uint16_t>(thread.number);
}

template <class Wanted>
void Block::enqueue_in_order(unsigned first, unsigned count, Wanted wanted) {
  for (unsigned k = 0; k < count; ++k) {
    Thread& thread = threads_[first + (schedule_.order == Order::reverse ? count - 1 - k : k)];
    if (!wanted(thread)) continue;
    thread.state = State::ready;
    enqueue(thread);
  }
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

// Goes on with `thread`, which gets a stack at its first time. Returns when the caller is resumed itself.
void Block::resume(Thread& thread) {
  Thread& from = *current_;
  if (!thread.stack) {
    if (free_stacks_.empty()) free_stacks_.push_back(map_stack());
    thread.stack = free_stacks_.back();
    free_stacks_.pop_back();
    prepare_fiber(thread.fiber, thread.stack, stack_stagger(thread.number), begin_fiber);
  }
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
  if (observer) observer->thread_returns(*this);
  thread.state = State::returned;
  --alive_count_;
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
  const uint3& at = current_->index;
  failed_ = true;
  error_ =
      "thread (" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) + "): " + message;
  leave();
  __builtin_unreachable();
}

int Block::barrier(bool predicate, Site site) {
  Thread& thread = *current_;
  thread.state = State::at_barrier;
  thread.site = site;
  barrier_votes_ += predicate;
  if (++at_barrier_ == alive_count_) release_barrier();
  wait();
  return barrier_result_;
}

void Block::release_barrier() {
  const Site* site = nullptr;
  for (unsigned i = 0; i < thread_count_; ++i) {
    if (threads_[i].state != State::at_barrier) continue;
    const Site& here = threads_[i].site;
    if (site && (site->line != here.line || std::strcmp(site->file, here.file))) {
      std::string message = "divergent barrier: the threads of the block are at different ones\n" +
                            describe_waiting(threads_, thread_count_);
      if (observer) tell_deadlock(message);
      fail(message);
    }
    site = &here;
  }
  if (observer && alive_count_ < thread_count_)
    observer->finds(
        Fault::deadlock,
        "a barrier of the block that some of its threads never reach\n" + describe_waiting(threads_, thread_count_),
        *site);
  if (observer) observer->block_meets(*this);
  barrier_result_ = barrier_votes_;
  barrier_votes_ = 0;
  at_barrier_ = 0;
  enqueue_in_order(0, thread_count_, [](const Thread& thread) { return thread.state == State::at_barrier; });
}

void Block::warp_collective(unsigned mask, void* frame, const WarpOp& op, Site site) {
  Thread& thread = *current_;
  unsigned warp = thread.number / 32;
  unsigned self = 1u << thread.number % 32;
  if (!(mask & self))
    fail(std::string(op.name) + " is called by a lane that its mask does not name " + describe(site), site,
         Fault::exited_lane);
  thread.state = State::in_warp_op;
  thread.mask = mask;
  thread.frame = frame;
  thread.op = &op;
  thread.site = site;
  waiting_lanes_[warp] |= self;
  try_warp_op(warp, thread);
  wait();
}

// Does the collective that `lane` waits in, if all its lanes are there, and makes them ready.
bool Block::try_warp_op(unsigned warp, const Thread& lane) {
  unsigned needed = lane.mask & alive_lanes_[warp];
  if ((waiting_lanes_[warp] & needed) != needed) return false;
  Thread* lanes = &threads_[warp * 32];
  void* frames[32];
  for (unsigned rest = needed; rest; rest &= rest - 1) {
    unsigned i = static_cast<unsigned>(__builtin_ctz(rest));
    if (lanes[i].op != lane.op || lanes[i].mask != lane.mask) return false;
    frames[i] = lanes[i].frame;
  }
  unsigned existing = thread_count_ - warp * 32 < 32 ? (1u << thread_count_ % 32) - 1 : ~0u;
  if (observer && (lane.mask & existing) != needed)
    observer->finds(Fault::exited_lane,
                    std::string(lane.op->name) + " " + describe(lane.site) +
                        ": its mask names lanes that have returned\n" + describe_waiting(threads_, thread_count_),
                    lane.site);
  if (const char* error = lane.op->exchange(frames, needed))
    fail(std::string(error) + " " + describe(lane.site), lane.site, lane.op->fault);
  if (observer) observer->lanes_meet(*this, warp, needed, lane.op->orders_memory);
  waiting_lanes_[warp] &= ~needed;
  enqueue_in_order(warp * 32, std::min(32u, thread_count_ - warp * 32),
                   [needed](const Thread& thread) { return needed >> thread.number % 32 & 1; });
  return true;
}

void Block::tell_deadlock(const std::string& message) {
  for (unsigned i = 0; i < thread_count_; ++i)
    if (threads_[i].state == State::at_barrier || threads_[i].state == State::in_warp_op)
      observer->finds(Fault::deadlock, message, threads_[i].site);
}

CopyQueue& Block::copies() {
  copies_.resize(kMaxThreads);
  copies_used_ = true;
  return copies_[current_->number];
}

}  // namespace cuemu
