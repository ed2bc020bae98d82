// One access of one thread, as small as it can be: the checker keeps several for every few bytes of memory.
#pragma once

#include <cstdint>

namespace cuemu::check {

// Counts what orders memory: it goes on by one at every barrier, release and so on. 0 is before everything.
using Time = std::uint64_t;

// A place in the source, as a number (sites.h).
using SiteId = std::uint32_t;

// An exchange is an atomic that has no use for what was there before.
enum class Kind : std::uint8_t { load, store, atomic, exchange };
inline bool is_atomic(Kind kind) { return kind == Kind::atomic || kind == Kind::exchange; }

struct Access {
  Time time : 48;
  std::uint64_t thread : 10;
  std::uint64_t strong : 1;   // atomic, or volatile in global memory: two of them never race
  std::uint64_t copying : 1;  // the destination of an asynchronous copy that is under way
  std::uint32_t block;        // counted over all launches of the session
  SiteId site;
};
static_assert(sizeof(Access) == 16, "four of them fill a cache line");

}  // namespace cuemu::check
