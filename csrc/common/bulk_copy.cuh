// Bulk copies by the Tensor Memory Accelerator (PTX ISA, "cp.async.bulk", "cp.async.bulk.tensor"): one thread starts a
// copy of a whole tile and goes on. PTX under nvcc (sm_90), the emulator's functions under g++.
//
// Towards shared memory the copy brings bytes to an mbarrier, which must have been told to expect them (mbarrier.cuh).
// Towards global memory the thread waits for groups of its own copies; and before it starts one, `bulk_copy_fence`
// makes what the block has written to shared memory visible to the accelerator.
#pragma once

#include <cstdint>

#include "common/mbarrier.cuh"
#include "common/site.cuh"
#include "common/tensor_map.cuh"

namespace nnzoo {

// `bytes` and both addresses are multiples of 16. `from` is in global memory.
__device__ __forceinline__ void bulk_copy_to_shared(void* shared, const void* from, unsigned bytes,
                                                    std::uint64_t* barrier NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::bulk_copy_to_shared(shared, from, bytes, barrier, 0, site);
#else
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(shared)),
               "l"(from), "r"(bytes), "r"(shared_address(barrier))
               : "memory");
#endif
}

// To the same places in the shared memory of all blocks of the cluster whose bit is set in `blocks`, each at its own
// barrier.
__device__ __forceinline__ void bulk_copy_to_cluster(void* shared, const void* from, unsigned bytes,
                                                     std::uint64_t* barrier, std::uint16_t blocks NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::bulk_copy_to_shared(shared, from, bytes, barrier, blocks, site);
#else
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], %2, [%3], "
      "%4;" ::"r"(shared_address(shared)),
      "l"(from), "r"(bytes), "r"(shared_address(barrier)), "h"(blocks)
      : "memory");
#endif
}

// From this block's shared memory to `shared` and `barrier` of block `rank`; both are given as this block's.
__device__ __forceinline__ void bulk_copy_to_rank(void* shared, const void* from, unsigned bytes,
                                                  std::uint64_t* barrier, unsigned rank NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::bulk_copy_to_shared(shared, from, bytes, barrier, 1u << rank, site);
#else
  asm volatile(
      "{ .reg .b32 to, at; mapa.shared::cluster.u32 to, %0, %4; mapa.shared::cluster.u32 at, %3, %4;"
      " cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [to], [%1], %2, [at]; }" ::"r"(
          shared_address(shared)),
      "r"(shared_address(from)), "r"(bytes), "r"(shared_address(barrier)), "r"(rank)
      : "memory");
#endif
}

__device__ __forceinline__ void bulk_copy_to_global(void* global, const void* shared, unsigned bytes NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::bulk_copy_to_global(global, shared, bytes, site);
#else
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(global), "r"(shared_address(shared)),
               "r"(bytes)
               : "memory");
#endif
}

// The box of `map` (a `const __grid_constant__` parameter) that begins at `coordinates`, innermost first. `shared` is
// aligned to 128 bytes, with a swizzle to what the pattern repeats after. Elements outside of the tensor become zero.
template <int rank>
__device__ __forceinline__ void tensor_copy_to_shared(void* shared, const CUtensorMap* map,
                                                      const int (&coordinates)[rank],
                                                      std::uint64_t* barrier NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::tensor_copy_to_shared(shared, map, coordinates, rank, barrier, 0, site);
#else
  if constexpr (rank == 1) {
    asm volatile(
        "cp.async.bulk.tensor.1d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3}], [%2];" ::
            "r"(shared_address(shared)),
        "l"(map), "r"(shared_address(barrier)), "r"(coordinates[0])
        : "memory");
  } else if constexpr (rank == 2) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], "
        "[%2];" ::"r"(shared_address(shared)),
        "l"(map), "r"(shared_address(barrier)), "r"(coordinates[0]), "r"(coordinates[1])
        : "memory");
  } else if constexpr (rank == 3) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
        "[%2];" ::"r"(shared_address(shared)),
        "l"(map), "r"(shared_address(barrier)), "r"(coordinates[0]), "r"(coordinates[1]), "r"(coordinates[2])
        : "memory");
  } else if constexpr (rank == 4) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, "
        "%6}], [%2];" ::"r"(shared_address(shared)),
        "l"(map), "r"(shared_address(barrier)), "r"(coordinates[0]), "r"(coordinates[1]), "r"(coordinates[2]),
        "r"(coordinates[3])
        : "memory");
  } else if constexpr (rank == 5) {
    asm volatile(
        "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, "
        "%7}], [%2];" ::"r"(shared_address(shared)),
        "l"(map), "r"(shared_address(barrier)), "r"(coordinates[0]), "r"(coordinates[1]), "r"(coordinates[2]),
        "r"(coordinates[3]), "r"(coordinates[4])
        : "memory");
  }
#endif
}

