// Tensor-core instructions of one warp: `mma.sync`, `ldmatrix` and `stmatrix`, on the register layouts of the PTX
// manual
// ("Matrix fragments"). csrc/common/mma.cuh gives them the same names under nvcc.
//
// In every layout here a lane has two numbers, row = lane / 4 and column = lane % 4, and owns a few elements around
// them.
#pragma once

#include <cstdint>

#include "cuemu/runtime.h"

namespace cuemu {

// d = a * b + c with a [16, k] row-major, b [k, 8] column-major, c and d [16, 8] float32.
void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], const float (&c)[4],
                       Site site);
void mma_m16n8k16_f16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], const float (&c)[4],
                      Site site);
// The same with c and d as pairs of halves: rows row and row + 8, columns {2 * column, +1}.
void mma_m16n8k16_f16(std::uint32_t (&d)[2], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                      const std::uint32_t (&c)[2], Site site);
// Operands are float32 bit patterns of which the last 13 bits are ignored.
void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], const float (&c)[4],
                      Site site);

// Eight-bit integers, four to a register; sums in 32 bits, wrapping around. k is 32 (four registers of a, two of b) or
// 16 (two and one).
void mma_m16n8k32(std::int32_t (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                  const std::int32_t (&c)[4], bool a_is_signed, bool b_is_signed, Site site);
void mma_m16n8k16(std::int32_t (&d)[4], const std::uint32_t (&a)[2], const std::uint32_t (&b)[1],
                  const std::int32_t (&c)[4], bool a_is_signed, bool b_is_signed, Site site);

// Loads `count` (1, 2 or 4) 8x8 matrices of 16-bit elements: lanes 8*i .. 8*i+7 give the addresses of the rows of
// matrix i; each lane receives two neighbouring elements of each matrix. `transposed` hands out columns instead of
// rows.
void ldmatrix(std::uint32_t* registers, int count, bool transposed, const void* row, Site site);
// The way back: registers to rows in shared memory.
void stmatrix(const std::uint32_t* registers, int count, bool transposed, void* row, Site site);

}  // namespace cuemu
