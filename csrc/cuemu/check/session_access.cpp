// The way of one access through the checks.
#include <algorithm>
#include <cstring>

#include "cuemu/allocations.h"
#include "cuemu/check/session.h"

namespace cuemu::check {
namespace {

constexpr unsigned kWidest = 16;  // bytes that a lane can move at once

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::load:
      return "a load";
    case Kind::store:
      return "a store";
    default:
      return "an atomic";
  }
}

}  // namespace

void Session::access(const Asked& asked, const Place& place) {
  if (!in_kernel()) return;
  Block* block = current_block;
  Thread& thread = *block->current();
  if (same_stack(asked.address, thread.stack)) return;
  settle_doubtful_store();
  BlockState& state = state_of(*block);
  auto address = reinterpret_cast<std::uintptr_t>(asked.address);
  Instruction& instruction = sites_.at(place);
  if (instruction.epoch != epoch_ || !instruction.area.holds(address, asked.bytes)) {
    instruction.area = find_area(*block, state, asked, place);
    instruction.epoch = epoch_;
  }
  Region* region = instruction.area.region;
  if (!region) return;
  const unsigned alignment = asked.bytes & -asked.bytes;
  if (asked.is_aligned && address & (alignment - 1)) misaligned(*block, state, asked, *region, place);
  bool is_shared = region->space == Space::shared;
  bool is_strong = is_atomic(asked.kind) || (asked.is_volatile && !is_shared);
  if (is_strong) order_.strong_access(*state.order, thread.number, asked.address);
  const unsigned piece = std::min(alignment, kWidest);
  for (unsigned part = 0; part * piece < asked.bytes; ++part) {
    SiteId site = sites_.of(instruction, part % kSharedPart + (is_shared ? kSharedPart : 0));
    bool is_polled = asked.is_volatile && is_shared;
    Access access{order_.now(),  thread.number,         is_strong, is_polled, asked.is_bulk,
                  asked.is_copy, state.order->number(), site};
    check({*block, state, thread, address + part * piece, piece, asked.kind, region, access, asked.by_engine});
  }
  let_others_run(asked, *block, place);
}

inline void Session::let_others_run(const Asked& asked, Block& block, const Place& place) {
  constexpr unsigned kPatience = 5000;
  constexpr unsigned kPatienceIfVolatile = 16;
  const Thread* thread = block.current();
  if (asked.kind != Kind::load || asked.by_engine) {
    polled_.times = 0;
  } else if (polled_.thread != thread || polled_.address != asked.address) {
    polled_ = {thread, asked.address, 0};
  } else if (++polled_.times > (asked.is_volatile ? kPatienceIfVolatile : kPatience)) {
    polled_.times = 0;
    if (place.pc) block.spin(place.pc);
  }
}

void Session::misaligned(Block& block, BlockState& state, const Asked& asked, Region& region, Place place) {
  std::string message = std::string(name_of(asked.kind)) + " of " + std::to_string(asked.bytes) +
                        " bytes at an address that is no multiple of that";
  auto address = reinterpret_cast<std::uintptr_t>(asked.address);
  Access access{order_.now(), block.current()->number, 0, 0, 0, 0, state.order->number(), sites_.of(place)};
  Step step{block, state, *block.current(), address, asked.bytes, asked.kind, &region, access};
  note(step, Fault::misaligned, kNoSite, message);
  block.stop(message);
}

inline void Session::check(const Step& step) {
  SiteId id = step.access.site;
  if (id >= counts_.sites.size()) counts_.sites.resize(id + 1);
  SiteCounts& site = counts_.sites[id];
  if (site.bytes == 0) {
    site.bytes = step.bytes;
    site.kind = step.kind;
    site.space = step.region->space;
  }
  step.region->shadow.visit(step.address - step.region->begin, step.bytes, [&](Cell& cell, std::size_t bytes) {
    if (step.kind == Kind::load) {
      check_load(step, cell, bytes);
    } else {
      check_store(step, cell, bytes);
    }
  });
  if (step.by_engine) {
    site.count_engine(engine_instruction_, step.bytes, *kernel_counts_);
  } else {
    step.state.warps[step.thread.number / 32].record(step.thread.number % 32, id, step.address);
  }
}

