// Says in words which threads wait where.
#include <cstdio>

#include "cuemu/block.h"

namespace cuemu {
namespace {

// "an mbarrier (1 of 4 arrivals is missing)"
std::string explanation(const Thread& thread) {
  std::string text = thread.condition->name;
  if (!thread.condition->explain) return text;
  char details[160];
  thread.condition->explain(thread.frame, details, sizeof details);
  return text + " (" + details + ")";
}

bool same_wait(const Thread& a, const Thread& b) {
  if (a.state != b.state) return false;
  if (a.state == State::returned || a.state == State::ready) return true;
  if (!same_site(a.site, b.site)) return false;
  if (a.state == State::waiting) return explanation(a) == explanation(b);
  return a.state != State::in_warp_op || (a.op == b.op && a.mask == b.mask);
}

std::string what(const Thread& thread) {
  switch (thread.state) {
    case State::returned:
      return "have returned";
    case State::at_barrier:
      return "wait at __syncthreads " + describe(thread.site);
    case State::in_warp_op: {
      char mask[16];
      std::snprintf(mask, sizeof mask, "0x%08x", thread.mask);
      return std::string("wait at ") + thread.op->name + " with mask " + mask + " " + describe(thread.site);
    }
    case State::waiting:
      return "wait for " + explanation(thread) + " " + describe(thread.site);
    case State::converging:
      return "wait for the other lanes of their warp " + describe(thread.site);
    case State::spinning:
      return thread.pc ? "spin in a loop of loads" : "spin " + describe(thread.site);
    default:
      return "are ready to run";
  }
}

}  // namespace

std::string describe(Site site) {
  std::string file = site.file;
  return "(" + file.substr(file.rfind('/') + 1) + ":" + std::to_string(site.line) + ")";
}

std::string describe_waiting(const std::vector<Thread>& threads, unsigned count) {
  std::string report;
  std::vector<bool> told(count);
  for (unsigned i = 0; i < count; ++i) {
    if (told[i]) continue;
    std::string numbers;
    for (unsigned first = i; first < count; ++first) {
      if (told[first] || !same_wait(threads[i], threads[first])) continue;
      unsigned last = first;
      while (last + 1 < count && same_wait(threads[i], threads[last + 1])) ++last;
      for (unsigned j = first; j <= last; ++j) told[j] = true;
      numbers += (numbers.empty() ? "" : ", ") + std::to_string(first);
      if (last > first) numbers += "-" + std::to_string(last);
      first = last;
    }
    report += "  threads " + numbers + " " + what(threads[i]) + "\n";
  }
  return report;
}

}  // namespace cuemu
