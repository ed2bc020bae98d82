// Temporary memory for kernels: a thread-local stack that grows and is kept for the next call.
//
//     Scratch scratch;                          // remembers the stack's height
//     float* panel = scratch.take<float>(n);    // 64-byte aligned, uninitialised
//                                               // ~Scratch gives everything back to the stack
//
// Frames nest, also across functions. A frame belongs to the thread that made it, but its memory may be shared with the
// team of a parallel region that the owner opens. Up to 64 MiB stay with their thread until it ends; more is freed with
// the last frame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "common/dtype.h"

namespace nnzoo {
namespace NNZOO_ISA {

class ScratchStack {
 public:
  static constexpr std::size_t alignment = 64;
  static constexpr std::size_t most_kept = std::size_t(64) << 20;

  ScratchStack() = default;
  ScratchStack(const ScratchStack&) = delete;
  ScratchStack& operator=(const ScratchStack&) = delete;
  ~ScratchStack() { release(); }

  std::size_t used() const { return used_; }

  void* take(std::size_t bytes) {
    bytes = (bytes + alignment - 1) / alignment * alignment;
    if (!top_ || top_->size - (used_ - top_->start) < bytes) grow(bytes);
    void* memory = reinterpret_cast<char*>(top_) + header + (used_ - top_->start);
    used_ += bytes;
    return memory;
  }

  void rewind(std::size_t used) {
    used_ = used;
    if (used == 0 && top_) {
      // One block that holds all of what was needed replaces the chain, once nobody uses it.
      const std::size_t total = top_->start + top_->size;
      if (total > most_kept) {
        release();
      } else if (top_->below) {
        release();
        grow(total);
      }
    }
    while (top_ && top_->below && top_->start >= used) pop();
  }

 private:
  struct Block {
    Block* below;
    std::size_t start, size;  // where the block begins on the stack, and its capacity
  };
  static constexpr std::size_t header = alignment;
  static_assert(sizeof(Block) <= header, "the header precedes the memory");

  void grow(std::size_t bytes) {
    const std::size_t at_least = top_ ? top_->size : std::size_t(1) << 16;
    const std::size_t size = bytes > at_least ? bytes : at_least;
    void* memory = nullptr;
    if (posix_memalign(&memory, alignment, header + size) != 0) std::abort();
    Block* block = static_cast<Block*>(memory);
    *block = Block{top_, used_, size};
    top_ = block;
  }

  void pop() {
    Block* below = top_->below;
    std::free(top_);
    top_ = below;
  }

  void release() {
    while (top_) pop();
  }

  Block* top_ = nullptr;
  std::size_t used_ = 0;
};

inline ScratchStack& scratch_stack() {
  static thread_local ScratchStack stack;
  return stack;
}

class Scratch {
 public:
  Scratch() : stack_(scratch_stack()), mark_(stack_.used()) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { stack_.rewind(mark_); }

  template <class T>
  T* take(std::int64_t count) {
    return static_cast<T*>(stack_.take(static_cast<std::size_t>(count) * sizeof(T)));
  }

 private:
  ScratchStack& stack_;
  std::size_t mark_;
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
