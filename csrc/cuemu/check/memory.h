// What an address is: global memory that the session was told of, the block's shared memory, a thread's own stack, or
// out of bounds.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "cuemu/check/module.h"
#include "cuemu/check/shadow.h"

namespace cuemu::check {

enum class Space : std::uint8_t { global, shared };

// A piece of memory that kernels may use, with its shadow.
struct Region {
  std::uintptr_t begin;
  std::uintptr_t end;
  Space space;
  bool initialised;
  std::string name;
  Shadow shadow;
  Time valid_after = 0;  // what the shadow remembers of earlier times belongs to another use of the memory

  Region(std::uintptr_t begin_, std::uintptr_t end_, Space space_, bool initialised_, std::string name_)
      : begin(begin_),
        end(end_),
        space(space_),
        initialised(initialised_),
        name(std::move(name_)),
        shadow(end_ - begin_) {}
  bool holds(std::uintptr_t address, std::size_t bytes) const { return address >= begin && address + bytes <= end; }
};

// Addresses that are one thing: a buffer or a shared array of a region, or, without one, memory that is not checked.
struct Area {
  Region* region = nullptr;
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  bool holds(std::uintptr_t address, std::size_t bytes) const { return address >= begin && address + bytes <= end; }
};

// Buffers in global memory.
class GlobalMemory {
 public:
  ~GlobalMemory();
  void add(std::uintptr_t address, std::size_t bytes, bool initialised, const std::string& name);
  void remove(std::uintptr_t address);
  void* allocate(std::size_t bytes, bool initialised, const std::string& name);

  // The buffer in which the bytes lie; holds nothing if there is none.
  Area find(std::uintptr_t address, std::size_t bytes);
  // "4 bytes past the end of 'x'".
  std::string describe(std::uintptr_t address) const;
  // Whether touching memory there does no harm, although it is nobody's.
  bool is_guard(std::uintptr_t address) const;

 private:
  struct Mapping {
    std::uintptr_t begin;
    std::size_t bytes;
  };
  std::map<std::uintptr_t, Region> buffers_;  // by their begin
  std::vector<Mapping> mappings_;
};

constexpr unsigned char kUntouched = 0xff;  // what a block finds in its shared memory

// The shared memory of one block: static arrays, which are thread-local variables of the OS thread that runs it, and
// the dynamic buffer.
class SharedMemory {
 public:
  SharedMemory() : statics_(0, 0, Space::shared, false, ""), dynamic_(0, 0, Space::shared, false, "") {}

  // A new block begins on the calling OS thread.
  void begin_block(void* dynamic, std::size_t bytes, Time now);
  // The array or the buffer in which the bytes lie, or the emulator's variable; it holds nothing if there is none.
  Area find(std::uintptr_t address, std::size_t bytes);
  std::string describe(std::uintptr_t address) const;
  // Whether the address is in the OS thread's variables: those of the emulator, or between two shared arrays.
  bool is_in_statics(std::uintptr_t address) const { return statics_.holds(address, 1); }

 private:
  const SharedArray* array_before(std::uintptr_t address) const;

  Region statics_;
  Region dynamic_;
  std::set<const SharedArray*>
      used_;  // arrays that kernels have accessed: a file may have other thread-local variables
};

}  // namespace cuemu::check
