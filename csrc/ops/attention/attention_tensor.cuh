// Forward on the tensor cores, for bf16 and fp16.
//
// Four warps, each with 16 queries, walk over the keys in tiles of 32. A lane owns two rows of its warp's 16 x 32
// scores, row = lane / 4 and row + 8, four lanes sharing a row; that is how mma.sync leaves its result. The same
// registers, rounded to 16 bits, are the left operand of the product with the values: the scores never leave the
// registers.
#pragma once

#include "common/mma.cuh"
#include "ops/attention/attention.cuh"

namespace nnzoo::cuda {

constexpr int kTensorThreads = 128;
constexpr int kTensorQueries = 64;
constexpr int kKeyTiles = kTile / 8;

// Features are read 16 at a time; 16 bytes of padding send the rows of one ldmatrix to different banks.
__host__ __device__ constexpr int padded_dim(std::int64_t size) { return static_cast<int>((size + 15) / 16 * 16); }
__host__ __device__ constexpr int tensor_pitch(std::int64_t size) { return padded_dim(size) + 8; }

// Rows first .. first + count - 1 with zeros beyond `rows` and beyond `size`.
template <class T>
__device__ void load_tensor_tile(T* tile, int count, const T* from, std::int64_t stride, std::int64_t first,
                                 std::int64_t rows, std::int64_t size) {
  const int lane = threadIdx.x % 32;
  for (int row = threadIdx.x / 32; row < count; row += kTensorThreads / 32) {
    for (int i = lane; i < padded_dim(size); i += 32)
      tile[row * tensor_pitch(size) + i] =
          first + row < rows && i < size ? from[(first + row) * stride + i] : narrow<T>(0);
  }
}

template <class T>
__device__ std::uint32_t pack_pair(float low, float high) {
  const Pack<T, 2> pair{{narrow<T>(low), narrow<T>(high)}};
  std::uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}

template <class T, int dim>
__global__ void __launch_bounds__(kTensorThreads)
    tensor_forward_kernel(AttentionInputs in, Dropout dropout, T* output, float* statistics) {
  const std::int64_t tiles = ceil_div<std::int64_t>(in.queries, kTensorQueries);
  const std::int64_t first_query = blockIdx.x % tiles * kTensorQueries;
  const std::int64_t head = blockIdx.x / tiles % in.heads;
  const std::int64_t batch = blockIdx.x / tiles / in.heads;
  const std::int64_t kv_head = head / (in.heads / in.kv_heads);
  const T* query = head_of<T>(in.query, in.query_stride, batch, head);
  const T* key = head_of<T>(in.key, in.key_stride, batch, kv_head);
  const T* value = head_of<T>(in.value, in.value_stride, batch, kv_head);
  const int pitch = tensor_pitch(in.head_dim);
  const int value_pitch = tensor_pitch(in.value_dim);
  T* const queries = dynamic_shared<T>();
  T* const keys = queries + kTensorQueries * pitch;
  T* const values = keys + kTile * pitch;

  const int lane = threadIdx.x % 32;
  const int warp_row = threadIdx.x / 32 * 16;
  const std::int64_t row = first_query + warp_row + lane / 4;
  float best[2] = {-INFINITY, -INFINITY};
  float total[2] = {};
  float sums[dim / 8][4] = {};
  load_tensor_tile(queries, kTensorQueries, query, in.query_stride[2], first_query, in.queries, in.head_dim);
  const std::int64_t last_query = first_query + kTensorQueries;
  const std::int64_t end = in.causal && last_query < in.keys ? last_query : in.keys;
  for (std::int64_t first = 0; first < end; first += kTile) {
    __syncthreads();
    load_tensor_tile(keys, kTile, key, in.key_stride[2], first, in.keys, in.head_dim);
    load_tensor_tile(values, kTile, value, in.value_stride[2], first, in.keys, in.value_dim);
    __syncthreads();

    float scores[kKeyTiles][4] = {};
    for (int k = 0; k < padded_dim(in.head_dim); k += 16) {
      std::uint32_t a[4];
      ldmatrix_x4(a, &queries[(warp_row + lane % 16) * pitch + k + lane / 16 * 8]);
#pragma unroll
      for (int pair = 0; pair < kKeyTiles / 2; ++pair) {
        std::uint32_t b[4];
        ldmatrix_x4(b, &keys[(pair * 16 + lane % 8 + lane / 16 * 8) * pitch + k + lane / 8 % 2 * 8]);
        const std::uint32_t first_half[2] = {b[0], b[1]};
        const std::uint32_t second_half[2] = {b[2], b[3]};
        mma_m16n8k16(scores[pair * 2], a, first_half, scores[pair * 2], T());
        mma_m16n8k16(scores[pair * 2 + 1], a, second_half, scores[pair * 2 + 1], T());
      }
    }

    float tile_best[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int tile = 0; tile < kKeyTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::int64_t column = first + tile * 8 + lane % 4 * 2 + i % 2;
        scores[tile][i] = score_of(in, batch, head, row + i / 2 * 8, column, scores[tile][i]);
        tile_best[i / 2] = Max::combine(tile_best[i / 2], scores[tile][i]);
      }
    }
    float shift[2];
    float decay[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float now = Max::combine(best[half], warp_reduce<Max, 4>(tile_best[half]));
      shift[half] = now == -INFINITY ? 0.0f : now;
      decay[half] = exponential(best[half] - shift[half]);
      best[half] = now;
    }
    float tile_total[2] = {};
#pragma unroll
    for (int tile = 0; tile < kKeyTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::int64_t column = first + tile * 8 + lane % 4 * 2 + i % 2;
        const float weight = exponential(scores[tile][i] - shift[i / 2]);
        tile_total[i / 2] += weight;
        scores[tile][i] = weight * kept_factor<float>(in, dropout, batch, head, row + i / 2 * 8, column);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half)
      total[half] = total[half] * decay[half] + warp_reduce<Sum, 4>(tile_total[half]);
#pragma unroll
    for (int j = 0; j < dim / 8; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[j][i] *= decay[i / 2];
    }

#pragma unroll
    for (int k = 0; k < kTile; k += 16) {
      const int tile = k / 8;
      const std::uint32_t a[4] = {pack_pair<T>(scores[tile][0], scores[tile][1]),
                                  pack_pair<T>(scores[tile][2], scores[tile][3]),
                                  pack_pair<T>(scores[tile + 1][0], scores[tile + 1][1]),
                                  pack_pair<T>(scores[tile + 1][2], scores[tile + 1][3])};
#pragma unroll
      for (int j = 0; j < dim / 8; j += 2) {
        if (j * 8 < padded_dim(in.value_dim)) {
          std::uint32_t b[4];
          ldmatrix_x4_transposed(b, &values[(k + lane % 16) * value_pitch + j * 8 + lane / 16 * 8]);
          const std::uint32_t first_half[2] = {b[0], b[1]};
          const std::uint32_t second_half[2] = {b[2], b[3]};
          mma_m16n8k16(sums[j], a, first_half, sums[j], T());
          mma_m16n8k16(sums[j + 1], a, second_half, sums[j + 1], T());
        }
      }
    }
  }

