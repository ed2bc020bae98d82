// Numbers for places in the source: the instruction that accesses memory, by its address, or a line that an intrinsic
// has been told by its caller.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "cuemu/check/access.h"
#include "cuemu/check/memory.h"
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

constexpr SiteId kNoSite = ~SiteId{0};

// What is known of a place, so that its next access is quick.
struct Instruction {
  static constexpr unsigned kParts = 16;
  Place place;
  SiteId sites[kParts];
  Area area;                // where its latest access was
  std::uint64_t epoch = 0;  // in which that holds

  explicit Instruction(const Place& place_) : place(place_) { std::fill_n(sites, kParts, kNoSite); }
};

class Sites {
 public:
  Instruction& at(const Place& place) {
    if (place.pc) return find_or_add(place, reinterpret_cast<std::uintptr_t>(place.pc));
    auto file = reinterpret_cast<std::uintptr_t>(place.site.file);
    return find_or_add(place, (file * 1000003 + static_cast<unsigned>(place.site.line)) | std::uint64_t{1} << 63);
  }
  // `part` tells the pieces of one instruction apart where it moves more than a lane can at once.
  SiteId of(Instruction& instruction, unsigned part) {
    SiteId& site = instruction.sites[part];
    return site != kNoSite ? site : site = add(instruction.place);
  }
  SiteId of(const Place& place, unsigned part = 0) { return of(at(place), part); }

  // The source line of each site, by number. Runs addr2line.
  std::vector<Line> lines() const;

 private:
  struct Slot {
    std::uint64_t key;  // 0: empty
    Instruction* instruction;
  };
  Instruction& find_or_add(const Place& place, std::uint64_t key) {
    std::size_t slot = key * 0x9e3779b97f4a7c15u >> shift_;
    while (table_[slot].key != key) {
      if (table_[slot].key == 0) return add_instruction(place, key);
      slot = (slot + 1) & (table_.size() - 1);
    }
    return *table_[slot].instruction;
  }
  Instruction& add_instruction(const Place& place, std::uint64_t key);
  SiteId add(const Place& place);
  void insert(Slot slot);

  std::deque<Instruction> instructions_;
  std::vector<Place> places_;  // by SiteId
  unsigned shift_ = 64 - 12;
  std::vector<Slot> table_ = std::vector<Slot>(std::size_t{1} << 12);
};

}  // namespace cuemu::check
