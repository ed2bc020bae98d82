// Counter-based random bits for dropout: Philox 2x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"
// (SC 2011). The word of element `index` is a pure function of (seed, index), so a mask needs no storage and is the
// same in forward, backward, every backend and any number of threads. nnzoo_fast/random.py is the same function in
// Python.
#pragma once

#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

// The word of each of `n` counters index, index + stride, ...: the loop over counters is what the compiler vectorises.
template <int n>
NNZOO_INLINE void philox_words(std::uint64_t index, std::uint32_t seed, std::uint32_t (&words)[n],
                               std::uint64_t stride = 1) {
  std::uint32_t low[n], high[n];
  for (int i = 0; i < n; ++i) {
    const std::uint64_t counter = index + static_cast<std::uint64_t>(i) * stride;
    low[i] = static_cast<std::uint32_t>(counter);
    high[i] = static_cast<std::uint32_t>(counter >> 32);
  }
  std::uint32_t key = seed;
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < n; ++i) {
      const std::uint64_t product = std::uint64_t(low[i]) * 0xd256d193u;
      low[i] = static_cast<std::uint32_t>(product >> 32) ^ key ^ high[i];
      high[i] = static_cast<std::uint32_t>(product);
    }
    key += 0x9e3779b9u;
  }
  for (int i = 0; i < n; ++i) words[i] = low[i];
}

NNZOO_INLINE std::uint32_t philox(std::uint64_t index, std::uint32_t seed) {
  std::uint32_t word[1];
  philox_words(index, seed, word);
  return word[0];
}

// Dropout with probability p keeps element i iff philox(i, seed) >= floor(p * 2^32), compared in 64 bits: p = 1 keeps
// none.
struct Dropout {
  std::uint64_t threshold;
  std::uint32_t seed;
  double scale;  // 1 / (1 - p); 0 if nothing is kept

  Dropout(double p, std::uint64_t seed_value)
      : threshold(static_cast<std::uint64_t>(p * 4294967296.0)),
        seed(static_cast<std::uint32_t>(seed_value)),
        scale(p < 1 ? 1 / (1 - p) : 0) {}

  NNZOO_INLINE bool keeps(std::uint64_t index) const { return philox(index, seed) >= threshold; }

  // What the elements index, index + stride, ... are multiplied with: scale or 0.
  template <class T>
  NNZOO_INLINE Vec<T> factors(std::uint64_t index, std::uint64_t stride = 1) const {
    constexpr int width = Vec<T>::width;
    std::uint32_t words[width];
    philox_words(index, seed, words, stride);
    alignas(64) T factor[width];
    const T kept = static_cast<T>(scale);
    for (int i = 0; i < width; ++i) factor[i] = words[i] >= threshold ? kept : T(0);
    return Vec<T>::load(factor);
  }
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
