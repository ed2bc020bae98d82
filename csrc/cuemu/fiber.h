// A fiber: a stack of its own and a place to go on. The only part of the emulator that knows the processor.
//
// On x86-64 a switch saves the six registers that a called function must keep and changes the stack pointer; elsewhere
// `ucontext` does it, 5 to 8 times slower because it also saves the signal mask by a system call.
#pragma once

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__) || defined(CUEMU_UCONTEXT)
#define CUEMU_USES_UCONTEXT 1
#include <ucontext.h>
#endif

namespace cuemu {

struct Fiber {
#ifdef CUEMU_USES_UCONTEXT
  ucontext_t context;
#else
  void* stack_pointer = nullptr;
#endif
};

// Stacks, each with an unmapped page below it, so that a kernel with too many local variables faults instead of writing
// elsewhere. Each is alone in its slot of the address space, which begins at a multiple of its size: two addresses are
// on the same stack if they differ in their last bits only.
constexpr std::size_t kStackBytes = 64 << 10;
constexpr std::size_t kStackSlotBytes = 128 << 10;
constexpr std::size_t kStacksAtOnce = 8;  // near each other
void map_stacks(char* (&stacks)[kStacksAtOnce]);
inline bool same_stack(const volatile void* one, const volatile void* other) {
  return (reinterpret_cast<std::uintptr_t>(one) ^ reinterpret_cast<std::uintptr_t>(other)) < kStackSlotBytes;
}

// Makes `fiber` start `entry` on `stack` at its first switch. `stagger` shifts the first frame: stacks whose hot frames
// lie at the same offset would all compete for the same few cache lines.
void prepare_fiber(Fiber& fiber, char* stack, std::size_t stagger, void (*entry)());

// Leaves `from` here and goes on with `to`; returns when someone switches back to `from`.
void switch_fiber(Fiber& from, Fiber& to);

}  // namespace cuemu
