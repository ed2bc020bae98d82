// Tensor-core products of 8-bit integers, summed in 32 bits that wrap around. Inline PTX under nvcc, the emulator's
// functions under g++.
//
// A register holds four neighbours along k. With row = lane / 4 and column = lane % 4 (PTX ISA, "Matrix Fragments for
// mma.m16n8k16 with integer type" and "Matrix Fragments for mma.m16n8k32"):
//     a: register i: row `row`, or row + 8 if i is odd; k = 4 * column + {0, 1, 2, 3} + 16 * (i / 2)
//     b: register i: column `row`; k = 4 * column + {0, 1, 2, 3} + 16 * i
//     c, d: rows {row, row + 8}, columns {2 * column, +1}
#pragma once

#include <cstdint>

#include "common/site.cuh"

namespace nnzoo {

// d = a * b + c. a: [16, k] row-major, b: [k, 8] column-major, c, d: [16, 8]. d may be c.
__device__ __forceinline__ void mma_m16n8k32_s8s8(std::int32_t (&d)[4], const std::uint32_t (&a)[4],
                                                  const std::uint32_t (&b)[2], const std::int32_t (&c)[4] NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::mma_m16n8k32(d, a, b, c, true, true, site);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
#endif
}

__device__ __forceinline__ void mma_m16n8k32_u8s8(std::int32_t (&d)[4], const std::uint32_t (&a)[4],
                                                  const std::uint32_t (&b)[2], const std::int32_t (&c)[4] NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::mma_m16n8k32(d, a, b, c, false, true, site);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
#endif
}

__device__ __forceinline__ void mma_m16n8k32_u8u8(std::int32_t (&d)[4], const std::uint32_t (&a)[4],
                                                  const std::uint32_t (&b)[2], const std::int32_t (&c)[4] NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::mma_m16n8k32(d, a, b, c, false, false, site);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
#endif
}

__device__ __forceinline__ void mma_m16n8k16_s8s8(std::int32_t (&d)[4], const std::uint32_t (&a)[2],
                                                  const std::uint32_t (&b)[1], const std::int32_t (&c)[4] NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::mma_m16n8k16(d, a, b, c, true, true, site);
#else
  asm volatile("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%8,%9,%10};"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(b[0]), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]));
#endif
}

}  // namespace nnzoo
