// `wgmma`: matrix products of a warpgroup, four warps, whose operands lie in shared memory (PTX ISA, "Asynchronous
// Warpgroup Level Matrix Multiply-Accumulate Instructions").
//
// They are done by the wait that covers them: accumulators that are read before it are stale, and an operand that is
// overwritten before it gives a wrong product.
#pragma once

#include <cstdint>

#include "cuemu/runtime.h"

namespace cuemu {

enum class WgmmaType { bf16, f16 };

// How 16-byte pieces of an operand lie in shared memory; the numbers are those of the descriptor.
enum class WgmmaSwizzle : unsigned { none = 0, bytes_128 = 1, bytes_64 = 2, bytes_32 = 3 };

// Where an operand lies ("Shared Memory Matrix Layout"). Pieces of 8 elements are neighbours along k, or along m or n
// if the operand is transposed. `leading_bytes` and `stride_bytes` are the distances between groups of pieces:
//     k first, no swizzle:           leading: pieces along k;            stride: groups of 8 rows
//     k first, swizzle:              (pieces along k are neighbours);    stride: groups of 8 rows
//     transposed, no swizzle:        leading: groups of 8 along k;       stride: pieces along m or n
//     transposed, swizzle:           leading: swizzle spans along m, n;  stride: groups of 8 along k
// The memory must be dynamic.
std::uint64_t wgmma_descriptor(const void* shared, unsigned leading_bytes, unsigned stride_bytes, WgmmaSwizzle swizzle,
                               Site site);

// d (+)= a * b with a [64, 16] and b [16, n], n a multiple of 8 up to 256. Thread t of the warpgroup has of d the
// elements of rows 16 * (t / 32) + t % 32 / 4 + {0, 8} and columns 8 * j + 2 * (t % 4) + {0, 1}.
struct WgmmaOperands {
  float* d;
  int n;
  bool accumulates;
  WgmmaType type;
  const std::uint32_t* a_registers;  // four, as of mma.m16n8k16; nullptr: a is in shared memory
  std::uint64_t a;
  std::uint64_t b;
  bool a_is_transposed;
  bool b_is_transposed;
};
void wgmma(const WgmmaOperands& operands, Site site);

// Before the first wgmma, and after the program has written accumulators or registers of a.
void wgmma_fence(Site site);
void wgmma_commit(Site site);
// Waits until at most the `groups_left` youngest groups are still under way.
void wgmma_wait(unsigned groups_left, Site site);

}  // namespace cuemu
