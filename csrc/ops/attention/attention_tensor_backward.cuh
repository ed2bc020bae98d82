// What the kernels of backward on the tensor cores share: the two sides of the scores, a walk over the tiles of one of
// them, and sums of rows that fp16 can hold.
#pragma once

#include <type_traits>

#include "ops/attention/attention_backward.cuh"
#include "ops/attention/attention_fragments.cuh"

namespace nnzoo::cuda::tensor {

// The rows of a head that are loaded together: query and grad_output, or key and value.
template <class T>
struct Side {
  const T* heads;   // rows of head_dim features
  const T* values;  // rows of value_dim features
  std::int64_t head_stride, value_stride, rows;
};

template <class T>
__device__ Side<T> query_side(const AttentionInputs& in, const Saved<T>& saved, std::int64_t batch, std::int64_t head) {
  return {head_of<T>(in.query, in.query_stride, batch, head),
          saved.grad_output + (batch * in.heads + head) * in.queries * in.value_dim, in.query_stride[2], in.value_dim,
          in.queries};
}

template <class T>
__device__ Side<T> key_side(const AttentionInputs& in, std::int64_t batch, std::int64_t kv_head) {
  return {head_of<T>(in.key, in.key_stride, batch, kv_head), head_of<T>(in.value, in.value_stride, batch, kv_head),
          in.key_stride[2], in.value_stride[2], in.keys};
}

// A tile of `count` rows of a side in shared memory. With `copies` it arrives by cp.async, which the caller commits.
template <class T>
struct SideTile {
  T* heads;
  T* values;
  int count;

  __device__ SideTile(const AttentionInputs& in, T* memory, int count)
      : heads(memory), values(memory + count * tensor_pitch(in.head_dim)), count(count) {}

  template <bool copies>
  __device__ void load(const AttentionInputs& in, const Side<T>& side, std::int64_t first) const {
    if constexpr (copies) {
      copy_tensor_tile(heads, count, side.heads, side.head_stride, first, side.rows, in.head_dim);
      copy_tensor_tile(values, count, side.values, side.value_stride, first, side.rows, in.value_dim);
    } else {
      load_tensor_tile(heads, count, side.heads, side.head_stride, first, side.rows, in.head_dim);
      load_tensor_tile(values, count, side.values, side.value_stride, first, side.rows, in.value_dim);
    }
  }
};

__host__ __device__ inline int tile_size(const AttentionInputs& in, int rows) {
  return rows * (tensor_pitch(in.head_dim) + tensor_pitch(in.value_dim));
}

// How tiles come: loaded where they are needed (0), copied where they are needed (1), or copied while the block
// computes with the tile before, into the other of two places (2).
__host__ __device__ constexpr int places_for(int stages) { return stages > 1 ? stages : 1; }

// The held tile of 64 rows and the places for those walked over.
inline std::size_t tile_bytes(const AttentionInputs& in, int stages) {
  return tile_size(in, kTensorRows + places_for(stages) * kTile) * 2;
}

// Calls load(place, i), which for stages > 0 starts copies, then visit(place, i), for i < count. Before the first load
// all threads must be done with the tiles' memory.
template <int stages, class Load, class Visit>
__device__ void walk(std::int64_t count, Load load, Visit visit) {
  if constexpr (stages == 2) {
    if (count > 0) load(0, 0);
    cp_async_commit();
  }
  for (std::int64_t i = 0; i < count; ++i) {
    if constexpr (stages == 2) {
      // One barrier says both that this tile is there and that the other place is no longer read.
      const int place = static_cast<int>(i % 2);
      cp_async_wait<0>();
      __syncthreads();
      if (i + 1 < count) {
        load(1 - place, i + 1);
        cp_async_commit();
      }
      visit(place, i);
    } else {
      __syncthreads();
      load(0, i);
      if constexpr (stages == 1) {
        cp_async_commit();
        cp_async_wait<0>();
      }
      __syncthreads();
      visit(0, i);
    }
  }
  // A thread does not return before its copies, those of the held tile, have come.
  if (stages > 0 && count == 0) {
    cp_async_commit();
    cp_async_wait<0>();
  }
}

// sums += factors @ tile, for this warp's 16 rows and 8 * dim features. fp16 holds magnitudes from 6e-8 to 65504, the
// gradients of scores may have any: there the factors of a row are multiplied, before they are rounded, by the power of
// two that brings the largest so far near the top of that range, and the row's sums with them. Both are exact.
template <class T, int dim>
struct RowSums {
  float sums[dim][4] = {};
  float power[2] = {0x1p127f, 0x1p127f};

  template <int fragments>
  __device__ void add(float (&factors)[fragments][4], const T* tile, std::int64_t size) {
    if constexpr (std::is_same_v<T, __half>) fit(factors);
    add_tile(sums, factors, tile, size);
  }

  __device__ void store(T* to, float scale, std::int64_t first, std::int64_t rows, std::int64_t size) const {
    constexpr bool is_fitted = std::is_same_v<T, __half>;
    const float factor[2] = {is_fitted ? scale / power[0] : scale, is_fitted ? scale / power[1] : scale};
    store_fragments(to, sums, factor, first, rows, size);
  }

 private:
  template <int fragments>
  __device__ void fit(float (&factors)[fragments][4]) {
    constexpr int kBias = 127;
    constexpr int kTop = 14;  // the largest factor becomes 2^14 to 2^15
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = 0.0f;
#pragma unroll
      for (int tile = 0; tile < fragments; ++tile)
        largest = fmaxf(largest, fmaxf(fabsf(factors[tile][2 * half]), fabsf(factors[tile][2 * half + 1])));
      largest = warp_reduce<Max, 4>(largest);
      const int exponent = static_cast<int>(__float_as_uint(largest) >> 23);  // 255 of what is infinite or no number
      const int wanted = min(2 * kBias + kTop - exponent, 2 * kBias);
      if (exponent < 255 && wanted > 0) {
        const float fitting = __uint_as_float(static_cast<unsigned>(wanted) << 23);
        if (fitting < power[half]) {
          const float decay = fitting / power[half];
#pragma unroll
          for (int j = 0; j < dim; ++j) {
            sums[j][2 * half] *= decay;
            sums[j][2 * half + 1] *= decay;
          }
          power[half] = fitting;
        }
      }
#pragma unroll
      for (int tile = 0; tile < fragments; ++tile) {
        factors[tile][2 * half] *= power[half];
        factors[tile][2 * half + 1] *= power[half];
      }
    }
  }
};

}  // namespace nnzoo::cuda::tensor
