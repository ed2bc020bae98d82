// Forward on the tensor cores, for bf16 and fp16: the products of attention_fragments.cuh around an online softmax.
// Tiles are 64 keys where their scores, 32 registers, fit beside the sums, dim / 2 registers; at dim = 256 they are 32.
#pragma once

#include "ops/attention/attention_fragments.cuh"

namespace nnzoo::cuda {

// A block takes tiles of `columns` keys and values. Pipelined, it copies the next tile while it computes with this one:
// two tiles in shared memory, and one barrier a tile, which says both that this tile is there and that the one before
// is no longer read.
template <class T, int dim, int columns, bool pipelined>
__global__ void __launch_bounds__(kTensorThreads)
    tensor_forward_kernel(AttentionInputs in, Dropout dropout, T* output, float* statistics) {
  const Place place(in.heads, in.queries, kTensorRows);
  const std::int64_t kv_head = place.head / (in.heads / in.kv_heads);
  const T* query = head_of<T>(in.query, in.query_stride, place.batch, place.head);
  const T* key = head_of<T>(in.key, in.key_stride, place.batch, kv_head);
  const T* value = head_of<T>(in.value, in.value_stride, place.batch, kv_head);
  T* const queries = dynamic_shared<T>();
  T* const tiles = queries + kTensorRows * tensor_pitch(in.head_dim);
  const int value_offset = columns * tensor_pitch(in.head_dim);
  const int tile_size = value_offset + columns * tensor_pitch(in.value_dim);

  float best[2] = {-INFINITY, -INFINITY};
  float total[2] = {};
  float sums[dim / 8][4] = {};
  const std::int64_t end = keys_seen(in, place.first, kTensorRows);
  load_tensor_tile(queries, kTensorRows, query, in.query_stride[2], place.first, in.queries, in.head_dim);
  const auto copy = [&](T* to, std::int64_t first) {
    copy_tensor_tile(to, columns, key, in.key_stride[2], first, in.keys, in.head_dim);
    copy_tensor_tile(to + value_offset, columns, value, in.value_stride[2], first, in.keys, in.value_dim);
    cp_async_commit();
  };
  if (pipelined && end > 0) copy(tiles, 0);
  for (std::int64_t first = 0; first < end; first += columns) {
    const T* keys = tiles;
    if constexpr (pipelined) {
      const int stage = static_cast<int>(first / columns % 2);
      keys += stage * tile_size;
      cp_async_wait<0>();
      __syncthreads();
      if (first + columns < end) copy(tiles + (1 - stage) * tile_size, first + columns);
    } else {
      __syncthreads();
      load_tensor_tile(tiles, columns, key, in.key_stride[2], first, in.keys, in.head_dim);
      load_tensor_tile(tiles + value_offset, columns, value, in.value_stride[2], first, in.keys, in.value_dim);
      __syncthreads();
    }

    float scores[columns / 8][4];
    row_products(scores, queries, keys, in.head_dim);
    float tile_best[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int tile = 0; tile < columns / 8; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::int64_t column = first + fragment_column(tile, i);
        const std::int64_t row = place.first + fragment_row(i);
        scores[tile][i] = score_of(in, place.batch, place.head, row, column, scores[tile][i]);
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
    for (int tile = 0; tile < columns / 8; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::int64_t column = first + fragment_column(tile, i);
        const float weight = exponential(scores[tile][i] - shift[i / 2]);
        tile_total[i / 2] += weight;
        scores[tile][i] =
            weight * kept_factor<float>(in, dropout, place.batch, place.head, place.first + fragment_row(i), column);
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

    add_tile(sums, scores, keys + value_offset, in.value_dim);
  }

  const std::int64_t base = (place.batch * in.heads + place.head) * in.queries;
  const float factor[2] = {total[0] == 0.0f ? 0.0f : 1.0f / total[0], total[1] == 0.0f ? 0.0f : 1.0f / total[1]};
  store_fragments(output + base * in.value_dim, sums, factor, place.first, in.queries, in.value_dim);
  if (!statistics || threadIdx.x % 4 > 0) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int64_t row = place.first + fragment_row(half * 2);
    if (row < in.queries) store_statistics(in, statistics, base + row, best[half], total[half]);
  }
}

template <class T, int dim, int columns, bool pipelined>
void launch_tensor_forward(const AttentionInputs& in, const Dropout& dropout, T* output, float* statistics,
                           void* stream) {
  const int tile_size = columns * (tensor_pitch(in.head_dim) + tensor_pitch(in.value_dim));
  const std::size_t elements = kTensorRows * tensor_pitch(in.head_dim) + (pipelined ? 2 : 1) * tile_size;
  launch<tensor_forward_kernel<T, dim, columns, pipelined>>(blocks_for(in.batch, in.heads, in.queries, kTensorRows),
                                                            kTensorThreads, elements * sizeof(T), stream, in, dropout,
                                                            output, statistics);
}

}  // namespace nnzoo::cuda
