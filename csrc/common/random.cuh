// The counter-based random words of nnzoo_fast/random.py on the device: Philox 2x32-10 (Salmon et al., SC 2011).
#pragma once

#include <cstdint>

#include "cuemu/cuda.h"

namespace nnzoo {

// Word `index` of the stream of `seed`, whose low 32 bits are the key.
__device__ inline std::uint32_t philox(std::int64_t seed, std::uint64_t index) {
  std::uint32_t key = static_cast<std::uint32_t>(seed);
  std::uint32_t low = static_cast<std::uint32_t>(index);
  std::uint32_t high = static_cast<std::uint32_t>(index >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const std::uint32_t product_high = __umulhi(low, 0xD256D193u);
    const std::uint32_t product_low = low * 0xD256D193u;
    low = product_high ^ key ^ high;
    high = product_low;
    key += 0x9E3779B9u;
  }
  return low;
}

// Dropout with a probability: which positions it keeps, and what it multiplies them by.
struct Dropout {
  std::uint64_t threshold;  // 0: keeps all
  double scale;

  Dropout() = default;
  explicit Dropout(double probability)
      : threshold(static_cast<std::uint64_t>(probability * 4294967296.0)),
        scale(probability < 1 ? 1 / (1 - probability) : 0) {}

  template <class A>
  __device__ A factor(std::int64_t seed, std::uint64_t index) const {
    return philox(seed, index) >= threshold ? A(scale) : A(0);
  }
};

}  // namespace nnzoo
