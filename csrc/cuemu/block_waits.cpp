// The ways in which a thread of a block waits for others.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "cuemu/block.h"
#include "cuemu/observer.h"

namespace cuemu {

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
    if (site && !same_site(*site, here)) {
      std::string message = "divergent barrier: the threads of the block are at different ones\n" + describe_waiting();
      if (observer) tell_deadlock(message);
      stop(message);
    }
    site = &here;
  }
  if (observer && alive_count_ < thread_count_)
    observer->finds(Fault::deadlock,
                    "a barrier of the block that some of its threads never reach\n" + describe_waiting(), *site);
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
                        ": its mask names lanes that have returned\n" + describe_waiting(),
                    lane.site);
  if (const char* error = lane.op->exchange(frames, needed))
    fail(std::string(error) + " " + describe(lane.site), lane.site, lane.op->fault);
  if (observer) observer->lanes_meet(*this, warp, needed, lane.op->orders_memory);
  waiting_lanes_[warp] &= ~needed;
  enqueue_in_order(warp * 32, std::min(32u, thread_count_ - warp * 32),
                   [needed](const Thread& thread) { return needed >> thread.number % 32 & 1; });
  return true;
}

void Block::named_barrier(unsigned id, unsigned threads, bool waits, Site site) {
  if (id == 0 || id >= kNamedBarriers) fail("a named barrier is one of 1 to 15 " + describe(site));
  if (threads == 0 || threads % 32 || threads > kMaxThreads)
    fail("a named barrier is for a multiple of 32 threads " + describe(site));
  NamedBarrier& barrier = named_barriers_[id];
  if (barrier.arrived == 0) barrier.expected = threads;
  if (barrier.expected != threads)
    fail("named barrier " + std::to_string(id) + " is for " + std::to_string(barrier.expected) +
         " threads to some and for " + std::to_string(threads) + " to others " + describe(site));
  struct Arrival {
    const NamedBarrier* barrier;
    unsigned phase;
  } arrival{&barrier, barrier.phase};
  if (observer) observer->releases(of_phase(&barrier, arrival.phase));
  if (++barrier.arrived == barrier.expected) {
    barrier.arrived = 0;
    ++barrier.phase;
  }
  if (!waits) return;
  static constexpr Condition condition{"a named barrier",
                                       [](const void* frame) {
                                         auto* arrival = static_cast<const Arrival*>(frame);
                                         return arrival->barrier->phase != arrival->phase;
                                       },
                                       [](const void* frame, char* text, std::size_t size) {
                                         const NamedBarrier& barrier = *static_cast<const Arrival*>(frame)->barrier;
                                         std::snprintf(text, size, "%u of %u threads are there", barrier.arrived,
                                                       barrier.expected);
                                       }};
  wait_until(condition, &arrival, site);
  if (observer) observer->acquires(of_phase(&barrier, arrival.phase));
}

void Block::wait_until(const Condition& condition, void* frame, Site site) {
  if (condition.holds(frame)) return;
  Thread& thread = *current_;
  thread.state = State::waiting;
  thread.condition = &condition;
  thread.frame = frame;
  thread.site = site;
  ++waiting_count_;
  ++progress_;
  wait();
}

bool Block::wake_conditions() {
  if (waiting_count_ == 0) return false;
  unsigned before = waiting_count_;
  enqueue_in_order(0, thread_count_, [this](const Thread& thread) {
    bool wakes = thread.state == State::waiting && thread.condition->holds(thread.frame);
    waiting_count_ -= wakes;
    return wakes;
  });
  return waiting_count_ < before;
}

void Block::defer(std::function<void()> operation) { deferred_.push_back(std::move(operation)); }

// One at a time: whoever waits for this one goes on while the others are still under way. They are not ordered among
// themselves, so each schedule has its own order.
bool Block::do_deferred() {
  if (deferred_.empty()) return false;
  std::size_t pick = 0;
  if (schedule_.order == Order::reverse) pick = deferred_.size() - 1;
  if (schedule_.order == Order::random) pick = next_random(random_) % deferred_.size();
  std::function<void()> operation = std::move(deferred_[pick]);
  deferred_.erase(deferred_.begin() + static_cast<std::ptrdiff_t>(pick));
  operation();
  ++progress_;
  return true;
}

unsigned Block::converge(Site site) {
  Thread& thread = *current_;
  thread.state = State::converging;
  thread.site = site;
  ++converging_count_;
  wait();
  return thread.mask;
}

bool Block::release_converged() {
  if (converging_count_ == 0) return false;
  for (unsigned i = 0; i < thread_count_; ++i) {
    if (threads_[i].state != State::converging) continue;
    Thread* lanes = &threads_[i / 32 * 32];
    unsigned lane_count = std::min(32u, thread_count_ - i / 32 * 32);
    Site site = threads_[i].site;
    unsigned mask = 0;
    for (unsigned lane = 0; lane < lane_count; ++lane)
      if (lanes[lane].state == State::converging && same_site(lanes[lane].site, site)) mask |= 1u << lane;
    for (unsigned rest = mask; rest; rest &= rest - 1) lanes[__builtin_ctz(rest)].mask = mask;
    enqueue_in_order(i / 32 * 32, lane_count, [mask](const Thread& thread) { return mask >> thread.number % 32 & 1; });
  }
  converging_count_ = 0;
  return true;
}

bool Block::find_own_work() { return wake_conditions() || do_deferred() || release_converged(); }

void Block::spin(Site site, const void* pc) {
  Thread& thread = *current_;
  thread.state = State::spinning;
  thread.site = site;
  thread.pc = pc;
  enqueue(thread);
  if (++spins_in_a_row_ > queue_length_) {
    // Every ready thread has had its turn and only spins.
    spins_in_a_row_ = 0;
    leave();
  } else {
    wait();
  }
}

bool SpinClock::expired(std::uint64_t events) {
  auto now = std::chrono::steady_clock::now();
  if (events != seen_) {
    seen_ = events;
    since_ = now;
  }
  return now - since_ > std::chrono::seconds(spin_seconds_from_environment());
}

void Block::tell_deadlock(const std::string& message) {
  for (unsigned i = 0; i < thread_count_; ++i) {
    const Thread& thread = threads_[i];
    if (thread.state == State::ready || thread.state == State::returned) continue;
    if (thread.state == State::spinning && thread.pc) {
      observer->finds(Fault::deadlock, message, thread.pc);
    } else {
      observer->finds(Fault::deadlock, message, thread.site);
    }
  }
}

OperationQueue& Block::bulk_copies() {
  bulk_copies_.resize(kMaxThreads);
  bulk_copies_used_ = true;
  return bulk_copies_[current_->number];
}

WgmmaQueue& Block::wgmma_queue() {
  wgmma_queues_.resize(kMaxThreads);
  return wgmma_queues_[current_->number];
}

CopyQueue& Block::copies() {
  copies_.resize(kMaxThreads);
  copies_used_ = true;
  return copies_[current_->number];
}

}  // namespace cuemu
