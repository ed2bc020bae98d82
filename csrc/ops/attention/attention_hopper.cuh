// What the forward kernel for Hopper is made of: where tiles lie in shared memory, the two products of a warpgroup, and
// the online softmax between them.
//
// A block has two warpgroups with 64 queries each, and one whose first thread loads. Thread t of a warpgroup has of its
// products the rows 16 * (t / 32) + t % 32 / 4 + {0, 8} and of every 8 columns two (wgmma.cuh): four lanes share a row,
// and the same registers, rounded, are the left operand of the next product.
#pragma once

#include "common/bulk_copy.cuh"
#include "common/wgmma.cuh"
#include "ops/attention/attention_fragments.cuh"

namespace nnzoo::cuda::hopper {

constexpr int kWarpgroup = 128;
constexpr int kConsumers = 2;  // warpgroups
constexpr int kThreads = (kConsumers + 1) * kWarpgroup;
constexpr int kGroupRows = 64;                  // of a warpgroup
constexpr int kRows = kConsumers * kGroupRows;  // of a block
constexpr int kChunk = 64;                      // features in a box: 128 bytes, what the swizzle spans
constexpr int kStages = 2;
constexpr unsigned kEmptyArrivals = kConsumers * kWarpgroup / 32;

// Keys of a tile: 128 where the registers hold the sums (dim / 2), the scores (64) and the weights (32), and what a
// mask or dropout (`general`) needs beside; else 64.
template <int dim, bool general>
constexpr int kKeys = dim <= 64 || (dim <= 128 && !general) ? 128 : 64;

// Boxes of 64 features lie one after the other. Each is [rows][64], its pieces of 16 bytes swizzled.
template <class T, int dim, int tile_keys>
struct Memory {
  alignas(1024) T queries[kConsumers][dim / kChunk][kGroupRows][kChunk];  // of a warpgroup, and then its output
  alignas(1024) T keys[kStages][dim / kChunk][tile_keys][kChunk];
  alignas(1024) T values[kStages][dim / kChunk][tile_keys][kChunk];
  std::uint64_t queries_full;
  std::uint64_t keys_full[kStages], keys_empty[kStages], values_full[kStages], values_empty[kStages];
};

// The barriers of whose turn it is to start products, one for each warpgroup, and those of a warpgroup alone.
constexpr unsigned kTurn = 1;
constexpr unsigned kAlone = kTurn + kConsumers;

__device__ inline void take_turn(int group) { named_barrier_sync(kTurn + group, kConsumers * kWarpgroup); }
__device__ inline void give_turn(int group) { named_barrier_arrive(kTurn + 1 - group, kConsumers * kWarpgroup); }

// The warps of both warpgroups have read the tile.
__device__ inline void release(std::uint64_t* empty) {
  __syncwarp();
  if (threadIdx.x % 32 == 0) mbarrier_arrive(empty);
}

// Starts scores = queries @ keys^T.
template <int dim, int tile_keys, class T>
__device__ __forceinline__ void start_scores(float (&scores)[tile_keys / 2], const T* queries, const T* keys) {
  wgmma_fence();
#pragma unroll
  for (int k = 0; k < dim; k += 16) {
    const int chunk = k / kChunk;
    const int within = k % kChunk;
    wgmma<tile_keys>(
        scores, wgmma_descriptor(queries + chunk * kGroupRows * kChunk + within, 16, 1024, WgmmaSwizzle::bytes_128),
        wgmma_descriptor(keys + chunk * tile_keys * kChunk + within, 16, 1024, WgmmaSwizzle::bytes_128), k > 0, T());
  }
  wgmma_commit();
}

// Starts sums += weights @ values. The values have their features side by side: the transposed operand.
template <int dim, int tile_keys, class T>
__device__ __forceinline__ void start_sums(float (&sums)[dim / 2], const std::uint32_t (&weights)[tile_keys / 16][4],
                                           const T* values) {
  constexpr unsigned kNextChunk = tile_keys * kChunk * sizeof(T);
  wgmma_fence();
#pragma unroll
  for (int k = 0; k < tile_keys; k += 16)
    wgmma<dim, true>(sums, weights[k / 16],
                     wgmma_descriptor(values + k * kChunk, kNextChunk, 1024, WgmmaSwizzle::bytes_128), true, T());
  wgmma_commit();
}

// exp(x), within 2 units in the last place.
__device__ __forceinline__ float fast_exponential(float x) {
  constexpr float kLog2E = 1.44269504f;
#ifdef NNZOO_CUEMU
  return exp2f(x * kLog2E);
#else
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x * kLog2E));
  return result;
