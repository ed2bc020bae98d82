// What the kernels of attention share: tiles of 32 rows in shared memory, dot products between two tiles, scores.
//
// A block has 256 threads; eight neighbouring lanes own a row of the 32 x 32 scores of two tiles, so everything about a
// row stays inside a warp. Lane `part` of a row owns the columns part, part + 8, part + 16, part + 24, and the features
// part, part + 8, ... of the row's result.
#pragma once

#include "common/dtype.cuh"
#include "common/launch.cuh"
#include "common/math.cuh"
#include "common/random.cuh"
#include "common/reduce.cuh"
#include "ops/attention/attention_cuda.h"

namespace nnzoo::cuda {

constexpr int kThreads = 256;
constexpr int kTile = 32;
constexpr int kLanesPerRow = kThreads / kTile;
constexpr int kPerLane = kTile / kLanesPerRow;

__device__ inline int tile_row() { return threadIdx.x / kLanesPerRow; }
__device__ inline int row_part() { return threadIdx.x % kLanesPerRow; }

// An odd pitch: neighbouring rows start in different banks.
__host__ __device__ constexpr int pitch_of(std::int64_t size) { return static_cast<int>(size) | 1; }

constexpr int kScorePitch = kTile + 1;

// One head of one batch entry, and the tile of rows that a block computes there.
struct Place {
  std::int64_t batch;
  std::int64_t head;
  std::int64_t first;

  __device__ Place(std::int64_t heads, std::int64_t rows, int tile_rows = kTile) {
    const std::int64_t tiles = ceil_div<std::int64_t>(rows, tile_rows);
    const std::int64_t block = blockIdx.x;
    first = block % tiles * tile_rows;
    head = block / tiles % heads;
    batch = block / tiles / heads;
  }
};

inline unsigned blocks_for(std::int64_t batch, std::int64_t heads, std::int64_t rows, int tile_rows = kTile) {
  return static_cast<unsigned>(batch * heads * ceil_div<std::int64_t>(rows, tile_rows));
}

template <class T>
__device__ const T* head_of(const void* tensor, const std::int64_t (&stride)[3], std::int64_t batch,
                            std::int64_t head) {
  return static_cast<const T*>(tensor) + batch * stride[0] + head * stride[1];
}

// Rows first .. first + 31 of a matrix with adjacent features; zeros beyond `rows`.
template <class T, class A>
__device__ void load_tile(A* tile, const T* from, std::int64_t stride, std::int64_t first, std::int64_t rows,
                          std::int64_t size) {
  const int lane = threadIdx.x % 32;
  const int pitch = pitch_of(size);
  for (int row = threadIdx.x / 32; row < kTile; row += kThreads / 32) {
    for (int i = lane; i < size; i += 32)
      tile[row * pitch + i] = first + row < rows ? widen(from[(first + row) * stride + i]) : A(0);
  }
}

// dots[j] = row tile_row() of `rows` times row part + 8 * j of `columns`: the same bits in every kernel.
template <class A>
__device__ void dot_products(A (&dots)[kPerLane], const A* rows, const A* columns, std::int64_t size) {
  const int pitch = pitch_of(size);
  const A* row = rows + tile_row() * pitch;
  const A* column = columns + row_part() * pitch;
#pragma unroll
  for (int j = 0; j < kPerLane; ++j) dots[j] = A(0);
  for (int i = 0; i < size; ++i) {
#pragma unroll
    for (int j = 0; j < kPerLane; ++j) dots[j] = multiply_add(row[i], column[j * kLanesPerRow * pitch + i], dots[j]);
  }
}

// sums[j] += scores[tile_row()][.] times column part + 8 * j of `tile`.
template <int per_lane, class A>
__device__ void add_products(A (&sums)[per_lane], const A* scores, const A* tile, std::int64_t size) {
  const int pitch = pitch_of(size);
  const A* score = scores + tile_row() * kScorePitch;
  for (int column = 0; column < kTile; ++column) {
#pragma unroll
    for (int j = 0; j < per_lane; ++j) {
      const int feature = row_part() + j * kLanesPerRow;
      if (feature < size) sums[j] += score[column] * tile[column * pitch + feature];
    }
  }
}

// Writes this lane's features of row `first + tile_row()`, if there is such a row.
template <class T, int per_lane>
__device__ void store_row(T* to, const Accumulator<T> (&sums)[per_lane], Accumulator<T> factor, std::int64_t first,
                          std::int64_t rows, std::int64_t size) {
  const std::int64_t row = first + tile_row();
  if (row >= rows) return;
#pragma unroll
  for (int j = 0; j < per_lane; ++j) {
    const int feature = row_part() + j * kLanesPerRow;
    if (feature < size) to[row * size + feature] = narrow<T>(sums[j] * factor);
  }
}

// The score of a query and a key from their dot product; -inf where the query does not see the key.
template <class A>
__device__ A score_of(const AttentionInputs& in, std::int64_t batch, std::int64_t head, std::int64_t query,
                      std::int64_t key, A dot) {
  if (query >= in.queries || key >= in.keys || (in.causal && key > query)) return -A(INFINITY);
  const A score = dot * A(in.scale);
  if (in.mask_kind == MaskKind::none) return score;
  const std::int64_t at =
      batch * in.mask_stride[0] + head * in.mask_stride[1] + query * in.mask_stride[2] + key * in.mask_stride[3];
  if (in.mask_kind == MaskKind::boolean) return static_cast<const unsigned char*>(in.mask)[at] ? score : -A(INFINITY);
  return score + static_cast<const A*>(in.mask)[at];
}

// What dropout multiplies this weight by.
template <class A>
__device__ A kept_factor(const AttentionInputs& in, const Dropout& dropout, std::int64_t batch, std::int64_t head,
                         std::int64_t query, std::int64_t key) {
  if (dropout.threshold == 0) return A(1);
  const std::int64_t index = ((batch * in.heads + head) * in.queries + query) * in.keys + key;
  return dropout.factor<A>(*in.seed, static_cast<std::uint64_t>(index));
}

// What backward needs of a query: its largest score, and the logarithm of its sum of exponentials (attention.h).
template <class A>
__device__ void store_statistics(const AttentionInputs& in, A* statistics, std::int64_t row, A best, A total) {
  const bool blind = total == A(0);
  statistics[row] = blind ? A(INFINITY) : best;
  statistics[in.batch * in.heads * in.queries + row] = blind ? A(0) : logarithm(total);
}

// With `causal`, the last key that any query of a tile sees, plus one.
__device__ inline std::int64_t keys_seen(const AttentionInputs& in, std::int64_t first_query, int tile_rows = kTile) {
  const std::int64_t seen = first_query + tile_rows;
  return in.causal && seen < in.keys ? seen : in.keys;
}

// Calls `run` with the smallest compiled size, as a type, that holds `size` features.
template <int size>
struct Dim {
  static constexpr int value = size;
};
template <class T, class Run>
void dispatch_dim(std::int64_t size, Run run) {
  if (size <= 64) return run(Dim<64>());
  if (size <= 128) return run(Dim<128>());
  if constexpr (sizeof(T) < 8) {
    if (size <= 256) return run(Dim<256>());
  }
  throw std::invalid_argument("attention: the size of a head is larger than the CUDA kernels hold");
}

}  // namespace nnzoo::cuda
