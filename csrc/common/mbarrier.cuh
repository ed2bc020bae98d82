// `mbarrier`: a barrier object in shared memory that counts arriving threads and arriving bytes (PTX ISA, "mbarrier").
// PTX under nvcc (sm_90), the emulator's functions under g++.
//
//     __shared__ std::uint64_t full;
//     if (threadIdx.x == 0) mbarrier_init(&full, 1);
//     mbarrier_fence_init();
//     __syncthreads();
//     if (threadIdx.x == 0) {
//       mbarrier_arrive_expect_bytes(&full, bytes);
//       bulk_copy_to_shared(tile, source, bytes, &full);  // bulk_copy.cuh
//     }
//     mbarrier_wait(&full, 0);  // parity of the phase: 0, 1, 0, 1, ...
#pragma once

#include <cstdint>

#include "common/site.cuh"

namespace nnzoo {

#ifndef NNZOO_CUEMU
__device__ __forceinline__ std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}
#endif

// A phase is over after `count` arrivals, and when the bytes that they have announced are there.
__device__ __forceinline__ void mbarrier_init(std::uint64_t* barrier, unsigned count NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::mbarrier_init(barrier, count, site);
#else
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
#endif
}

// After it the memory may be used for something else.
__device__ __forceinline__ void mbarrier_invalidate(std::uint64_t* barrier NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::mbarrier_invalidate(barrier, site);
#else
  asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
#endif
}

// By the thread that has initialised barriers, before the barrier of the block or cluster that lets others use them.
__device__ __forceinline__ void mbarrier_fence_init() {
#ifndef NNZOO_CUEMU
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

__device__ __forceinline__ void mbarrier_arrive(std::uint64_t* barrier NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::mbarrier_arrive(barrier, 1, site);
#else
  asm volatile("{ .reg .b64 state; mbarrier.arrive.shared::cta.b64 state, [%0]; }" ::"r"(shared_address(barrier))
               : "memory");
#endif
}

// Arrives, and announces bytes that copies will bring.
__device__ __forceinline__ void mbarrier_arrive_expect_bytes(std::uint64_t* barrier, unsigned bytes NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::mbarrier_expect_bytes(barrier, bytes, site);
  cuemu::mbarrier_arrive(barrier, 1, site);
#else
  asm volatile(
      "{ .reg .b64 state; mbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1; }" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
#endif
}

// Arrives at the same barrier of block `rank` of the cluster.
__device__ __forceinline__ void mbarrier_arrive_at_rank(std::uint64_t* barrier, unsigned rank NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::mbarrier_arrive(cuemu::map_shared_rank(barrier, rank, site), 1, site);
#else
  asm volatile(
      "{ .reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1;"
      " mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote]; }" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
#endif
}

// Whether the phase of that parity is over.
__device__ __forceinline__ bool mbarrier_test_wait(std::uint64_t* barrier, unsigned parity NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  return cuemu::mbarrier_test_wait(barrier, parity, site);
#else
  std::uint32_t is_over;
  asm volatile("{ .reg .pred p; mbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
               : "=r"(is_over)
               : "r"(shared_address(barrier)), "r"(parity)
               : "memory");
  return is_over != 0;
#endif
}

// Waits until the phase of that parity is over.
__device__ __forceinline__ void mbarrier_wait(std::uint64_t* barrier, unsigned parity NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::mbarrier_wait(barrier, parity, site);
#else
  std::uint32_t is_over;
  do {
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                 : "=r"(is_over)
                 : "r"(shared_address(barrier)), "r"(parity)
                 : "memory");
  } while (!is_over);
#endif
}

}  // namespace nnzoo
