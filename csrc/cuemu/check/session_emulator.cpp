// What the emulator does on behalf of a kernel, asynchronous copies above all: what they read and, until the wait that
// covers them, have yet to write.
#include "cuemu/check/session.h"

namespace cuemu::check {

void Session::atomic_access(const void* address, unsigned bytes, Atomic kind, const void* pc) {
  Kind kinds[] = {Kind::atomic, Kind::exchange, Kind::compare_and_swap};
  access({address, bytes, kinds[static_cast<int>(kind)]}, pc);
}

void Session::memory_access(const void* address, unsigned bytes, bool is_store, Site site) {
  access({address, bytes, is_store ? Kind::store : Kind::load}, site);
}

// The emulator looks after the alignment of what engines move.
void Session::engine_access(const void* address, unsigned bytes, bool is_store, Site site) {
  access({address, bytes, is_store ? Kind::store : Kind::load, false, false, false, false, true}, site);
}

void Session::bulk_store(const void* address, unsigned bytes, Site site) {
  access({address, bytes, Kind::store, false, false, false, true, true}, site);
}

void Session::copy_begins(const Copy& copy) {
  if (copy.bytes) access({copy.global, copy.bytes, Kind::load, false, false}, copy.site);
  access({copy.shared, copy.bytes + copy.zero_bytes, Kind::store, false, false, true}, copy.site);
}

// The bytes are there, as if the thread had just stored them.
void Session::copy_lands(const Copy& copy) {
  BlockState& state = state_of(*current_block);
  auto address = reinterpret_cast<std::uintptr_t>(copy.shared);
  std::size_t bytes = copy.bytes + copy.zero_bytes;
  Region* region = state.shared.find(address, bytes).region;
  if (!region) return;
  Access landed{order_.now(),          current_block->current()->number, 0, 0, 0, 0,
                state.order->number(), sites_.of(copy.site, kSharedPart)};
  region->shadow.visit(address - region->begin, bytes, [&](Cell& cell, std::size_t) { cell.write = landed; });
}

}  // namespace cuemu::check
