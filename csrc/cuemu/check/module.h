// What the file says that this code was loaded from: where it lies in memory, which of its variables are
// `__shared__` (they are thread-local, see language.h), and which are global memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cuemu::check {

struct Segment {
  std::uintptr_t begin;
  std::uintptr_t end;
  bool writable;
};

struct SharedArray {
  std::uintptr_t offset;  // in the thread-local storage of the module
  std::uintptr_t bytes;
  std::string name;  // as the kernel calls it
  bool is_the_emulators;
};

struct Module {
  std::string file;
  std::uintptr_t base;  // what addresses in the file are shifted by
  std::vector<Segment> segments;
  std::uintptr_t thread_local_offset;  // of `threadIdx`: tells where an OS thread has its thread-local storage
  std::uintptr_t thread_local_bytes;
  std::vector<SharedArray> shared_arrays;  // in the order of their offsets; empty if the file has no symbols
};

// Read at the first call.
const Module& this_module();

}  // namespace cuemu::check
