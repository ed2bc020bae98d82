// Atomics (CUDA programming guide, "Atomic Functions"). Blocks run on several OS threads, so these are real ones; as on
// the GPU they are relaxed: they order nothing else.
//
// A thread that waits for another one by an atomic, in a spin lock say, does one after the other that changes nothing.
// Those are where it lets others run.
#pragma once

#include <cstring>

#include "cuemu/reduced_precision.h"
#include "cuemu/runtime.h"

namespace cuemu {

// Integers of the size of T, on which compare-and-swap works bit by bit (a float -0 is not a float 0).
template <int bytes>
struct Bits;
template <>
struct Bits<2> {
  using Type = unsigned short;
};
template <>
struct Bits<4> {
  using Type = unsigned;
};
template <>
struct Bits<8> {
  using Type = unsigned long long;
};

template <class To, class From>
To bit_copy(From from) {
  static_assert(sizeof(To) == sizeof(From), "a bit copy keeps the size");
  To to;
  std::memcpy(static_cast<void*>(&to), static_cast<const void*>(&from), sizeof to);
  return to;
}

template <class T, class Update>
CUEMU_UNCHECKED T atomic_update(T* address, Site site, Update update, Atomic kind = Atomic::update) {
  CUEMU_TELL_ATOMIC(address, kind);
  using Word = typename Bits<sizeof(T)>::Type;
  if (reinterpret_cast<std::size_t>(address) % sizeof(T))
    fail("an atomic on an address that is not aligned", site, Fault::misaligned);
  Word* word = reinterpret_cast<Word*>(address);
  Word old = __atomic_load_n(word, __ATOMIC_RELAXED);
  Word updated;
  do {
    updated = bit_copy<Word>(static_cast<T>(update(bit_copy<T>(old))));
  } while (!__atomic_compare_exchange_n(word, &old, updated, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  if (updated == old) may_spin(site);
  return bit_copy<T>(old);
}

}  // namespace cuemu

// Each in three scopes: the device, the block, and the system. Scopes only weaken what an atomic promises, so the
// emulator treats them alike.
#define CUEMU_ATOMIC_SCOPED(name, type, expression)                                              \
  __forceinline__ type name(type* address, type value, cuemu::Site site = cuemu::Site::here()) { \
    return cuemu::atomic_update(address, site, [value](type old) { return expression; });        \
  }
#define CUEMU_ATOMIC(name, type, expression)          \
  CUEMU_ATOMIC_SCOPED(name, type, expression)         \
  CUEMU_ATOMIC_SCOPED(name##_block, type, expression) \
  CUEMU_ATOMIC_SCOPED(name##_system, type, expression)
#define CUEMU_ATOMIC_CAS_SCOPED(name, type)                                                                      \
  __forceinline__ type name(type* address, type compare, type value, cuemu::Site site = cuemu::Site::here()) {   \
    return cuemu::atomic_update(                                                                                 \
        address, site, [=](type old) { return old == compare ? value : old; }, cuemu::Atomic::compare_and_swap); \
  }
#define CUEMU_ATOMIC_CAS(type)                   \
  CUEMU_ATOMIC_CAS_SCOPED(atomicCAS, type)       \
  CUEMU_ATOMIC_CAS_SCOPED(atomicCAS_block, type) \
  CUEMU_ATOMIC_CAS_SCOPED(atomicCAS_system, type)
#define CUEMU_ATOMICS_OF_INTEGER(type)                     \
  CUEMU_ATOMIC(atomicMin, type, value < old ? value : old) \
  CUEMU_ATOMIC(atomicMax, type, old < value ? value : old) \
  CUEMU_ATOMIC(atomicAnd, type, old& value)                \
  CUEMU_ATOMIC(atomicOr, type, old | value)                \
  CUEMU_ATOMIC(atomicXor, type, old ^ value)
#define CUEMU_ATOMIC_ADD(type) CUEMU_ATOMIC(atomicAdd, type, old + value)
#define CUEMU_ATOMIC_EXCHANGE_SCOPED(name, type)                                                          \
  __forceinline__ type name(type* address, type value, cuemu::Site site = cuemu::Site::here()) {          \
    return cuemu::atomic_update(address, site, [value](type) { return value; }, cuemu::Atomic::exchange); \
  }
#define CUEMU_ATOMIC_EXCHANGE(type)                    \
  CUEMU_ATOMIC_EXCHANGE_SCOPED(atomicExch, type)       \
  CUEMU_ATOMIC_EXCHANGE_SCOPED(atomicExch_block, type) \
  CUEMU_ATOMIC_EXCHANGE_SCOPED(atomicExch_system, type)

CUEMU_ATOMICS_OF_INTEGER(int)
CUEMU_ATOMICS_OF_INTEGER(unsigned)
CUEMU_ATOMICS_OF_INTEGER(unsigned long long)
CUEMU_ATOMICS_OF_INTEGER(long long)

CUEMU_ATOMIC_EXCHANGE(int)
CUEMU_ATOMIC_EXCHANGE(unsigned)
CUEMU_ATOMIC_EXCHANGE(unsigned long long)
CUEMU_ATOMIC_EXCHANGE(float)

CUEMU_ATOMIC_CAS(int)
CUEMU_ATOMIC_CAS(unsigned)
CUEMU_ATOMIC_CAS(unsigned long long)
CUEMU_ATOMIC_CAS(unsigned short)

CUEMU_ATOMIC_ADD(int)
CUEMU_ATOMIC_ADD(unsigned)
CUEMU_ATOMIC_ADD(unsigned long long)
CUEMU_ATOMIC_ADD(float)
CUEMU_ATOMIC_ADD(double)
CUEMU_ATOMIC_ADD(__half)
CUEMU_ATOMIC_ADD(__nv_bfloat16)
// Each half on its own, as hardware does it; the pair as a whole is not atomic, but nobody can see that it is.
CUEMU_ATOMIC_ADD(__half2)
CUEMU_ATOMIC_ADD(__nv_bfloat162)

CUEMU_ATOMIC(atomicSub, int, old - value)
CUEMU_ATOMIC(atomicSub, unsigned, old - value)
CUEMU_ATOMIC(atomicInc, unsigned, old >= value ? 0u : old + 1u)
CUEMU_ATOMIC(atomicDec, unsigned, old == 0 || old > value ? value : old - 1u)

#undef CUEMU_ATOMIC_EXCHANGE
#undef CUEMU_ATOMIC_EXCHANGE_SCOPED
#undef CUEMU_ATOMIC_ADD
#undef CUEMU_ATOMICS_OF_INTEGER
#undef CUEMU_ATOMIC_CAS
#undef CUEMU_ATOMIC_CAS_SCOPED
#undef CUEMU_ATOMIC
#undef CUEMU_ATOMIC_SCOPED
