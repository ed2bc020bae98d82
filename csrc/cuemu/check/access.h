// One access of one thread, as small as it can be: the checker keeps several for every few bytes of memory.
#pragma once

#include <cstdint>

namespace cuemu::check {

// Counts what orders memory: it goes on by one at every barrier, release and so on. 0 is before everything.
using Time = std::uint64_t;

// A place in the source, as a number (sites.h).
using SiteId = std::uint32_t;

enum class Kind : std::uint8_t { load, store, atomic, exchange, compare_and_swap };
inline bool is_atomic(Kind kind) { return kind >= Kind::atomic; }

struct Access {
  Time time : 48;
  std::uint64_t thread : 10;
  std::uint64_t strong : 1;   // atomic, or volatile in global memory: two of them never race
  std::uint64_t polled : 1;   // volatile in shared memory: does not race with an atomic
  std::uint64_t bulk : 1;     // a bulk copy that its barrier announces
  std::uint64_t copying : 1;  // the destination of an asynchronous copy that is under way
  std::uint32_t block;        // counted over all launches of the session
  SiteId site;
};
static_assert(sizeof(Access) == 16, "four of them fill a cache line");

}  // namespace cuemu::check
