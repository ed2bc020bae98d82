// Numbers for places in the source: the instruction that accesses memory, by its address, or a line that an intrinsic
// has been told by its caller.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cuemu/check/access.h"
#include "cuemu/runtime.h"

namespace cuemu::check {

struct Line {
  std::string file;
  int line;
  bool operator<(const Line& other) const { return file != other.file ? file < other.file : line < other.line; }
};

// Where something is done: an instruction (the address to return to), or else a line.
struct Place {
  const void* pc;
  Site site;
  Place(const void* pc_) : pc(pc_), site{nullptr, 0} {}
  Place(Site site_) : pc(nullptr), site(site_) {}
};

class Sites {
 public:
  // `part` tells the pieces of one instruction apart (0 to 15) where it moves more than a lane can at once.
  SiteId of(const Place& place, unsigned part = 0) {
    if (place.pc) return find_or_add(place, reinterpret_cast<std::uintptr_t>(place.pc) << 4 | part);
    auto file = reinterpret_cast<std::uintptr_t>(place.site.file);
    std::uint64_t key = (file * 1000003 + static_cast<unsigned>(place.site.line)) << 4;
    return find_or_add(place, key | part | std::uint64_t{1} << 63);
  }

  // The source line of each site, by number. Runs addr2line.
  std::vector<Line> lines() const;

 private:
  struct Slot {
    std::uint64_t key;  // 0: empty
    SiteId id;
  };
  SiteId find_or_add(const Place& place, std::uint64_t key) {
    std::size_t slot = key * 0x9e3779b97f4a7c15u >> shift_;
    while (table_[slot].key != key) {
      if (table_[slot].key == 0) return add(place, key);
      slot = (slot + 1) & (table_.size() - 1);
    }
    return table_[slot].id;
  }
  SiteId add(const Place& place, std::uint64_t key);
  void insert(Slot slot);

  std::vector<Place> places_;
  unsigned shift_ = 64 - 12;
  std::vector<Slot> table_ = std::vector<Slot>(std::size_t{1} << 12);
};

}  // namespace cuemu::check
