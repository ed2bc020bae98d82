#include "cuemu/tensor_map.h"

#include <cstring>

#include "cuemu/tensor_map_contents.h"

namespace cuemu {

unsigned element_bytes(CUtensorMapDataType type) {
  switch (type) {
    case CU_TENSOR_MAP_DATA_TYPE_UINT8:
      return 1;
    case CU_TENSOR_MAP_DATA_TYPE_UINT16:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT16:
    case CU_TENSOR_MAP_DATA_TYPE_BFLOAT16:
      return 2;
    case CU_TENSOR_MAP_DATA_TYPE_UINT32:
    case CU_TENSOR_MAP_DATA_TYPE_INT32:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT32:
      return 4;
    case CU_TENSOR_MAP_DATA_TYPE_UINT64:
    case CU_TENSOR_MAP_DATA_TYPE_INT64:
    case CU_TENSOR_MAP_DATA_TYPE_FLOAT64:
      return 8;
  }
  return 0;
}

}  // namespace cuemu

// The rules are those of the driver's manual.
CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, std::uint32_t rank, void* address,
                                const std::uint64_t* sizes, const std::uint64_t* strides, const std::uint32_t* box,
                                const std::uint32_t* element_strides, CUtensorMapInterleave interleave,
                                CUtensorMapSwizzle swizzle, CUtensorMapL2promotion /*promotion*/,
                                CUtensorMapFloatOOBfill fill) {
  using cuemu::TensorMapContents;
  constexpr unsigned kMaxBox = 256;
  constexpr unsigned kMaxElementStride = 8;
  if (interleave != CU_TENSOR_MAP_INTERLEAVE_NONE || fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE)
    return CUDA_ERROR_NOT_SUPPORTED;
  const unsigned bytes = cuemu::element_bytes(type);
  if (!map || !address || !bytes || rank < 1 || rank > TensorMapContents::kMaxRank) return CUDA_ERROR_INVALID_VALUE;
  if (reinterpret_cast<std::uintptr_t>(address) % 16) return CUDA_ERROR_INVALID_VALUE;
  TensorMapContents contents{};
  contents.address = static_cast<char*>(address);
  contents.rank = static_cast<std::uint8_t>(rank);
  contents.element_bytes = static_cast<std::uint8_t>(bytes);
  contents.swizzle_span = static_cast<std::uint8_t>(swizzle == CU_TENSOR_MAP_SWIZZLE_NONE ? 0 : 16u << swizzle);
  for (unsigned i = 0; i < rank; ++i) {
    if (sizes[i] == 0 || sizes[i] > std::uint64_t{1} << 32) return CUDA_ERROR_INVALID_VALUE;
    if (box[i] == 0 || box[i] > kMaxBox) return CUDA_ERROR_INVALID_VALUE;
    if (element_strides[i] == 0 || element_strides[i] > kMaxElementStride) return CUDA_ERROR_INVALID_VALUE;
    contents.sizes[i] = sizes[i];
    contents.box[i] = (box[i] + element_strides[i] - 1) / element_strides[i];
    contents.element_strides[i] = element_strides[i];
    if (i == 0) continue;
    if (strides[i - 1] % 16 || strides[i - 1] >= std::uint64_t{1} << 40) return CUDA_ERROR_INVALID_VALUE;
    contents.strides[i - 1] = strides[i - 1];
  }
  const unsigned row_bytes = contents.box[0] * bytes;
  if (row_bytes % 16) return CUDA_ERROR_INVALID_VALUE;
  if (contents.swizzle_span && row_bytes > contents.swizzle_span) return CUDA_ERROR_INVALID_VALUE;
  std::memcpy(map, &contents, sizeof contents);
  return CUDA_SUCCESS;
}
