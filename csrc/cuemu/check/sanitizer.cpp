// The functions that `g++ -fsanitize=thread -fsanitize=bounds` calls, as the compiler expects them. Each hands its
// access on with the address in the kernel that it returns to.
#include <cstdint>

#include "cuemu/check/session.h"

using cuemu::check::Kind;

namespace {

inline void tell(const void* address, std::size_t bytes, Kind kind, bool is_volatile, bool aligned, const void* pc) {
  // Most accesses are to the kernel's own variables, which are on the stack that this function runs on, too.
  if (cuemu::same_stack(address, __builtin_frame_address(0)) || !cuemu::check::session) return;
  cuemu::check::session->access({address, static_cast<unsigned>(bytes), kind, is_volatile, aligned}, pc);
}

inline void tell_atomic(const volatile void* address, std::size_t bytes, int order, const void* pc) {
  if (!cuemu::check::session) return;
  if (order != __ATOMIC_RELAXED) cuemu::check::session->fence();
  tell(const_cast<const void*>(address), bytes, Kind::atomic, false, true, pc);
}

}  // namespace

#define CALLER __builtin_return_address(0)

extern "C" {

#define PLAIN(bytes)                                                                                         \
  void __tsan_read##bytes(void* at) { tell(at, bytes, Kind::load, false, true, CALLER); }                    \
  void __tsan_write##bytes(void* at) { tell(at, bytes, Kind::store, false, true, CALLER); }                  \
  void __tsan_unaligned_read##bytes(void* at) { tell(at, bytes, Kind::load, false, false, CALLER); }         \
  void __tsan_unaligned_write##bytes(void* at) { tell(at, bytes, Kind::store, false, false, CALLER); }       \
  void __tsan_volatile_read##bytes(void* at) { tell(at, bytes, Kind::load, true, true, CALLER); }            \
  void __tsan_volatile_write##bytes(void* at) { tell(at, bytes, Kind::store, true, true, CALLER); }          \
  void __tsan_unaligned_volatile_read##bytes(void* at) { tell(at, bytes, Kind::load, true, false, CALLER); } \
  void __tsan_unaligned_volatile_write##bytes(void* at) { tell(at, bytes, Kind::store, true, false, CALLER); }
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)
#undef PLAIN

void __tsan_read_range(void* at, std::size_t bytes) { tell(at, bytes, Kind::load, false, false, CALLER); }
void __tsan_write_range(void* at, std::size_t bytes) { tell(at, bytes, Kind::store, false, false, CALLER); }

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

// Atomics of the language (`__atomic_fetch_add`, `std::atomic`), should a kernel use them. All orders but relaxed are a
// fence as well.
#define ATOMIC(bits, T)                                                                                     \
  T __tsan_atomic##bits##_load(const volatile T* at, int order) {                                           \
    tell_atomic(at, sizeof(T), order, CALLER);                                                              \
    return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                                           \
  }                                                                                                         \
  void __tsan_atomic##bits##_store(volatile T* at, T value, int order) {                                    \
    tell_atomic(at, sizeof(T), order, CALLER);                                                              \
    __atomic_store_n(at, value, __ATOMIC_SEQ_CST);                                                          \
  }                                                                                                         \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile T* at, T* expected, T value, int order, int) { \
    tell_atomic(at, sizeof(T), order, CALLER);                                                              \
    return __atomic_compare_exchange_n(at, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);     \
  }                                                                                                         \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile T* at, T* expected, T value, int order, int) {   \
    tell_atomic(at, sizeof(T), order, CALLER);                                                              \
    return __atomic_compare_exchange_n(at, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);     \
  }                                                                                                         \
  ATOMIC_UPDATE(bits, T, exchange, __atomic_exchange_n)                                                     \
  ATOMIC_UPDATE(bits, T, fetch_add, __atomic_fetch_add)                                                     \
  ATOMIC_UPDATE(bits, T, fetch_sub, __atomic_fetch_sub)                                                     \
  ATOMIC_UPDATE(bits, T, fetch_and, __atomic_fetch_and)                                                     \
  ATOMIC_UPDATE(bits, T, fetch_or, __atomic_fetch_or)                                                       \
  ATOMIC_UPDATE(bits, T, fetch_xor, __atomic_fetch_xor)
#define ATOMIC_UPDATE(bits, T, name, function)                         \
  T __tsan_atomic##bits##_##name(volatile T* at, T value, int order) { \
    tell_atomic(at, sizeof(T), order, CALLER);                         \
    return function(at, value, __ATOMIC_SEQ_CST);                      \
  }
ATOMIC(8, std::uint8_t)
ATOMIC(16, std::uint16_t)
ATOMIC(32, std::uint32_t)
ATOMIC(64, std::uint64_t)
#undef ATOMIC
#undef ATOMIC_UPDATE

void __tsan_atomic_thread_fence(int) {
  if (cuemu::check::session) cuemu::check::session->fence();
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
void __tsan_atomic_signal_fence(int) {}

// The compiler's description of an indexing (compiler-rt, ubsan_handlers.h and ubsan_value.h).
struct TypeDescriptor {
  std::uint16_t kind;
  std::uint16_t info;  // of an integer: bit 0, is it signed; the others, log2 of its bits
  char name[1];
};
struct OutOfBoundsData {
  const char* file;
  std::uint32_t line;
  std::uint32_t column;
  const TypeDescriptor* array_type;
  const TypeDescriptor* index_type;
};

void __ubsan_handle_out_of_bounds(OutOfBoundsData* data, std::uintptr_t index) {
  if (!cuemu::check::session) return;
  unsigned unused_bits = 64 - (1u << (data->index_type->info >> 1));
  auto bits = static_cast<std::int64_t>(index << unused_bits);
  bool is_signed = data->index_type->info & 1;
  long long value =
      is_signed ? bits >> unused_bits : static_cast<long long>(static_cast<std::uint64_t>(bits) >> unused_bits);
  cuemu::check::session->index_outside(data->array_type->name, value, CALLER);
}

}  // extern "C"