// Whether the current thread has seen an earlier access, or needs not.
inline bool Session::in_order(const Step& step, const Access& earlier) const {
  Time quiet = step.region->space == Space::shared ? step.region->valid_after : order_.launch_begin();
  if (earlier.time <= quiet || step.state.order->has_seen(step.thread.number, earlier)) return true;
  const Access& me = step.access;
  return (earlier.strong && (me.strong || me.polled)) || (earlier.polled && me.strong);
}

// Of shared memory that nobody is known to have written. The compiler tells no store of a function that returns a
// struct straight into memory, nor what a library function writes; but then the bytes are others than those of the
// beginning.
bool Session::is_untouched(const Step& step) {
  auto* bytes = reinterpret_cast<const unsigned char*>(step.address);
  auto are = [&](unsigned char value) {
    return std::all_of(bytes, bytes + step.bytes, [=](unsigned char byte) { return byte == value; });
  };
  return step.region->space == Space::global || are(kUntouched) || are(0);
}

inline void Session::check_load(const Step& step, Cell& cell, std::size_t cell_bytes) {
  const Region& region = *step.region;
  const Access& me = step.access;
  Access& latest = cell.reads[0];
  bool is_same_thread = latest.block == me.block && latest.thread == me.thread;
  if (is_same_thread && latest.time == me.time && cell.write.time < me.time) return;
  const Access& write = cell.write;
  if (write.time <= region.valid_after) {
    if (!region.initialised && is_untouched(step))
      note(step, Fault::uninitialized, kNoSite, "a load of memory that nobody has written");
  } else if (write.copying) {
    note(step, Fault::missing_wait, write.site,
         "a load of what an asynchronous copy has yet to bring: its wait is missing");
  } else if (!in_order(step, write)) {
    race(step, write, false);
  } else if (step.by_engine && !write.bulk && write.time > order_.launch_begin() && !order_.is_proxy_fenced(write)) {
    note(step, Fault::missing_wait, write.site,
         "a bulk copy or wgmma loads what a thread has stored, without a fence.proxy.async after that");
  }
  if (region.space == Space::global && latest.time <= order_.launch_begin())
    kernel_counts_->compulsory_read += cell_bytes;
  if (!is_same_thread) {
    bool is_same_warp = latest.block == me.block && latest.thread / 32 == me.thread / 32;
    if (is_same_warp) {
      cell.reads[1] = latest;
    } else {
      cell.reads[2] = latest;
    }
  }
  latest = me;
}

void Session::check_store(const Step& step, Cell& cell, std::size_t cell_bytes) {
  const Region& region = *step.region;
  const Access& write = cell.write;
  if (write.copying && write.time > region.valid_after) {
    note(step, Fault::missing_wait, write.site,
         "a store to what an asynchronous copy has yet to bring: its wait is missing");
  } else if (!in_order(step, write)) {
    race(step, write, false);
  }
  bool needs_old = step.kind == Kind::atomic || step.kind == Kind::compare_and_swap;
  if (needs_old && write.time <= region.valid_after && !region.initialised)
    note(step, Fault::uninitialized, kNoSite, "an atomic on memory that nobody has written");
  for (const Access& read : cell.reads) {
    bool is_own = read.block == step.access.block && read.thread == step.access.thread;
    if (is_own && step.kind == Kind::compare_and_swap && read.time > order_.launch_begin())
      findings_.allow_race(read.site, step.access.site);
    if (!in_order(step, read)) race(step, read, true);
  }
  if (region.space == Space::global && write.time <= order_.launch_begin())
    kernel_counts_->compulsory_written += cell_bytes;
  cell.write = step.access;
}

void Session::race(const Step& step, const Access& earlier, bool earlier_is_load) {
  if (earlier.bulk) {
    note(step, Fault::missing_wait, earlier.site,
         std::string(name_of(step.kind)) + " where a bulk copy brings its bytes, without having waited at its barrier");
    return;
  }
  auto meant = meant_races_.upper_bound(step.address);
  if (meant != meant_races_.begin() && step.address < std::prev(meant)->second) return;
  std::string message = std::string(name_of(step.kind)) + " and, earlier, " + (earlier_is_load ? "a load" : "a store") +
                        " by " +
                        (earlier.block != step.access.block ? "a thread of another block"
                         : earlier.thread / 32 != step.access.thread / 32
                             ? "thread " + std::to_string(earlier.thread) + ", of another warp"
                             : "thread " + std::to_string(earlier.thread) + ", of the same warp") +
                        ": nothing orders the two";
  if (step.kind != Kind::store || earlier_is_load || earlier.strong || step.access.copying) {
    note(step, Fault::race, earlier.site, message);
    return;
  }
  if (doubtful_.waits) return;  // one for each access
  doubtful_.waits = true;
  doubtful_.address = step.address;
  doubtful_.bytes = step.bytes;
  std::memcpy(doubtful_.before, reinterpret_cast<const void*>(step.address), step.bytes);
  doubtful_.site = step.access.site;
  doubtful_.other = earlier.site;
  doubtful_.message = std::move(message);
  doubtful_.block = to_index(step.block.index());
  doubtful_.thread = to_index(step.thread.index);
}

