#include "cuemu/command/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>
#include <vector>

namespace cuemu::command {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kGuardBytes = std::size_t{1} << 20;  // before and after, so that most wrong indices hit it

struct Array {
  unsigned char* start;
  std::size_t bytes;
  unsigned char* guard;
  std::string name;
};

std::vector<Array>& arrays() {
  static std::vector<Array> arrays;
  return arrays;
}

// What stands behind the end of array `number`: a NaN in every floating-point type, and in each array another, so that
// one which was read from there and written there shows.
unsigned char untouched(std::size_t number, const unsigned char* byte) {
  const std::uint32_t word = 0x7ffc7e01u + static_cast<std::uint32_t>(number % 255);
  return static_cast<unsigned char>(word >> reinterpret_cast<std::uintptr_t>(byte) % 4 * 8);
}

std::size_t round_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

char* guarded_memory(std::size_t bytes, const std::string& name) {
  const std::size_t room = round_up(bytes, kAlignment);
  const std::size_t pages = round_up(room, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)));
  void* map = mmap(nullptr, pages + 2 * kGuardBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) throw std::bad_alloc();
  unsigned char* first = static_cast<unsigned char*>(map) + kGuardBytes;
  if (pages && mprotect(first, pages, PROT_READ | PROT_WRITE)) throw std::bad_alloc();
  unsigned char* start = first + pages - room;
  for (unsigned char* byte = start + bytes; byte < first + pages; ++byte) *byte = untouched(arrays().size(), byte);
  arrays().push_back({start, bytes, first + pages, name});
  return reinterpret_cast<char*>(start);
}

std::string describe_address(const void* address) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  for (const Array& array : arrays()) {
    const auto start = reinterpret_cast<std::uintptr_t>(array.start);
    const auto end = start + array.bytes;
    if (at >= end && at - end < kGuardBytes)
      return std::to_string(at - end) + " bytes past the end of " + array.name + " (" + std::to_string(array.bytes) +
             " bytes)";
    if (at < start && start - at <= kGuardBytes)
      return std::to_string(start - at) + " bytes before the start of " + array.name;
  }
  return at < 4096 ? "a null pointer" : "";
}

std::string overruns() {
  std::string report;
  for (std::size_t i = 0; i < arrays().size(); ++i) {
    const Array& array = arrays()[i];
    for (unsigned char* byte = array.start + array.bytes; byte < array.guard; ++byte) {
      if (*byte == untouched(i, byte)) continue;
      report += "the kernel writes " + std::to_string(byte - array.start - array.bytes) + " bytes past the end of " +
                array.name + " (" + std::to_string(array.bytes) + " bytes)\n";
      break;
    }
  }
  return report;
}

}  // namespace cuemu::command
