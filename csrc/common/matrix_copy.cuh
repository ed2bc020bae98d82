// 8x8 matrices of 16-bit elements between shared memory and the registers of a warp: `ldmatrix`, and from sm_90 on
// `stmatrix`. Inline PTX under nvcc, the emulator's functions under g++.
#pragma once

#include <cstdint>

#include "common/site.cuh"

namespace nnzoo {

// Loads one, two or four matrices: lane i gives the 16-byte aligned address of row i % 8 of matrix i / 8 (the addresses
// of the other lanes are not used), and receives elements {2 * (lane % 4), +1} of row lane / 4 of each matrix.
__device__ __forceinline__ void ldmatrix_x1(std::uint32_t (&registers)[1], const void* row NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::ldmatrix(registers, 1, false, row, site);
#else
  std::uint32_t address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(registers[0]) : "r"(address) : "memory");
#endif
}

__device__ __forceinline__ void ldmatrix_x2(std::uint32_t (&registers)[2], const void* row NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::ldmatrix(registers, 2, false, row, site);
#else
  std::uint32_t address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(registers[0]), "=r"(registers[1])
               : "r"(address)
               : "memory");
#endif
}

__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&registers)[4], const void* row NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::ldmatrix(registers, 4, false, row, site);
#else
  std::uint32_t address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(address)
               : "memory");
#endif
}

// The same, but each 8x8 matrix arrives transposed: a lane receives elements {2 * (lane % 4), +1} of column lane / 4.
__device__ __forceinline__ void ldmatrix_x1_transposed(std::uint32_t (&registers)[1], const void* row NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::ldmatrix(registers, 1, true, row, site);
#else
  std::uint32_t address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
               : "=r"(registers[0])
               : "r"(address)
               : "memory");
#endif
}

__device__ __forceinline__ void ldmatrix_x2_transposed(std::uint32_t (&registers)[2], const void* row NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::ldmatrix(registers, 2, true, row, site);
#else
  std::uint32_t address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(registers[0]), "=r"(registers[1])
               : "r"(address)
               : "memory");
#endif
}

__device__ __forceinline__ void ldmatrix_x4_transposed(std::uint32_t (&registers)[4], const void* row NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::ldmatrix(registers, 4, true, row, site);
#else
  std::uint32_t address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(address)
               : "memory");
#endif
}

// The way back, with the same addresses and registers. sm_90.
__device__ __forceinline__ void stmatrix_x1(const std::uint32_t (&registers)[1], void* row NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::stmatrix(registers, 1, false, row, site);
#else
  std::uint32_t address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};" ::"r"(address), "r"(registers[0]) : "memory");
#endif
}

__device__ __forceinline__ void stmatrix_x2(const std::uint32_t (&registers)[2], void* row NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::stmatrix(registers, 2, false, row, site);
#else
  std::uint32_t address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1,%2};" ::"r"(address), "r"(registers[0]),
               "r"(registers[1])
               : "memory");
#endif
}

__device__ __forceinline__ void stmatrix_x4(const std::uint32_t (&registers)[4], void* row NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::stmatrix(registers, 4, false, row, site);
#else
  std::uint32_t address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address), "r"(registers[0]),
               "r"(registers[1]), "r"(registers[2]), "r"(registers[3])
               : "memory");
#endif
}

__device__ __forceinline__ void stmatrix_x2_transposed(const std::uint32_t (&registers)[2], void* row NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::stmatrix(registers, 2, true, row, site);
#else
  std::uint32_t address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1,%2};" ::"r"(address), "r"(registers[0]),
               "r"(registers[1])
               : "memory");
#endif
}

__device__ __forceinline__ void stmatrix_x4_transposed(const std::uint32_t (&registers)[4], void* row NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::stmatrix(registers, 4, true, row, site);
#else
  std::uint32_t address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address), "r"(registers[0]),
               "r"(registers[1]), "r"(registers[2]), "r"(registers[3])
               : "memory");
#endif
}

}  // namespace nnzoo