#endif
}

// What a thread keeps of its two queries.
struct Running {
  std::int64_t batch, head, first_row;  // of the lower query; the other is 8 rows below
  float best[2] = {-INFINITY, -INFINITY};
  float total[2] = {};

  // Turns the products of a tile, whose first key is `first`, into weights, and returns in `decay` what the sums so far
  // are to be multiplied with. `general`: with a mask or dropout.
  template <bool general, int count>
  __device__ __forceinline__ void soften(float (&scores)[count], float (&decay)[2], const AttentionInputs& in,
                                         const Dropout& dropout, std::int64_t first) {
    const int column = threadIdx.x % 4 * 2;
    const auto scale = static_cast<float>(in.scale);
    if constexpr (general) {
#pragma unroll
      for (int i = 0; i < count; ++i)
        scores[i] = score_of(in, batch, head, first_row + i / 2 % 2 * 8, first + i / 4 * 8 + column + i % 2, scores[i]);
    } else {
#pragma unroll
      for (int i = 0; i < count; ++i) scores[i] *= scale;
      // Only the last tile, and with `causal` those at the diagonal, hide keys.
      const std::int64_t seen = in.causal && first_row + 1 < in.keys ? first_row + 1 : in.keys;
      if (first + count * 2 > seen) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const std::int64_t last = in.causal && seen + half * 8 < in.keys ? seen + half * 8 : in.keys;
          const int visible = static_cast<int>(last - first < count * 2 ? last - first : count * 2);
#pragma unroll
          for (int j = 0; j < count; j += 4) {
#pragma unroll
            for (int i = 0; i < 2; ++i)
              if (j * 2 + column + i >= visible) scores[j + half * 2 + i] = -INFINITY;
          }
        }
      }
    }
    float tile_best[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int i = 0; i < count; ++i) tile_best[i / 2 % 2] = fmaxf(tile_best[i / 2 % 2], scores[i]);
    float shift[2];
    float tile_total[2] = {};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float now = fmaxf(best[half], warp_reduce<Max, 4>(tile_best[half]));
      // Before the first visible key there is nothing to subtract: exp(-inf) is 0, exp(-inf - -inf) is not.
      shift[half] = now == -INFINITY ? 0.0f : now;
      decay[half] = fast_exponential(best[half] - shift[half]);
      best[half] = now;
    }
#pragma unroll
    for (int i = 0; i < count; ++i) {
      scores[i] = fast_exponential(scores[i] - shift[i / 2 % 2]);
      tile_total[i / 2 % 2] += scores[i];
    }
    if (general && dropout.threshold > 0) {
#pragma unroll
      for (int i = 0; i < count; ++i)
        scores[i] *=
            kept_factor<float>(in, dropout, batch, head, first_row + i / 2 % 2 * 8, first + i / 4 * 8 + column + i % 2);
    }
#pragma unroll
    for (int half = 0; half < 2; ++half)
      total[half] = total[half] * decay[half] + warp_reduce<Sum, 4>(tile_total[half]);
  }
};

// The weights, rounded, as the left operand of the next product.
template <class T, int count>
__device__ __forceinline__ void pack_weights(std::uint32_t (&weights)[count / 8][4], const float (&scores)[count]) {
#pragma unroll
  for (int i = 0; i < count; i += 2) weights[i / 8][i % 8 / 2] = pack_pair<T>(scores[i], scores[i + 1]);
}

// Where element (row, column) of a box lies: 16-byte pieces are numbered by exclusive or with the row.
__device__ inline int swizzled(int row, int column) { return row * kChunk + ((column / 8 ^ row % 8) * 8 | column % 8); }

}  // namespace nnzoo::cuda::hopper
