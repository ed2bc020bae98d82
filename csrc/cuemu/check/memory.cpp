#include "cuemu/check/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "cuemu/language.h"

namespace cuemu::check {
namespace {

constexpr std::size_t kGuardBytes = 64 << 10;

std::string distance_from(std::uintptr_t address, std::uintptr_t begin, std::uintptr_t end, const std::string& what) {
  std::string size = " (" + std::to_string(end - begin) + " bytes)";
  if (address < begin) return std::to_string(begin - address) + " bytes before the start of " + what + size;
  return std::to_string(address - end) + " bytes past the end of " + what + size;
}

std::uintptr_t distance(std::uintptr_t address, const Region& region) {
  return address < region.begin ? region.begin - address : address - region.end;
}

}  // namespace

GlobalMemory::~GlobalMemory() {
  for (const Mapping& mapping : mappings_) munmap(reinterpret_cast<void*>(mapping.begin), mapping.bytes);
}

void GlobalMemory::add(std::uintptr_t address, std::size_t bytes, bool initialised, const std::string& name) {
  for (auto buffer = buffers_.begin(); buffer != buffers_.end();) {
    bool overlaps = buffer->second.begin < address + bytes && address < buffer->second.end;
    buffer = overlaps || buffer->first == address ? buffers_.erase(buffer) : std::next(buffer);
  }
  buffers_.emplace(std::piecewise_construct, std::forward_as_tuple(address),
                   std::forward_as_tuple(address, address + bytes, Space::global, initialised, name));
}

void GlobalMemory::remove(std::uintptr_t address) { buffers_.erase(address); }

void* GlobalMemory::allocate(std::size_t bytes, bool initialised, const std::string& name) {
  std::size_t mapped = kGuardBytes + bytes + kGuardBytes;
  void* memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  std::memset(memory, 0xff, mapped);
  auto begin = reinterpret_cast<std::uintptr_t>(memory);
  mappings_.push_back({begin, mapped});
  add(begin + kGuardBytes, bytes, initialised, name);
  return static_cast<char*>(memory) + kGuardBytes;
}

Area GlobalMemory::find(std::uintptr_t address, std::size_t bytes) {
  auto after = buffers_.upper_bound(address);
  if (after == buffers_.begin()) return {};
  Region& region = std::prev(after)->second;
  return region.holds(address, bytes) ? Area{&region, region.begin, region.end} : Area{};
}

std::string GlobalMemory::describe(std::uintptr_t address) const {
  constexpr std::uintptr_t kNear = 1 << 20;
  const Region* nearest = nullptr;
  for (const auto& [begin, region] : buffers_)
    if (!nearest || distance(address, region) < distance(address, *nearest)) nearest = &region;
  if (!nearest || distance(address, *nearest) > kNear) return "in memory that belongs to no buffer";
  if (address >= nearest->begin && address < nearest->end) return "across the end of '" + nearest->name + "'";
  return distance_from(address, nearest->begin, nearest->end, "'" + nearest->name + "'");
}

bool GlobalMemory::is_guard(std::uintptr_t address) const {
  return std::any_of(mappings_.begin(), mappings_.end(), [=](const Mapping& mapping) {
    return address >= mapping.begin && address + 256 <= mapping.begin + mapping.bytes;
  });
}

void SharedMemory::begin_block(void* dynamic, std::size_t bytes, Time now) {
  const Module& module = this_module();
  auto statics = reinterpret_cast<std::uintptr_t>(&::threadIdx) - module.thread_local_offset;
  auto begin = reinterpret_cast<std::uintptr_t>(dynamic);
  if (statics_.begin != statics)
    statics_ = Region(statics, statics + module.thread_local_bytes, Space::shared, false, "");
  if (dynamic_.begin != begin || dynamic_.end != begin + bytes)
    dynamic_ = Region(begin, begin + bytes, Space::shared, false, "");
  statics_.valid_after = dynamic_.valid_after = now;
  for (const SharedArray* array : used_)
    std::memset(reinterpret_cast<void*>(statics_.begin + array->offset), kUntouched, array->bytes);
}

Area SharedMemory::find(std::uintptr_t address, std::size_t bytes) {
  if (dynamic_.holds(address, bytes)) return {&dynamic_, dynamic_.begin, dynamic_.end};
  if (!statics_.holds(address, bytes)) return {};
  if (this_module().shared_arrays.empty()) return {&statics_, statics_.begin, statics_.end};
  const SharedArray* array = array_before(address);
  if (!array) return {};
  std::uintptr_t begin = statics_.begin + array->offset;
  const Area area{array->is_the_emulators ? nullptr : &statics_, begin, begin + array->bytes};
  if (!area.holds(address, bytes)) return {};
  if (area.region) used_.insert(array);
  return area;
}

std::string SharedMemory::describe(std::uintptr_t address) const {
  if (is_in_statics(address)) {
    const SharedArray* array = array_before(address);
    if (!array) return "in no shared array";
    std::uintptr_t begin = statics_.begin + array->offset;
    if (address < begin + array->bytes) return "in the shared array '" + array->name + "'";
    return distance_from(address, begin, begin + array->bytes, "the shared array '" + array->name + "'");
  }
  if (dynamic_.holds(address, 1)) return "in dynamic shared memory";
  constexpr std::uintptr_t kNear = 1024;
  if (dynamic_.begin == 0 || distance(address, dynamic_) > kNear) return "";
  return distance_from(address, dynamic_.begin, dynamic_.end, "dynamic shared memory");
}

// The last one that begins at the address or before.
const SharedArray* SharedMemory::array_before(std::uintptr_t address) const {
  const std::vector<SharedArray>& arrays = this_module().shared_arrays;
  std::uintptr_t offset = address - statics_.begin;
  auto after = std::upper_bound(arrays.begin(), arrays.end(), offset,
                                [](std::uintptr_t value, const SharedArray& array) { return value < array.offset; });
  return after == arrays.begin() ? nullptr : &*std::prev(after);
}

}  // namespace cuemu::check
