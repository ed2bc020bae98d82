// What this emulator keeps in a CUtensorMap.
#pragma once

#include <cstdint>

#include "cuemu/tensor_map.h"

namespace cuemu {

struct TensorMapContents {
  static constexpr unsigned kMaxRank = 5;

  char* address;
  std::uint8_t rank;  // 0: not a tensor map
  std::uint8_t element_bytes;
  std::uint8_t swizzle_span;
  std::uint64_t sizes[kMaxRank];
  std::uint64_t strides[kMaxRank - 1];  // of dimensions 1 and on, in bytes
  std::uint32_t box[kMaxRank];          // elements that are moved
  std::uint32_t element_strides[kMaxRank];
};
static_assert(sizeof(TensorMapContents) == sizeof(CUtensorMap), "a tensor map has 128 bytes");

}  // namespace cuemu
