// What the kernels of backward share: the weights of scores computed again, the gradients of scores, and the part of a
// mask that a block owns.
#pragma once

#include "ops/attention/attention.cuh"

namespace nnzoo::cuda {

// A query whose logarithm of the sum is less has a weight above 0.8.
constexpr double kNearlyOneHot = 0.22;

// What a block knows of the queries: their gradients' rows and four numbers each (attention_cuda.h).
template <class T>
struct Saved {
  const T* grad_output;
  const Accumulator<T>* statistics;
  const Accumulator<T>* delta;  // null: not known yet
};

template <class T>
Saved<T> saved_of(const void* grad_output, const void* statistics, const void* delta) {
  return {static_cast<const T*>(grad_output), static_cast<const Accumulator<T>*>(statistics),
          static_cast<const Accumulator<T>*>(delta)};
}

// The four numbers of a query; those of one beyond the last hide every key from it.
template <class A>
struct alignas(4 * sizeof(A)) QueryNumbers {
  A best;
  A logarithm_of_sum;
  A mean;
  A correction;
};

template <class T, class A = Accumulator<T>>
__device__ QueryNumbers<A> numbers_of(const AttentionInputs& in, const Saved<T>& saved, std::int64_t batch,
                                      std::int64_t head, std::int64_t query) {
  if (query >= in.queries) return {A(INFINITY), A(0), A(0), A(0)};
  const std::int64_t rows = in.batch * in.heads * in.queries;
  const std::int64_t row = (batch * in.heads + head) * in.queries + query;
  return {saved.statistics[row], saved.statistics[rows + row], saved.delta ? saved.delta[row] : A(0),
          saved.delta ? saved.delta[rows + row] : A(0)};
}

// A weight before and after dropout, and the gradient of the former.
template <class A>
struct Weight {
  A plain;
  A kept;
  A grad;
};

template <class A>
__device__ Weight<A> weight_of(const AttentionInputs& in, const Dropout& dropout, const QueryNumbers<A>& numbers,
                               std::int64_t batch, std::int64_t head, std::int64_t query, std::int64_t key, A dot,
                               A grad_dot) {
  const A score = score_of(in, batch, head, query, key, dot);
  if (score == -A(INFINITY)) return {A(0), A(0), A(0)};
  const A weight = exponential(score - numbers.best - numbers.logarithm_of_sum);
  const A factor = kept_factor<A>(in, dropout, batch, head, query, key);
  return {weight, weight * factor, grad_dot * factor};
}

// The gradient of the score that became this weight.
template <class A>
__device__ A grad_score_of(const QueryNumbers<A>& numbers, const Weight<A>& weight) {
  return weight.plain == A(0) ? A(0) : weight.plain * (weight.grad - numbers.mean - numbers.correction);
}

struct MaskShape {
  std::int64_t size[4];
  std::int64_t stride[4];
};

inline MaskShape mask_shape(const std::int64_t (&size)[4], const std::int64_t (&stride)[4]) {
  MaskShape mask;
  for (int i = 0; i < 4; ++i) {
    mask.size[i] = size[i];
    mask.stride[i] = stride[i];
  }
  return mask;
}

template <int tile_rows>
unsigned mask_blocks(const MaskShape& mask) {
  return static_cast<unsigned>(mask.size[0] * mask.size[1] * ceil_div<std::int64_t>(mask.size[2], tile_rows) *
                               ceil_div<std::int64_t>(mask.size[3], kTile));
}

// A block owns tile_rows x 32 elements of the mask, fewer where that is broadcast, and visits every score to which they
// were added: queries first_query .. last_query - 1 in steps of tile_rows, keys likewise.
template <int tile_rows>
struct MaskPlace {
  bool one_row, one_column;
  std::int64_t batch, head, first_query, last_query, first_key, last_key;

  __device__ MaskPlace(const AttentionInputs& in, const MaskShape& mask)
      : one_row(mask.size[2] == 1), one_column(mask.size[3] == 1) {
    const std::int64_t row_tiles = one_row ? 1 : ceil_div<std::int64_t>(in.queries, tile_rows);
    const std::int64_t column_tiles = one_column ? 1 : ceil_div<std::int64_t>(in.keys, kTile);
    const std::int64_t block = blockIdx.x;
    first_key = block % column_tiles * kTile;
    first_query = block / column_tiles % row_tiles * tile_rows;
    head = block / column_tiles / row_tiles % mask.size[1];
    batch = block / column_tiles / row_tiles / mask.size[1];
    last_key = one_column ? in.keys : first_key + 1;
    last_query = one_row ? in.queries : first_query + 1;
  }
};

// Writes the block's sums, [tile_rows, kScorePitch], added up over the rows, the columns or both where the mask is
// broadcast.
template <int tile_rows, class A>
__device__ void store_mask(A* grad_mask, const A* sums, const MaskShape& mask, const MaskPlace<tile_rows>& place) {
  for (int i = threadIdx.x; i < tile_rows * kTile; i += blockDim.x) {
    const int row = i / kTile;
    const int column = i % kTile;
    if ((place.one_row && row > 0) || (place.one_column && column > 0)) continue;
    if (place.first_query + row >= mask.size[2] || place.first_key + column >= mask.size[3]) continue;
    A sum = A(0);
    for (int r = row; r < (place.one_row ? tile_rows : row + 1); ++r)
      for (int c = column; c < (place.one_column ? kTile : column + 1); ++c) sum += sums[r * kScorePitch + c];
    grad_mask[place.batch * mask.stride[0] + place.head * mask.stride[1] + (place.first_query + row) * mask.stride[2] +
              (place.first_key + column) * mask.stride[3]] = sum;
  }
}

}  // namespace nnzoo::cuda
