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

// Buffers in global memory.
class GlobalMemory {
 public:
  ~GlobalMemory();
  void add(std::uintptr_t address, std::size_t bytes, bool initialised, const std::string& name);
  void remove(std::uintptr_t address);
  void* allocate(std::size_t bytes, bool initialised, const std::string& name);

  // The buffer in which the bytes lie, or nullptr.
  Region* find(std::uintptr_t address, std::size_t bytes);
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
  Region* latest_ = nullptr;
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
  // The memory in which the bytes lie, or nullptr.
  Region* find(std::uintptr_t address, std::size_t bytes);
  std::string describe(std::uintptr_t address) const;
  // Whether the address is in the OS thread's variables: those of the emulator, or between two shared arrays.
  bool is_in_statics(std::uintptr_t address) const { return statics_.holds(address, 1); }
  bool is_the_emulators(std::uintptr_t address) const;

 private:
  const SharedArray* array_before(std::uintptr_t address) const;

  Region statics_;
  Region dynamic_;
  std::set<const SharedArray*>
      used_;  // arrays that kernels have accessed: a file may have other thread-local variables
  std::uintptr_t latest_begin_ = 0;
  std::uintptr_t latest_end_ = 0;
};

}  // namespace cuemu::check