  const std::int64_t base = (batch * in.heads + head) * in.queries;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int64_t at = row + half * 8;
    if (at >= in.queries) continue;
    const float factor = total[half] == 0.0f ? 0.0f : 1.0f / total[half];
#pragma unroll
    for (int j = 0; j < dim / 8; ++j) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int feature = j * 8 + lane % 4 * 2 + i;
        if (feature < in.value_dim)
          output[(base + at) * in.value_dim + feature] = narrow<T>(sums[j][half * 2 + i] * factor);
      }
    }
    if (statistics && lane % 4 == 0) store_statistics(in, statistics, base + at, best[half], total[half]);
  }
}

template <class T, int dim>
void launch_tensor_forward(const AttentionInputs& in, const Dropout& dropout, T* output, float* statistics,
                           void* stream) {
  const std::int64_t blocks = in.batch * in.heads * ceil_div<std::int64_t>(in.queries, kTensorQueries);
  const std::size_t elements =
      (kTensorQueries + kTile) * tensor_pitch(in.head_dim) + kTile * tensor_pitch(in.value_dim);
  launch<tensor_forward_kernel<T, dim>>(static_cast<unsigned>(blocks), kTensorThreads, elements * sizeof(T), stream, in,
                                        dropout, output, statistics);
}

}  // namespace nnzoo::cuda
