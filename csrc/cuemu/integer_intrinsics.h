// Integer and bit functions (CUDA math API, "Integer Intrinsics"), and `min` and `max`.
#pragma once

#include <cstdint>

#include "cuemu/language.h"

inline int __popc(unsigned a) { return __builtin_popcount(a); }
inline int __popcll(unsigned long long a) { return __builtin_popcountll(a); }
inline int __ffs(int a) { return __builtin_ffs(a); }
inline int __ffsll(long long a) { return __builtin_ffsll(a); }
inline int __clz(int a) { return a ? __builtin_clz(static_cast<unsigned>(a)) : 32; }
inline int __clzll(long long a) { return a ? __builtin_clzll(static_cast<unsigned long long>(a)) : 64; }
inline unsigned long long __brevll(unsigned long long a) {
  unsigned long long reversed = 0;
  for (int bit = 0; bit < 64; ++bit) reversed |= ((a >> bit) & 1u) << (63 - bit);
  return reversed;
}
inline unsigned __brev(unsigned a) { return static_cast<unsigned>(__brevll(a) >> 32); }

inline int __mul24(int a, int b) {
  auto low = [](int value) { return static_cast<int>(static_cast<unsigned>(value) << 8) >> 8; };
  return static_cast<int>(static_cast<unsigned>(std::int64_t{low(a)} * low(b)));
}
inline unsigned __umul24(unsigned a, unsigned b) { return (a & 0xffffffu) * (b & 0xffffffu); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((std::uint64_t{a} * b) >> 32); }
inline int __mulhi(int a, int b) { return static_cast<int>((std::int64_t{a} * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}
inline long long __mul64hi(long long a, long long b) {
  return static_cast<long long>((static_cast<__int128>(a) * b) >> 64);
}

// Averages without overflow, rounded down and up.
inline int __hadd(int a, int b) { return static_cast<int>((std::int64_t{a} + b) >> 1); }
inline int __rhadd(int a, int b) { return static_cast<int>((std::int64_t{a} + b + 1) >> 1); }
inline unsigned __uhadd(unsigned a, unsigned b) { return static_cast<unsigned>((std::uint64_t{a} + b) >> 1); }
inline unsigned __urhadd(unsigned a, unsigned b) { return static_cast<unsigned>((std::uint64_t{a} + b + 1) >> 1); }
// |a - b| + c
inline unsigned __usad(unsigned a, unsigned b, unsigned c) { return (a < b ? b - a : a - b) + c; }
inline unsigned __sad(int a, int b, unsigned c) {
  return (a < b ? static_cast<unsigned>(b) - static_cast<unsigned>(a)
                : static_cast<unsigned>(a) - static_cast<unsigned>(b)) +
         c;
}

// Each nibble of `selector` picks one of the eight bytes of b:a, or with its top bit that byte's sign.
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const std::uint64_t bytes = std::uint64_t{b} << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned choice = selector >> (4 * i);
    unsigned byte = static_cast<unsigned>(bytes >> (8 * (choice & 7))) & 0xffu;
    if (choice & 8) byte = byte & 0x80 ? 0xffu : 0;
    result |= byte << (8 * i);
  }
  return result;
}

// 32 bits out of high:low, shifted by up to 31, or with the suffix c by up to 32.
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>(((std::uint64_t{high} << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_lc(unsigned low, unsigned high, unsigned shift) {
  return shift < 32 ? __funnelshift_l(low, high, shift) : low;
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((std::uint64_t{high} << 32 | low) >> (shift & 31));
}
inline unsigned __funnelshift_rc(unsigned low, unsigned high, unsigned shift) {
  return shift < 32 ? __funnelshift_r(low, high, shift) : high;
}

namespace cuemu {

// Part `index` of a register of small integers.
template <class Small>
int part(std::uint32_t packed, int index) {
  return static_cast<Small>(packed >> (8 * static_cast<int>(sizeof(Small)) * index));
}

template <class A, class B>
std::uint32_t dot4(std::uint32_t a, std::uint32_t b, std::uint32_t sum) {
  for (int i = 0; i < 4; ++i) sum += static_cast<std::uint32_t>(part<A>(a, i) * part<B>(b, i));
  return sum;
}

// `first` chooses the low or the high two bytes of b.
template <class A, class B>
std::uint32_t dot2(std::uint32_t a, std::uint32_t b, std::uint32_t sum, int first) {
  for (int i = 0; i < 2; ++i) sum += static_cast<std::uint32_t>(part<A>(a, i) * part<B>(b, first + i));
  return sum;
}

}  // namespace cuemu

inline int __dp4a(int a, int b, int sum) {
  return static_cast<int>(cuemu::dot4<std::int8_t, std::int8_t>(static_cast<unsigned>(a), static_cast<unsigned>(b),
                                                                static_cast<unsigned>(sum)));
}
inline unsigned __dp4a(unsigned a, unsigned b, unsigned sum) {
  return cuemu::dot4<std::uint8_t, std::uint8_t>(a, b, sum);
}
inline int __dp4a(char4 a, char4 b, int sum) { return sum + a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w; }
inline unsigned __dp4a(uchar4 a, uchar4 b, unsigned sum) {
  return sum + static_cast<unsigned>(a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w);
}
inline int __dp2a_lo(int a, int b, int sum) {
  return static_cast<int>(cuemu::dot2<std::int16_t, std::int8_t>(static_cast<unsigned>(a), static_cast<unsigned>(b),
                                                                 static_cast<unsigned>(sum), 0));
}
inline int __dp2a_hi(int a, int b, int sum) {
  return static_cast<int>(cuemu::dot2<std::int16_t, std::int8_t>(static_cast<unsigned>(a), static_cast<unsigned>(b),
                                                                 static_cast<unsigned>(sum), 2));
}

#define CUEMU_MIN_MAX(type)                                 \
  inline type min(type a, type b) { return b < a ? b : a; } \
  inline type max(type a, type b) { return a < b ? b : a; }
CUEMU_MIN_MAX(int)
CUEMU_MIN_MAX(unsigned)
CUEMU_MIN_MAX(long)
CUEMU_MIN_MAX(unsigned long)
CUEMU_MIN_MAX(long long)
CUEMU_MIN_MAX(unsigned long long)
#undef CUEMU_MIN_MAX
// Mixed signs become unsigned, as everywhere in C++ and in CUDA.
inline unsigned min(int a, unsigned b) { return min(static_cast<unsigned>(a), b); }
inline unsigned min(unsigned a, int b) { return min(a, static_cast<unsigned>(b)); }
inline unsigned max(int a, unsigned b) { return max(static_cast<unsigned>(a), b); }
inline unsigned max(unsigned a, int b) { return max(a, static_cast<unsigned>(b)); }
