// Tensor-core and asynchronous-copy instructions: inline PTX under nvcc, the emulator's functions under g++.
//
// A fragment is the part of a matrix that one lane holds. With row = lane / 4 and column = lane % 4 (PTX manual,
// "Matrix fragments for mma.m16n8k16"):
//     a: rows {row, row + 8}, elements {2 * column, +1} and the same + 8    4 registers: (row), (row + 8), (row, k +
//     8), ... b: elements k = {2 * column, +1} and the same + 8 of column `row`     2 registers c, d: rows {row, row +
//     8}, columns {2 * column, +1}                   4 floats
// and for tf32 (m16n8k8) a register holds one element: a: k = column and column + 4; b: likewise.
#pragma once

#include <cstdint>

#include "common/matrix_copy.cuh"
#include "common/site.cuh"

namespace nnzoo {

// d = a * b + c. a: [16, 16] row-major, b: [16, 8] column-major, c, d: [16, 8] float32. d may be c.
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                                             const float (&c)[4], __nv_bfloat16 NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::mma_m16n8k16_bf16(d, a, b, c, site);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
#endif
}

__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                                             const float (&c)[4], __half NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::mma_m16n8k16_f16(d, a, b, c, site);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
#endif
}

// The same with halves for c and d: registers {row, row + 8}, each columns {2 * column, +1}.
__device__ __forceinline__ void mma_m16n8k16(std::uint32_t (&d)[2], const std::uint32_t (&a)[4],
                                             const std::uint32_t (&b)[2], const std::uint32_t (&c)[2],
                                             __half NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::mma_m16n8k16_f16(d, a, b, c, site);
#else
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, {%8,%9};"
               : "=r"(d[0]), "=r"(d[1])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c[0]), "r"(c[1]));
#endif
}

// The same with a: [16, 8] and b: [8, 8] in tf32: float32 rounded to 10 bits of mantissa (see to_tf32).
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4],
                                                 const std::uint32_t (&b)[2], const float (&c)[4] NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::mma_m16n8k8_tf32(d, a, b, c, site);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
#endif
}

// Rounds to nearest, ties away from zero, as `cvt.rna.tf32.f32` does; `mma` alone would cut the low bits off.
__device__ __forceinline__ std::uint32_t to_tf32(float value) {
#ifdef NNZOO_CUEMU
  return (__float_as_uint(value) + 0x1000u) & 0xffffe000u;
#else
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
#endif
}

// Starts a copy of 4, 8 or 16 bytes from global to shared memory; bytes from `valid` on become zero. Both addresses are
// aligned to `bytes`. The copy is there after `cp_async_wait` and, for other threads, a barrier.
template <int bytes>
__device__ __forceinline__ void cp_async(void* shared, const void* global, int valid = bytes NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::cp_async<bytes>(shared, global, valid, site);
#else
  std::uint32_t address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  if constexpr (bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(valid) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(global), "n"(bytes), "r"(valid)
                 : "memory");
  }
#endif
}

// The same through the first-level cache also for 16 bytes: for what this multiprocessor reads again.
template <int bytes>
__device__ __forceinline__ void cp_async_cached(void* shared, const void* global, int valid = bytes NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::cp_async<bytes>(shared, global, valid, site);
#else
  std::uint32_t address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(global), "n"(bytes), "r"(valid)
               : "memory");
#endif
}

// Closes the group of all copies started since the last commit.
__device__ __forceinline__ void cp_async_commit() {
#ifdef NNZOO_CUEMU
  cuemu::commit_copies();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most the `left` youngest groups of this thread are still under way.
template <int left>
__device__ __forceinline__ void cp_async_wait() {
#ifdef NNZOO_CUEMU
  cuemu::wait_copies(left);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
#endif
}

}  // namespace nnzoo
