#include "cuemu/check/order.h"

#include <algorithm>

namespace cuemu::check {

bool View::has(const Access& access) const {
  auto block = blocks_.find(access.block);
  if (block == blocks_.end()) return false;
  if (access.time <= block->second.everyone) return true;
  auto thread = block->second.threads.find(static_cast<unsigned>(access.thread));
  return thread != block->second.threads.end() && access.time <= thread->second;
}

void View::add(std::uint32_t block, Time everyone) {
  OfBlock& seen = blocks_[block];
  seen.everyone = std::max(seen.everyone, everyone);
}

void View::add(std::uint32_t block, unsigned thread, Time time) {
  Time& seen = blocks_[block].threads[thread];
  seen = std::max(seen, time);
}

void View::add(const View& other) {
  for (const auto& [block, seen] : other.blocks_) {
    add(block, seen.everyone);
    for (const auto& [thread, time] : seen.threads) add(block, thread, time);
  }
}

BlockOrder::BlockOrder(std::uint32_t number, unsigned threads, Time now)
    : number_(number),
      threads_(threads),
      begin_(now),
      met_(now),
      warp_met_((threads + 31) / 32, now),
      lane_times_((threads + 31) / 32),
      views_(threads) {}

void BlockOrder::block_meets(Time now) {
  met_ = now;
  if (!knows_others_) return;
  for (View& view : views_) {
    block_view_.add(view);
    view = View();
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
  View joined;
  for (unsigned lane = 0; lane < 32; ++lane)
    if (lanes >> lane & 1) joined.add(views_[warp * 32 + lane]);
  for (unsigned lane = 0; lane < 32; ++lane)
    if (lanes >> lane & 1) views_[warp * 32 + lane] = joined;
}

View BlockOrder::seen_by(unsigned thread, Time now) const {
  View view = views_[thread];
  view.add(block_view_);
  view.add(number_, met_);
  unsigned warp = thread / 32;
  for (unsigned lane = 0; lane < 32 && warp * 32 + lane < threads_; ++lane)
    if (lane_time(thread, lane) > met_) view.add(number_, warp * 32 + lane, lane_time(thread, lane));
  view.add(number_, thread, now);
  return view;
}

void BlockOrder::learn(unsigned thread, const View& view) {
  knows_others_ = true;
  views_[thread].add(view);
}

void Order::launch_begins() {
  launch_begin_ = tick();
  objects_.clear();
  fenced_.clear();
}

void Order::releases(const BlockOrder& block, unsigned thread, const void* object) {
  objects_[object].add(block.seen_by(thread, tick()));
}

void Order::acquires(BlockOrder& block, unsigned thread, const void* object) {
  auto released = objects_.find(object);
  if (released != objects_.end()) block.learn(thread, released->second);
}

void Order::fence(const BlockOrder& block, unsigned thread) {
  fenced_[{block.number(), thread}] = block.seen_by(thread, tick());
}

void Order::strong_access(BlockOrder& block, unsigned thread, const void* address) {
  if (!objects_.empty()) acquires(block, thread, address);
  if (fenced_.empty()) return;
  auto fenced = fenced_.find({block.number(), thread});
  if (fenced != fenced_.end()) objects_[address].add(fenced->second);
}

void Order::forget(const void* begin, const void* end) {
  objects_.erase(objects_.lower_bound(begin), objects_.lower_bound(end));
}

}  // namespace cuemu::check
