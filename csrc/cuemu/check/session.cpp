#include "cuemu/check/session.h"

#include "cuemu/check/json_report.h"

namespace cuemu::check {

Session* session = nullptr;

void Session::launch_begins(const Grid&, const std::string& kernel) {
  order_.launch_begins();
  ++epoch_;
  kernel_ = kernel;
  kernel_counts_ = &counts_.kernels[kernel];
  ++kernel_counts_->launches;
  is_reported_ = true;
}

bool Session::launch_ends() {
  settle_doubtful_store();
  return is_reported_;
}

void Session::block_begins(Block& block) {
  BlockState& state = state_of(block);
  Time now = order_.tick();
  state.order = std::make_unique<BlockOrder>(++blocks_begun_, block.thread_count(), now);
  state.is_running = true;
  ++epoch_;
  state.shared.begin_block(block.shared_memory(), block.grid().shared_bytes, now);
}

void Session::block_ends(Block& block) {
  settle_doubtful_store();
  for (unsigned warp = 0; warp * 32 < block.thread_count(); ++warp) count_requests(block, warp);
  BlockState& state = state_of(block);
  state.is_running = false;
  order_.block_ends(*state.order);
  polled_ = {};
}

void Session::thread_returns(Block& block) {
  settle_doubtful_store();
  unsigned number = block.current()->number;
  if (block.alive_lanes(number / 32) == 1u << number % 32) count_requests(block, number / 32);
}

void Session::block_meets(Block& block) {
  settle_doubtful_store();
  order_.block_meets(*state_of(block).order);
  for (unsigned warp = 0; warp * 32 < block.thread_count(); ++warp) count_requests(block, warp);
}

void Session::lanes_meet(Block& block, unsigned warp, unsigned lanes, bool orders_memory) {
  settle_doubtful_store();
  bool all = lanes == block.alive_lanes(warp);
  if (orders_memory) state_of(block).order->lanes_meet(warp, lanes, all, order_.tick());
  if (all) count_requests(block, warp);
}

void Session::count_requests(Block& block, unsigned warp) {
  unsigned lanes = block.thread_count() - warp * 32;
  std::uint32_t existing = lanes < 32 ? (1u << lanes) - 1 : ~0u;
  state_of(block).warps[warp].count(existing, counts_, *kernel_counts_);
}

void Session::releases(const void* object) {
  order_.releases(*state_of(*current_block).order, current_block->current()->number, object);
}

void Session::acquires(const void* object) {
  order_.acquires(*state_of(*current_block).order, current_block->current()->number, object);
}

void Session::fence() {
  if (in_kernel()) order_.fence(*state_of(*current_block).order, current_block->current()->number);
}

void Session::proxy_fence() { order_.proxy_fence(*state_of(*current_block).order, current_block->current()->number); }

void Session::finds(Fault fault, const std::string& message, Site site) {
  if (fault == Fault::other) {
    is_reported_ = false;
  } else {
    note(fault, message, site);
  }
}

void Session::note(Fault fault, const std::string& message, Place place) {
  bool is_known = place.pc || place.site.file;
  Finding* finding = findings_.note(fault, is_known ? sites_.of(place) : kNoSite);
  if (!finding) return;
  finding->kernel = kernel_;
  finding->message = message;
  if (!current_block) return;
  finding->block = to_index(current_block->index());
  if (current_block->current()) finding->thread = to_index(current_block->current()->index);
}

void* Session::allocates(std::size_t bytes, bool initialised, const std::string& name) {
  return global_.allocate(bytes, initialised, name);
}

// The bytes stay where they are, so that a late access does no harm beside the finding.
void Session::frees(void* memory) { global_.remove(reinterpret_cast<std::uintptr_t>(memory)); }

void Session::host_writes(const void* address, std::size_t bytes) {
  auto begin = reinterpret_cast<std::uintptr_t>(address);
  Region* region = bytes ? global_.find(begin, bytes).region : nullptr;
  if (!region) return;
  Access written{order_.tick(), 0, 0, 0, 0, 0, 0, 0};
  region->shadow.visit(begin - region->begin, bytes, [&](Cell& cell, std::size_t) { cell.write = written; });
}

void Session::race_is_meant(const void* address, std::size_t bytes) {
  auto begin = reinterpret_cast<std::uintptr_t>(address);
  std::uintptr_t& end = meant_races_[begin];
  end = std::max(end, begin + bytes);
}

std::string Session::report() const { return write_report(findings_, counts_, sites_.lines()); }

}  // namespace cuemu::check