void Session::settle_doubtful_store() {
  if (!doubtful_.waits) return;
  doubtful_.waits = false;
  if (std::memcmp(doubtful_.before, reinterpret_cast<const void*>(doubtful_.address), doubtful_.bytes) == 0) return;
  Finding* finding = findings_.note(Fault::race, doubtful_.site, doubtful_.other);
  if (!finding) return;
  finding->kernel = kernel_;
  finding->message = doubtful_.message;
  finding->block = doubtful_.block;
  finding->thread = doubtful_.thread;
}

// Adds where the memory is.
void Session::note(const Step& step, Fault fault, SiteId other, const std::string& message) {
  Finding* finding = findings_.note(fault, step.access.site, other);
  if (!finding) return;
  finding->kernel = kernel_;
  finding->block = to_index(step.block.index());
  finding->thread = to_index(step.thread.index);
  finding->message = message;
  if (step.region->space == Space::shared) {
    finding->message += "; " + describe(step.state, step.address);
  } else {
    finding->message += "; '" + step.region->name + "', byte " + std::to_string(step.address - step.region->begin);
  }
}

// Of an address in shared memory, this block's or another one's.
std::string Session::describe(const BlockState& state, std::uintptr_t address) const {
  std::string own = state.shared.describe(address);
  if (!own.empty()) return own;
  for (const auto& [block, neighbour] : states_) {
    std::string where = neighbour.is_running ? neighbour.shared.describe(address) : "";
    if (!where.empty()) return where + " of another block";
  }
  return "";
}

Area Session::find_area(Block& block, BlockState& state, const Asked& asked, Place place) {
  auto address = reinterpret_cast<std::uintptr_t>(asked.address);
  if (Area area = state.shared.find(address, asked.bytes); area.end) return area;
  if (Area area = global_.find(address, asked.bytes); area.end) return area;
  // Shared memory of another block of the cluster.
  for (auto& [other, neighbour] : states_)
    if (neighbour.is_running)
      if (Area area = neighbour.shared.find(address, asked.bytes); area.end) return area;
  for (const Segment& segment : this_module().segments) {
    if (address < segment.begin || address >= segment.end) continue;
    if (!segment.writable) return {nullptr, segment.begin, segment.end};  // constants
    ++epoch_;
    global_.add(segment.begin, segment.end - segment.begin, true, "__device__ variables");
    return global_.find(address, asked.bytes);
  }
  if (Allocation found = find_allocation(asked.address); found.begin) {  // older than the session
    auto begin = reinterpret_cast<std::uintptr_t>(found.begin);
    ++epoch_;
    global_.add(begin, found.bytes, true, "memory of " + std::to_string(found.bytes) + " bytes");
    if (Area area = global_.find(address, asked.bytes); area.end) return area;
  }
  out_of_bounds(block, state, asked, place);
  return {};
}

void Session::out_of_bounds(Block& block, BlockState& state, const Asked& asked, Place place) {
  auto address = reinterpret_cast<std::uintptr_t>(asked.address);
  bool in_statics = state.shared.is_in_statics(address);
  std::string where = describe(state, address);
  bool is_harmless = in_statics || (where.empty() && global_.is_guard(address));
  if (where.empty()) where = global_.describe(address);
  std::string message = std::string(name_of(asked.kind)) + " of " + std::to_string(asked.bytes) + " bytes " + where;
  note(Fault::out_of_bounds, message, place);
  if (!is_harmless) block.stop(message);
}

void Session::index_outside(const char* array_type, long long index, Place place) {
  if (!in_kernel()) return;
  note(Fault::out_of_bounds, "index " + std::to_string(index) + " of an array of type " + array_type, place);
}

}  // namespace cuemu::check
