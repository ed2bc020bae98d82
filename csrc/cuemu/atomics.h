// Atomics. Blocks run on several OS threads, so these are real ones; as on the GPU they are relaxed: they order nothing
// else.
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
CUEMU_UNCHECKED T atomic_update(T* address, Update update) {
  CUEMU_TELL_ATOMIC(address);
  using Word = typename Bits<sizeof(T)>::Type;
  Word* word = reinterpret_cast<Word*>(address);
  Word old = __atomic_load_n(word, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(word, &old, bit_copy<Word>(static_cast<T>(update(bit_copy<T>(old)))), true,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return bit_copy<T>(old);
}

}  // namespace cuemu

#define CUEMU_ATOMIC(name, type, expression)                                        \
  __forceinline__ type name(type* address, type value) {                            \
    return cuemu::atomic_update(address, [value](type old) { return expression; }); \
  }
#define CUEMU_ATOMICS_OF_NUMBER(type)        \
  CUEMU_ATOMIC(atomicAdd, type, old + value) \
  CUEMU_ATOMIC(atomicExch, type, (static_cast<void>(old), value))
#define CUEMU_ATOMICS_OF_INTEGER(type)                                                            \
  CUEMU_ATOMICS_OF_NUMBER(type)                                                                   \
  CUEMU_ATOMIC(atomicMin, type, value < old ? value : old)                                        \
  CUEMU_ATOMIC(atomicMax, type, old < value ? value : old)                                        \
  CUEMU_ATOMIC(atomicAnd, type, old& value)                                                       \
  CUEMU_ATOMIC(atomicOr, type, old | value)                                                       \
  CUEMU_ATOMIC(atomicXor, type, old ^ value)                                                      \
  __forceinline__ type atomicCAS(type* address, type compare, type value) {                       \
    return cuemu::atomic_update(address, [=](type old) { return old == compare ? value : old; }); \
  }

CUEMU_ATOMICS_OF_INTEGER(int)
CUEMU_ATOMICS_OF_INTEGER(unsigned)
CUEMU_ATOMICS_OF_INTEGER(unsigned long long)
CUEMU_ATOMIC(atomicMin, long long, value < old ? value : old)
CUEMU_ATOMIC(atomicMax, long long, old < value ? value : old)
CUEMU_ATOMICS_OF_NUMBER(float)
CUEMU_ATOMIC(atomicAdd, double, old + value)
CUEMU_ATOMIC(atomicAdd, __half, old + value)
CUEMU_ATOMIC(atomicAdd, __nv_bfloat16, old + value)
CUEMU_ATOMIC(atomicSub, int, old - value)
CUEMU_ATOMIC(atomicSub, unsigned, old - value)
CUEMU_ATOMIC(atomicInc, unsigned, old >= value ? 0u : old + 1u)
CUEMU_ATOMIC(atomicDec, unsigned, old == 0 || old > value ? value : old - 1u)
#undef CUEMU_ATOMICS_OF_INTEGER
#undef CUEMU_ATOMICS_OF_NUMBER
#undef CUEMU_ATOMIC

__forceinline__ unsigned short atomicCAS(unsigned short* address, unsigned short compare, unsigned short value) {
  return cuemu::atomic_update(address, [=](unsigned short old) { return old == compare ? value : old; });
}
