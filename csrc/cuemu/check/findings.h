// What is wrong, once for each place.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <tuple>

#include "cuemu/check/sites.h"
#include "cuemu/runtime.h"

namespace cuemu::check {

using Index = std::array<unsigned, 3>;

// The first occurrence, and how many there were.
struct Finding {
  Fault fault;
  SiteId site;
  SiteId other;  // of the second access, or kNoSite
  std::uint64_t count;
  std::string kernel;
  std::string message;
  Index block;
  Index thread;
};

const char* name_of(Fault fault);

class Findings {
 public:
  // Counts one. At the first of this kind and place the finding is returned, for the caller to fill in the rest.
  Finding* note(Fault fault, SiteId site, SiteId other = kNoSite) {
    Finding*& finding = by_place_[{fault, site, other}];
    if (finding) {
      ++finding->count;
      return nullptr;
    }
    findings_.push_back({fault, site, other, 1, {}, {}, {}, {}});
    return finding = &findings_.back();
  }
  // Races between these two are meant: the value of the first, a load, is only what the second compares with and swaps.
  void allow_race(SiteId load, SiteId compare_and_swap) { guesses_.insert({load, compare_and_swap}); }

  const std::deque<Finding>& all() const { return findings_; }
  bool is_allowed(const Finding& finding) const {
    return finding.fault == Fault::race &&
           (guesses_.count({finding.site, finding.other}) || guesses_.count({finding.other, finding.site}));
  }

 private:
  std::deque<Finding> findings_;  // in the order of their first occurrence
  std::map<std::tuple<Fault, SiteId, SiteId>, Finding*> by_place_;
  std::set<std::pair<SiteId, SiteId>> guesses_;
};

}  // namespace cuemu::check
