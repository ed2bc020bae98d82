#include "cuemu/mbarrier.h"

#include <cstdio>
#include <cstring>

#include "cuemu/block.h"
#include "cuemu/observer.h"

namespace cuemu {
namespace {

constexpr unsigned kMaxCount = (1u << 20) - 1;
constexpr int kMaxBytes = (1 << 20) - 1;
constexpr std::uint64_t kMark = 2;

// The 64 bits, which are opaque to kernels. The mark is there between init and invalidate; memory that was never
// written is all ones.
struct Contents {
  std::uint64_t mark : 2;
  std::uint64_t parity : 1;     // of the phase under way
  std::uint64_t expected : 20;  // arrivals in each phase
  std::uint64_t pending : 20;   // of them not yet there
  std::int64_t bytes : 21;      // announced and not yet there; negative: came before they were announced
};
static_assert(sizeof(Contents) == 8, "an mbarrier has 64 bits");

Contents read(const std::uint64_t* barrier) {
  Contents contents;
  std::memcpy(&contents, barrier, sizeof contents);
  return contents;
}

void write(std::uint64_t* barrier, Contents contents) {
  if (contents.pending == 0 && contents.bytes == 0) {
    contents.parity ^= 1;
    contents.pending = contents.expected;
  }
  std::memcpy(barrier, &contents, sizeof contents);
}

Contents checked(const std::uint64_t* barrier, Site site) {
  if (reinterpret_cast<std::uintptr_t>(barrier) % 8) fail("an mbarrier is aligned to 8 bytes", site, Fault::misaligned);
  const Contents contents = read(barrier);
  if (contents.mark != kMark) fail("the mbarrier has not been initialised", site, Fault::uninitialized);
  return contents;
}

struct Wait {
  const std::uint64_t* barrier;
  unsigned parity;
};

bool is_over(const void* frame) {
  auto* wait = static_cast<const Wait*>(frame);
  return read(wait->barrier).parity != wait->parity;
}

void count_missing(const void* frame, char* text, std::size_t size) {
  auto* wait = static_cast<const Wait*>(frame);
  const Contents contents = read(wait->barrier);
  std::snprintf(text, size, "parity %u: %u of %u arrivals and %d bytes are missing", wait->parity,
                static_cast<unsigned>(contents.pending), static_cast<unsigned>(contents.expected),
                static_cast<int>(contents.bytes));
}

constexpr Condition wait_condition{"an mbarrier", is_over, count_missing};

}  // namespace

void mbarrier_init(std::uint64_t* barrier, unsigned count, Site site) {
  if (reinterpret_cast<std::uintptr_t>(barrier) % 8) fail("an mbarrier is aligned to 8 bytes", site, Fault::misaligned);
  if (count == 0 || count > kMaxCount) fail("an mbarrier expects 1 to 1048575 arrivals", site);
  const Contents contents{kMark, 0, count, count, 0};
  std::memcpy(barrier, &contents, sizeof contents);
}

void mbarrier_invalidate(std::uint64_t* barrier, Site site) {
  checked(barrier, site);
  std::memset(barrier, 0xff, sizeof *barrier);
}

void mbarrier_arrive(std::uint64_t* barrier, unsigned count, Site site) {
  Contents contents = checked(barrier, site);
  if (count > contents.pending) fail("more arrivals at the mbarrier than it expects", site);
  if (observer) observer->releases(barrier);
  contents.pending -= count;
  write(barrier, contents);
}

void mbarrier_expect_bytes(std::uint64_t* barrier, unsigned bytes, Site site) {
  Contents contents = checked(barrier, site);
  if (static_cast<std::int64_t>(bytes) + contents.bytes > kMaxBytes)
    fail("an mbarrier expects more than 1048575 bytes", site);
  contents.bytes += static_cast<int>(bytes);
  write(barrier, contents);
}

const char* mbarrier_complete_bytes(std::uint64_t* barrier, unsigned bytes) {
  Contents contents = read(barrier);
  if (contents.mark != kMark) return "a copy arrives at an mbarrier that has not been initialised";
  if (contents.bytes - static_cast<std::int64_t>(bytes) < -kMaxBytes)
    return "copies bring more bytes than the mbarrier can count";
  contents.bytes -= static_cast<int>(bytes);
  write(barrier, contents);
  return nullptr;
}

bool mbarrier_test_wait(std::uint64_t* barrier, unsigned parity, Site site) {
  checked(barrier, site);
  const Wait wait{barrier, parity & 1};
  if (!is_over(&wait)) {
    may_spin(site);
    return false;
  }
  if (observer) observer->acquires(barrier);
  return true;
}

void mbarrier_wait(std::uint64_t* barrier, unsigned parity, Site site) {
  checked(barrier, site);
  Wait wait{barrier, parity & 1};
  wait_until(wait_condition, &wait, site);
  if (observer) observer->acquires(barrier);
}

}  // namespace cuemu
