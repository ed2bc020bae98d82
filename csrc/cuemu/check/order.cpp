#include "cuemu/check/order.h"

#include <algorithm>

namespace cuemu::check {

bool View::has(const Access& access) const {
  auto block = blocks_.find(access.block);
  if (block == blocks_.end()) return false;
  if (access.time <= block->second.everyone) return true;
  const std::vector<Time>& threads = block->second.threads;
  return access.thread < threads.size() && access.time <= threads[access.thread];
}

void View::add(std::uint32_t block, Time everyone) {
  OfBlock& seen = blocks_[block];
  seen.everyone = std::max(seen.everyone, everyone);
}

void View::add(std::uint32_t block, unsigned thread, Time time) {
  std::vector<Time>& threads = blocks_[block].threads;
  if (thread >= threads.size()) threads.resize(thread + 1);
  threads[thread] = std::max(threads[thread], time);
}

void View::add(const View& other) {
  for (const auto& [block, seen] : other.blocks_) {
    OfBlock& known = blocks_[block];
    known.everyone = std::max(known.everyone, seen.everyone);
    if (known.threads.size() < seen.threads.size()) known.threads.resize(seen.threads.size());
    for (std::size_t i = 0; i < seen.threads.size(); ++i)
      known.threads[i] = std::max(known.threads[i], seen.threads[i]);
  }
}

bool Acquired::has(const Access& access) const {
  return std::any_of(parts_.begin(), parts_.end(), [&](const Part& part) { return part.view->has(access); });
}

void Acquired::add(const Part& part) {
  for (Part& known : parts_) {
    if (known.object != part.object) continue;
    if (known.version < part.version) known = part;
    return;
  }
  parts_.push_back(part);
}

void Acquired::add(const Acquired& other) {
  for (const Part& part : other.parts_) add(part);
}

BlockOrder::BlockOrder(std::uint32_t number, unsigned threads, Time now)
    : number_(number),
      threads_(threads),
      begin_(now),
      met_(now),
      warp_met_((threads + 31) / 32, now),
      lane_times_((threads + 31) / 32),
      acquired_(threads) {}

void BlockOrder::block_meets(Time now) {
  met_ = now;
  if (!knows_others_) return;
  for (Acquired& acquired : acquired_) {
    block_acquired_.add(acquired);
    acquired.clear();
  }
}

void BlockOrder::lanes_meet(unsigned warp, unsigned lanes, bool all, Time now) {
  if (all) {
    warp_met_[warp] = now;
  } else {
    LaneTimes& times = lane_times_[warp];
    if (!times) times.reset(new Time[32 * 32]());
    Time joined[32] = {};
    for (unsigned lane = 0; lane < 32; ++lane)
      for (unsigned other = 0; other < 32 && (lanes >> lane & 1); ++other)
        joined[other] = std::max(joined[other], times[lane * 32 + other]);
    for (unsigned lane = 0; lane < 32; ++lane)
      for (unsigned other = 0; other < 32 && (lanes >> lane & 1); ++other)
        times[lane * 32 + other] = lanes >> other & 1 ? now : joined[other];
  }
  if (!knows_others_) return;
  Acquired together;
  for (unsigned lane = 0; lane < 32; ++lane)
    if (lanes >> lane & 1) together.add(acquired_[warp * 32 + lane]);
  for (unsigned lane = 0; lane < 32; ++lane)
    if (lanes >> lane & 1) acquired_[warp * 32 + lane] = together;
}

Knowledge BlockOrder::known_to(unsigned thread, Time now) const {
  Knowledge knowledge{{}, acquired_[thread]};
  knowledge.acquired.add(block_acquired_);
  knowledge.own.add(number_, met_);
  unsigned warp = thread / 32;
  for (unsigned lane = 0; lane < 32 && warp * 32 + lane < threads_; ++lane)
    if (lane_time(thread, lane) > met_) knowledge.own.add(number_, warp * 32 + lane, lane_time(thread, lane));
  knowledge.own.add(number_, thread, now);
  return knowledge;
}

void BlockOrder::acquire(unsigned thread, const Acquired::Part& part) {
  knows_others_ = true;
  acquired_[thread].add(part);
}

void Order::launch_begins() {
  launch_begin_ = tick();
  objects_.clear();
  fenced_.clear();
  fenced_by_block_.clear();
  proxy_fenced_.clear();
}

void Order::release(const Knowledge& knowledge, const void* address) {
  Object& object = objects_[address];
  object.view.add(knowledge.own);
  // What came from the object itself is in there already.
  for (const Acquired::Part& part : knowledge.acquired.parts())
    if (part.object != address) object.view.add(*part.view);
  ++object.version;
  object.copy.reset();
}

void Order::releases(const BlockOrder& block, unsigned thread, const void* object) {
  release(block.known_to(thread, tick()), object);
}

void Order::acquires(BlockOrder& block, unsigned thread, const void* address) {
  auto found = objects_.find(address);
  if (found == objects_.end()) return;
  Object& object = found->second;
  if (!object.copy) object.copy = std::make_shared<const View>(object.view);
  block.acquire(thread, {address, object.version, object.copy});
}

void Order::fence(const BlockOrder& block, unsigned thread) {
  fenced_[{block.number(), thread}] = block.known_to(thread, tick());
}

void Order::proxy_fence(const BlockOrder& block, unsigned thread) {
  proxy_fenced_[{block.number(), thread}] = block.known_to(thread, tick());
}

// By the thread that did it, as is usual, or by one that has seen it.
bool Order::is_proxy_fenced(const Access& access) const {
  auto knows = [&](const Knowledge& knowledge) { return knowledge.own.has(access) || knowledge.acquired.has(access); };
  auto own = proxy_fenced_.find({access.block, static_cast<unsigned>(access.thread)});
  if (own != proxy_fenced_.end() && knows(own->second)) return true;
  return std::any_of(proxy_fenced_.begin(), proxy_fenced_.end(), [&](auto& fence) { return knows(fence.second); });
}

void Order::block_ends(const BlockOrder& block) {
  proxy_fenced_.erase(proxy_fenced_.lower_bound({block.number(), 0}),
                      proxy_fenced_.lower_bound({block.number() + 1, 0}));
}

void Order::strong_access(BlockOrder& block, unsigned thread, const void* address) {
  if (!objects_.empty()) acquires(block, thread, address);
  auto by_thread = fenced_.find({block.number(), thread});
  if (by_thread != fenced_.end()) release(by_thread->second, address);
  auto by_block = fenced_by_block_.find(block.number());
  if (by_block != fenced_by_block_.end()) release(by_block->second, address);
}

void Order::block_meets(BlockOrder& block) {
  block.block_meets(tick());
  auto begin = fenced_.lower_bound({block.number(), 0});
  auto end = fenced_.lower_bound({block.number() + 1, 0});
  if (begin == end) return;
  Knowledge& together = fenced_by_block_[block.number()];
  for (auto fenced = begin; fenced != end; ++fenced) {
    together.own.add(fenced->second.own);
    together.acquired.add(fenced->second.acquired);
  }
  fenced_.erase(begin, end);
}

}  // namespace cuemu::check
