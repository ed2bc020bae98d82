// wgmma on tiles that tensor maps have loaded: both know where an element lies from their own descriptors.
#include "common/bulk_copy.cuh"
#include "common/launch.cuh"
#include "common/wgmma.cuh"
#include "guarded.h"

using nnzoo::launch;
using nnzoo::WgmmaSwizzle;
using std::uint32_t;
using std::uint64_t;

namespace {

constexpr int kRows = 64;
constexpr int kDepth = 64;

// A tile [rows, 64] with k first as boxes of [rows, span / 2] one after the other, or transposed as boxes of
// [64 of k, span / 2 of the rows]. The descriptor is that of k ... k + 15.
template <int span, bool transposed>
__device__ uint64_t describe(const unsigned char* tile, int rows, int k) {
  constexpr WgmmaSwizzle swizzle = span == 128  ? WgmmaSwizzle::bytes_128
                                   : span == 64 ? WgmmaSwizzle::bytes_64
                                   : span == 32 ? WgmmaSwizzle::bytes_32
                                                : WgmmaSwizzle::none;
  constexpr int width = span / 2;
  if (transposed && span == 16) return nnzoo::wgmma_descriptor(tile + k * span, 8 * span, kDepth * span, swizzle);
  if (transposed) return nnzoo::wgmma_descriptor(tile + k * span, kDepth * span, 8 * span, swizzle);
  return nnzoo::wgmma_descriptor(tile + k / width * rows * span + k % width * 2, rows * span, 8 * span, swizzle);
}

template <int span, bool transposed>
__device__ void load(unsigned char* tile, const CUtensorMap* map, int rows, uint64_t* barrier) {
  constexpr int width = span / 2;
  const int boxes = (transposed ? rows : kDepth) / width;
  const int bytes = (transposed ? kDepth : rows) * span;
  for (int box = 0; box < boxes; ++box) {
    const int start[2] = {box * width, 0};
    nnzoo::tensor_copy_to_shared(tile + box * bytes, map, start, barrier);
  }
}

// a: [64, 64] (transposed: the other way round), b: [columns, 64] (transposed: [64, columns]); out: [64, columns]
template <class T, int columns, int span, bool a_transposed, bool b_transposed>
__global__ void multiply(const __grid_constant__ CUtensorMap a_map, const __grid_constant__ CUtensorMap b_map,
                         float* out) {
  unsigned char* a_tile = nnzoo::dynamic_shared<unsigned char>();
  unsigned char* b_tile = a_tile + kRows * kDepth * 2;
  __shared__ uint64_t barrier;
  if (threadIdx.x == 0) {
    nnzoo::mbarrier_init(&barrier, 1);
    nnzoo::mbarrier_fence_init();
    nnzoo::mbarrier_arrive_expect_bytes(&barrier, (kRows + columns) * kDepth * 2);
    load<span, a_transposed>(a_tile, &a_map, kRows, &barrier);
    load<span, b_transposed>(b_tile, &b_map, columns, &barrier);
  }
  __syncthreads();
  nnzoo::mbarrier_wait(&barrier, 0);
  float sums[columns / 2];
  for (float& sum : sums) sum = -1.0f;  // not used: the first product does not accumulate
  nnzoo::wgmma_fence();
  for (int k = 0; k < kDepth; k += 16)
    nnzoo::wgmma<columns, a_transposed, b_transposed>(sums, describe<span, a_transposed>(a_tile, kRows, k),
                                                      describe<span, b_transposed>(b_tile, columns, k), k > 0, T());
  nnzoo::wgmma_commit();
  nnzoo::wgmma_wait<0>(sums);
  const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
  for (int i = 0; i < columns / 2; ++i)
    out[(row + i / 2 % 2 * 8) * columns + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2] = sums[i];
}

template <class T>
CUtensorMap map_of(void* address, int rows, int row_length, int box_rows, int span) {
  const uint64_t sizes[2] = {static_cast<uint64_t>(row_length), static_cast<uint64_t>(rows)};
  const uint64_t strides[1] = {static_cast<uint64_t>(row_length) * 2};
  const uint32_t box[2] = {static_cast<uint32_t>(span / 2), static_cast<uint32_t>(box_rows)};
  const CUtensorMapSwizzle swizzle = span == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                                     : span == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
                                     : span == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
                                                  : CU_TENSOR_MAP_SWIZZLE_NONE;
  const bool half = std::is_same_v<T, __half>;
  return nnzoo::make_tensor_map<2>(half ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, address,
                                   sizes, strides, box, swizzle);
}

template <class T, int columns, int span, bool a_transposed, bool b_transposed>
void run(void* a, void* b, float* out) {
  const CUtensorMap a_map = map_of<T>(a, 64, 64, 64, span);
  const CUtensorMap b_map =
      b_transposed ? map_of<T>(b, kDepth, columns, kDepth, span) : map_of<T>(b, columns, kDepth, columns, span);
  launch<multiply<T, columns, span, a_transposed, b_transposed>>(1, 128, (kRows + columns) * kDepth * 2, nullptr, a_map,
                                                                 b_map, out);
}

template <class T, int columns, int span>
void run_transposed(void* a, void* b, float* out, int which) {
  switch (which) {
    case 0:
      return run<T, columns, span, false, false>(a, b, out);
    case 1:
      return run<T, columns, span, true, false>(a, b, out);
    case 2:
      return run<T, columns, span, false, true>(a, b, out);
    case 3:
      return run<T, columns, span, true, true>(a, b, out);
  }
}

enum class Twin {
  right,
  reads_too_early,
  overwrites_too_early,
  no_fence,
  no_wait,
  touches_sums,
  three_warps,
  static_operand
};

// b: [16, 8] with n first in pieces of 8: k after k. a: [64, 16] from registers. out: [64, 8]
template <Twin twin>
__global__ void multiply_registers(const __half* a, const __half* b, float* out) {
  __half* b_tile = nnzoo::dynamic_shared<__half>();
  __shared__ __align__(128) __half other_tile[128];
  if (threadIdx.x < 128) b_tile[threadIdx.x] = b[threadIdx.x];
  if (threadIdx.x < 128) other_tile[threadIdx.x] = b[threadIdx.x];
  nnzoo::bulk_copy_fence();
  __syncthreads();
  const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
  const int column = threadIdx.x % 4 * 2;
  uint32_t a_part[4];
  for (int i = 0; i < 4; ++i) {
    const __half2 pair(a[(row + i % 2 * 8) * 16 + column + i / 2 * 8],
                       a[(row + i % 2 * 8) * 16 + column + i / 2 * 8 + 1]);
    memcpy(&a_part[i], &pair, 4);
  }
  float sums[4] = {1.0f, 1.0f, 1.0f, 1.0f};
  const uint64_t b_place =
      nnzoo::wgmma_descriptor(twin == Twin::static_operand ? other_tile : b_tile, 128, 256, WgmmaSwizzle::none);
  if (twin != Twin::no_fence) nnzoo::wgmma_fence();
  if (twin != Twin::three_warps || threadIdx.x < 96) nnzoo::wgmma<8, true>(sums, a_part, b_place, true, __half());
  nnzoo::wgmma_commit();
  if (twin == Twin::touches_sums) sums[1] += 1.0f;
  if (twin == Twin::reads_too_early)
    for (int i = 0; i < 4; ++i) out[(row + i / 2 * 8) * 8 + column + i % 2] = sums[i];
  if (twin == Twin::overwrites_too_early) b_tile[threadIdx.x] = __float2half(0.0f);
  if (twin != Twin::no_wait && (twin != Twin::three_warps || threadIdx.x < 96)) nnzoo::wgmma_wait<0>(sums);
  if (twin != Twin::reads_too_early)
    for (int i = 0; i < 4; ++i) out[(row + i / 2 * 8) * 8 + column + i % 2] = sums[i];
}

// Two warpgroups meet at a barrier of their own while a third goes its way; the first only counts itself in.
__global__ void meet_by_name(int* out, int mistake) {
  __shared__ int value;
  const int group = threadIdx.x / 128;
  if (threadIdx.x == 0) value = 7;
  if (group == 0) nnzoo::named_barrier_arrive(1, mistake == 1 ? 384 : 256);
  if (group == 1) nnzoo::named_barrier_sync(mistake == 2 ? 16 : 1, mistake == 3 ? 100 : 256);
  out[threadIdx.x] = group == 1 ? value : 0;
  if (group == 2) nnzoo::named_barrier_sync(2, mistake == 4 ? 256 : 128);
}

}  // namespace

