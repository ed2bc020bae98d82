// Tensor maps: what a bulk copy (bulk_copy.cuh) knows of a tensor in global memory. Made on the host, passed to the
// kernel as a `const __grid_constant__ CUtensorMap`.
#pragma once

#include <cstdint>
#include <stdexcept>

#include "cuemu/cuda.h"

#ifndef NNZOO_CUEMU
#include <cuda.h>
#include <cudaTypedefs.h>
#endif

namespace nnzoo {

// The driver's function, found at run time: nothing links against the driver.
inline CUresult encode_tensor_map(CUtensorMap* map, CUtensorMapDataType type, std::uint32_t rank, void* address,
                                  const std::uint64_t* sizes, const std::uint64_t* strides, const std::uint32_t* box,
                                  const std::uint32_t* element_strides, CUtensorMapSwizzle swizzle) {
#ifdef NNZOO_CUEMU
  const auto encode = &cuTensorMapEncodeTiled;
#else
  PFN_cuTensorMapEncodeTiled_v12000 encode = nullptr;
  cudaDriverEntryPointQueryResult found;
  cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", reinterpret_cast<void**>(&encode), 12000,
                                   cudaEnableDefault, &found);
  if (found != cudaDriverEntryPointSuccess) return CUDA_ERROR_NOT_SUPPORTED;
#endif
  return encode(map, type, rank, address, sizes, strides, box, element_strides, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

// A tensor of `rank` dimensions, innermost first and dense in it; `strides` are in bytes and multiples of 16, the first
// is that of dimension 1. A copy moves boxes of `box` elements; a row of a box is a multiple of 16 bytes, and with a
// swizzle at most as long as that. Throws std::invalid_argument where the driver refuses.
template <int rank>
CUtensorMap make_tensor_map(CUtensorMapDataType type, void* address, const std::uint64_t (&sizes)[rank],
                            const std::uint64_t* strides, const std::uint32_t (&box)[rank],
                            CUtensorMapSwizzle swizzle) {
  CUtensorMap map;
  std::uint32_t ones[rank];
  for (std::uint32_t& one : ones) one = 1;
  if (encode_tensor_map(&map, type, rank, address, sizes, strides, box, ones, swizzle) != CUDA_SUCCESS)
    throw std::invalid_argument("the tensor can't be moved by bulk copies: its address, strides or box");
  return map;
}

}  // namespace nnzoo
