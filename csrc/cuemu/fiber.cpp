#include "cuemu/fiber.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <new>

#ifndef CUEMU_USES_UCONTEXT
extern "C" void cuemu_switch_stack(void** save_stack_pointer, void* load_stack_pointer);

// What remains on the old stack: the six callee-saved registers under the return address of the caller.
asm(R"(
.text
.globl cuemu_switch_stack
.hidden cuemu_switch_stack
.type cuemu_switch_stack, @function
cuemu_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuemu_switch_stack, .-cuemu_switch_stack
)");
#endif

namespace cuemu {
namespace {
constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kPlaces = 15;
static_assert(kPlaces * kPageBytes + kStackBytes <= kStackSlotBytes, "a stack fits into its slot");
constexpr std::size_t kSavedRegisters = 6;
}  // namespace

void map_stacks(char* (&stacks)[kStacksAtOnce]) {
  void* memory = mmap(nullptr, (kStacksAtOnce + 1) * kStackSlotBytes, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  const std::size_t misalignment = reinterpret_cast<std::uintptr_t>(memory) % kStackSlotBytes;
  char* slot = static_cast<char*>(memory) + (misalignment ? kStackSlotBytes - misalignment : 0);
  // Not all at the same place in their slots, since those compete for the same places in the caches.
  static std::atomic<std::size_t> count{0};
  for (char*& stack : stacks) {
    stack = slot + (1 + count++ % kPlaces) * kPageBytes;
    if (mprotect(stack, kStackBytes, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    slot += kStackSlotBytes;
  }
}

#ifdef CUEMU_USES_UCONTEXT

void prepare_fiber(Fiber& fiber, char* stack, std::size_t stagger, void (*entry)()) {
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = stack;
  fiber.context.uc_stack.ss_size = kStackBytes - stagger;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry, 0);
}

void switch_fiber(Fiber& from, Fiber& to) { swapcontext(&from.context, &to.context); }

#else

void prepare_fiber(Fiber& fiber, char* stack, std::size_t stagger, void (*entry)()) {
  auto top = reinterpret_cast<std::uintptr_t>(stack + kStackBytes - stagger) & ~std::uintptr_t{63};
  void** frame = reinterpret_cast<void**>(top);
  // The ABI wants the stack pointer 8 below a multiple of 16 at a function's first instruction, hence the empty word
  // where a return address would be: `entry` never returns.
  *--frame = nullptr;
  *--frame = reinterpret_cast<void*>(entry);
  for (std::size_t i = 0; i < kSavedRegisters; ++i) *--frame = nullptr;
  fiber.stack_pointer = frame;
}

void switch_fiber(Fiber& from, Fiber& to) { cuemu_switch_stack(&from.stack_pointer, to.stack_pointer); }

#endif

}  // namespace cuemu