EXPORT(run_wgmma)(void* a, void* b, float* out, int columns, int span, int transposed, int half) {
  return guarded([&] {
    auto with = [&](auto type) {
      using T = decltype(type);
      if (columns == 8 && span == 128) return run<T, 8, 128, false, false>(a, b, out);
      if (columns == 24 && span == 16) return run<T, 24, 16, false, false>(a, b, out);
      if (columns == 256 && span == 128) return run<T, 256, 128, false, false>(a, b, out);
      if (span == 16) return run_transposed<T, 64, 16>(a, b, out, transposed);
      if (span == 32) return run_transposed<T, 64, 32>(a, b, out, transposed);
      if (span == 64) return run_transposed<T, 64, 64>(a, b, out, transposed);
      if (columns == 128) return run_transposed<T, 128, 128>(a, b, out, transposed);
      return run_transposed<T, 64, 128>(a, b, out, transposed);
    };
    half ? with(__half()) : with(__nv_bfloat16());
  });
}
EXPORT(run_wgmma_registers)(const __half* a, const __half* b, float* out, int twin) {
  return guarded([&] {
    switch (static_cast<Twin>(twin)) {
      case Twin::right:
        return launch<multiply_registers<Twin::right>>(1, 128, 1024, nullptr, a, b, out);
      case Twin::reads_too_early:
        return launch<multiply_registers<Twin::reads_too_early>>(1, 128, 1024, nullptr, a, b, out);
      case Twin::overwrites_too_early:
        return launch<multiply_registers<Twin::overwrites_too_early>>(1, 128, 1024, nullptr, a, b, out);
      case Twin::no_fence:
        return launch<multiply_registers<Twin::no_fence>>(1, 128, 1024, nullptr, a, b, out);
      case Twin::no_wait:
        return launch<multiply_registers<Twin::no_wait>>(1, 128, 1024, nullptr, a, b, out);
      case Twin::touches_sums:
        return launch<multiply_registers<Twin::touches_sums>>(1, 128, 1024, nullptr, a, b, out);
      case Twin::three_warps:
        return launch<multiply_registers<Twin::three_warps>>(1, 128, 1024, nullptr, a, b, out);
      case Twin::static_operand:
        return launch<multiply_registers<Twin::static_operand>>(1, 128, 1024, nullptr, a, b, out);
    }
  });
}
EXPORT(run_wgmma_of_three_warps)(const __half* a, const __half* b, float* out) {
  return guarded([&] { launch<multiply_registers<Twin::right>>(1, 96, 1024, nullptr, a, b, out); });
}
EXPORT(run_meet_by_name)(int* out, int mistake) {
  return guarded([&] { launch<meet_by_name>(1, 384, 0, nullptr, out, mistake); });
}