// The same for all blocks of the cluster whose bit is set in `blocks`.
template <int rank>
__device__ __forceinline__ void tensor_copy_to_cluster(void* shared, const CUtensorMap* map,
                                                       const int (&coordinates)[rank], std::uint64_t* barrier,
                                                       std::uint16_t blocks NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::tensor_copy_to_shared(shared, map, coordinates, rank, barrier, blocks, site);
#else
  if constexpr (rank == 1) {
    asm volatile(
        "cp.async.bulk.tensor.1d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
        "[%1, {%4}], [%2], %3;" ::"r"(shared_address(shared)),
        "l"(map), "r"(shared_address(barrier)), "h"(blocks), "r"(coordinates[0])
        : "memory");
  } else if constexpr (rank == 2) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
        "[%1, {%4, %5}], [%2], %3;" ::"r"(shared_address(shared)),
        "l"(map), "r"(shared_address(barrier)), "h"(blocks), "r"(coordinates[0]), "r"(coordinates[1])
        : "memory");
  } else if constexpr (rank == 3) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
        "[%1, {%4, %5, %6}], [%2], %3;" ::"r"(shared_address(shared)),
        "l"(map), "r"(shared_address(barrier)), "h"(blocks), "r"(coordinates[0]), "r"(coordinates[1]),
        "r"(coordinates[2])
        : "memory");
  } else if constexpr (rank == 4) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
        "[%1, {%4, %5, %6, %7}], [%2], %3;" ::"r"(shared_address(shared)),
        "l"(map), "r"(shared_address(barrier)), "h"(blocks), "r"(coordinates[0]), "r"(coordinates[1]),
        "r"(coordinates[2]), "r"(coordinates[3])
        : "memory");
  } else if constexpr (rank == 5) {
    asm volatile(
        "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
        "[%1, {%4, %5, %6, %7, %8}], [%2], %3;" ::"r"(shared_address(shared)),
        "l"(map), "r"(shared_address(barrier)), "h"(blocks), "r"(coordinates[0]), "r"(coordinates[1]),
        "r"(coordinates[2]), "r"(coordinates[3]), "r"(coordinates[4])
        : "memory");
  }
#endif
}

// The way back; elements outside of the tensor are not written.
template <int rank>
__device__ __forceinline__ void tensor_copy_to_global(const CUtensorMap* map, const int (&coordinates)[rank],
                                                      const void* shared NNZOO_SITE) {
#ifdef NNZOO_CUEMU
  cuemu::tensor_copy_to_global(map, coordinates, rank, shared, site);
#else
  if constexpr (rank == 1) {
    asm volatile("cp.async.bulk.tensor.1d.global.shared::cta.tile.bulk_group [%0, {%2}], [%1];" ::"l"(map),
                 "r"(shared_address(shared)), "r"(coordinates[0])
                 : "memory");
  } else if constexpr (rank == 2) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
                 "r"(shared_address(shared)), "r"(coordinates[0]), "r"(coordinates[1])
                 : "memory");
  } else if constexpr (rank == 3) {
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
                 "r"(shared_address(shared)), "r"(coordinates[0]), "r"(coordinates[1]), "r"(coordinates[2])
                 : "memory");
  } else if constexpr (rank == 4) {
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(map),
                 "r"(shared_address(shared)), "r"(coordinates[0]), "r"(coordinates[1]), "r"(coordinates[2]),
                 "r"(coordinates[3])
                 : "memory");
  } else if constexpr (rank == 5) {
    asm volatile(
        "cp.async.bulk.tensor.5d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5, %6}], [%1];" ::"l"(map),
        "r"(shared_address(shared)), "r"(coordinates[0]), "r"(coordinates[1]), "r"(coordinates[2]), "r"(coordinates[3]),
        "r"(coordinates[4])
        : "memory");
  }
#endif
}

// By every thread that has written to shared memory, before the barrier after which one of them starts a copy from
// there.
__device__ __forceinline__ void bulk_copy_fence() {
#ifdef NNZOO_CUEMU
  cuemu::proxy_fence();
#else
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// Closes the group of all copies towards global memory that this thread has started since the last commit.
__device__ __forceinline__ void bulk_copy_commit() {
#ifdef NNZOO_CUEMU
  cuemu::commit_bulk_copies();
#else
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#endif
}

// Waits until at most the `left` youngest groups still have to be written.
template <int left>
__device__ __forceinline__ void bulk_copy_wait() {
#ifdef NNZOO_CUEMU
  cuemu::wait_bulk_copies(left);
#else
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(left) : "memory");
#endif
}

// Waits until at most the `left` youngest groups still have to be read: the shared memory of the others may be written.
template <int left>
__device__ __forceinline__ void bulk_copy_wait_read() {
#ifdef NNZOO_CUEMU
  cuemu::wait_bulk_copies(left);
#else
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(left) : "memory");
#endif
}

}  // namespace nnzoo
