// Matrix products of a warpgroup, 128 threads, on operands in shared memory (PTX ISA, "wgmma.mma_async"; sm_90a). PTX
// under nvcc, the emulator's functions under g++.
//
//     float sums[64] = {};                                    // [64, 128]: 64 per thread
//     wgmma_fence();
//     for (int k = 0; k < 64; k += 16)                        // tiles of 64 elements of k, swizzled by 128 bytes
//       wgmma<128>(sums, wgmma_descriptor(&a[k], 16, 1024, WgmmaSwizzle::bytes_128),
//                  wgmma_descriptor(&b[k], 16, 1024, WgmmaSwizzle::bytes_128), true, __nv_bfloat16());
//     wgmma_commit();
//     wgmma_wait<0>(sums);
//
// Thread t has of the sums the elements of rows 16 * (t / 32) + t % 32 / 4 + {0, 8} and columns 8 * j + 2 * (t % 4) +
// {0, 1}: sums[4 * j + 2 * r + c] is row r, column c of block j.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/mbarrier.cuh"
#include "common/site.cuh"

#ifndef NNZOO_CUEMU
#include "common/wgmma_ptx.cuh"
#endif

namespace nnzoo {

#ifdef NNZOO_CUEMU
using WgmmaSwizzle = cuemu::WgmmaSwizzle;
#else
// The numbers are those of the descriptor.
enum class WgmmaSwizzle : unsigned { none = 0, bytes_128 = 1, bytes_64 = 2, bytes_32 = 3 };
#endif

// Where an operand lies, in pieces of 16 bytes. A swizzled tile is what a tensor map with the same swizzle loads
// (tensor_map.cuh): rows of 32, 64 or 128 bytes, the operand's start within the first of them, and the tile aligned to
// 8 rows. The two distances, multiples of 16 bytes, are
//     k first, swizzled:         leading: unused;                              stride: from 8 rows to the next 8
//     k first, not swizzled:     leading: from 8 elements of k to the next 8;  stride: from 8 rows to the next 8
//     transposed, swizzled:      leading: from one row length of m or n to the next;  stride: from 8 of k to the next 8
//     transposed, not swizzled:  leading: from 8 of k to the next 8;           stride: from 8 of m or n to the next 8
__device__ __forceinline__ std::uint64_t wgmma_descriptor(const void* shared, unsigned leading_bytes,
                                                          unsigned stride_bytes, WgmmaSwizzle swizzle NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  return cuemu::wgmma_descriptor(shared, leading_bytes, stride_bytes, swizzle, site);
#else
  return static_cast<std::uint64_t>((shared_address(shared) & 0x3ffff) >> 4) |
         static_cast<std::uint64_t>(leading_bytes >> 4) << 16 | static_cast<std::uint64_t>(stride_bytes >> 4) << 32 |
         static_cast<std::uint64_t>(swizzle) << 62;
#endif
}

// d = a * b, or d += a * b with `accumulates`. a: [64, 16], b: [16, columns], both T (__nv_bfloat16 or __half). They
// have k first, unless transposed: then m or n. Started here, done after `wgmma_commit` and `wgmma_wait`; until then
// neither d nor the operands may be touched.
template <int columns, bool a_is_transposed = false, bool b_is_transposed = false, class T>
__device__ __forceinline__ void wgmma(float (&d)[columns / 2], std::uint64_t a, std::uint64_t b, bool accumulates,
                                      T NNZOO_SITE) {
  constexpr bool is_half = std::is_same_v<T, __half>;
#ifdef NNZOO_CUEMU
  cuemu::wgmma({d, columns, accumulates, is_half ? cuemu::WgmmaType::f16 : cuemu::WgmmaType::bf16, nullptr, a, b,
                a_is_transposed, b_is_transposed},
               site);
#else
  WgmmaPtx<columns>::template run<is_half, a_is_transposed, b_is_transposed>(d, a, b, accumulates);
#endif
}

// The same with a in registers: each warp's 16 rows, as of mma_m16n8k16.
template <int columns, bool b_is_transposed = false, class T>
__device__ __forceinline__ void wgmma(float (&d)[columns / 2], const std::uint32_t (&a)[4], std::uint64_t b,
                                      bool accumulates, T NNZOO_SITE) {
  constexpr bool is_half = std::is_same_v<T, __half>;
#ifdef NNZOO_CUEMU
  cuemu::wgmma({d, columns, accumulates, is_half ? cuemu::WgmmaType::f16 : cuemu::WgmmaType::bf16, a, 0, b, false,
                b_is_transposed},
               site);
#else
  WgmmaPtx<columns>::template run<is_half, b_is_transposed>(d, a, b, accumulates);
#endif
}

// Before the first product, and after the program has written accumulators or registers of a.
__device__ __forceinline__ void wgmma_fence(NNZOO_SITE_ONLY) {
#ifdef NNZOO_CUEMU
  cuemu::wgmma_fence(site);
#else
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

// Closes the group of all products started since the last commit.
__device__ __forceinline__ void wgmma_commit(NNZOO_SITE_ONLY) {
#ifdef NNZOO_CUEMU
  cuemu::wgmma_commit(site);
#else
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

// Waits until at most the `left` youngest groups are still under way.
template <int left>
__device__ __forceinline__ void wgmma_wait(NNZOO_SITE_ONLY) {
#ifdef NNZOO_CUEMU
  cuemu::wgmma_wait(left, site);
#else
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(left) : "memory");
#endif
}

// The same, and keeps the compiler from reading the accumulators before it.
template <int left, int count>
__device__ __forceinline__ void wgmma_wait(float (&d)[count] NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  static_cast<void>(d);
  cuemu::wgmma_wait(left, site);
#else
  wgmma_wait<left>();
#pragma unroll
  for (int i = 0; i < count; ++i) asm volatile("" : "+f"(d[i])::"memory");
#endif
}

// A barrier of some warps of the block, `threads` in all; 1 <= id < 16 (0 is __syncthreads). PTX ISA, "bar.sync".
__device__ __forceinline__ void named_barrier_sync(unsigned id, unsigned threads NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::named_barrier(id, threads, true, site);
#else
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}

// Counts as having come, and goes on.
__device__ __forceinline__ void named_barrier_arrive(unsigned id, unsigned threads NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::named_barrier(id, threads, false, site);
#else
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}

// Hands registers from the warps that only copy to those that compute. All warps of a warpgroup.
template <int registers>
__device__ __forceinline__ void give_registers() {
#ifndef NNZOO_CUEMU
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}
template <int registers>
__device__ __forceinline__ void take_registers() {
#ifndef NNZOO_CUEMU
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}

}  // namespace nnzoo
