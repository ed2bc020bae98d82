// How a block of the persistent kernels multiplies its weights, which stay on the chip, with a tile of 8 sequences in
// shared memory: on the tensor cores for 16-bit types, else by multiply-adds.
#pragma once

#include <type_traits>

#include "common/math.cuh"
#include "common/mma.cuh"
#include "ops/lstm/lstm_persistent.cuh"

namespace nnzoo::cuda {

// The row of w_hh behind row `row` of a block, or -1 beyond the hidden units.
__device__ inline std::int64_t weight_row(int row, int rank, int hidden) {
  const int unit = rank * kUnits + row % kUnits;
  return unit < hidden ? static_cast<std::int64_t>(row / kUnits) * hidden + unit : -1;
}

template <class T>
__device__ T weight_at(const T* w_hh, std::int64_t row, int column, int hidden) {
  return row >= 0 && column < hidden ? w_hh[row * hidden + column] : narrow<T>(0);
}

// Two elements in a register. As `volatile` they are joined here, once: left alone, nvcc keeps them apart, in twice the
// registers, and joins them before each use.
template <class T>
__device__ std::uint32_t pair_of(T low, T high) {
  const Pack<T, 2> pair{{low, high}};
  std::uint32_t bits;
  memcpy(&bits, &pair, sizeof(bits));
#ifndef NNZOO_CUEMU
  asm volatile("mov.b32 %0, %0;" : "+r"(bits));
#endif
  return bits;
}

// The weights of a wide state that the registers don't hold: as many again, in shared memory. A thread reads only its
// own, 16 bytes at a time, its neighbours' beside them.
template <class T, bool wide>
class SharedWeights {
 public:
  static constexpr std::size_t kBytes = wide ? kPersistentThreads * kWeightBytes : 0;
  using Packed = Pack<T, kPackSize<T>>;

  __device__ explicit SharedWeights(void* memory) : packs_(static_cast<Packed*>(memory) + threadIdx.x) {}
  // Elements j .. j + kPackSize - 1 of this thread's.
  __device__ Packed& pack(int j) const { return packs_[j / kPackSize<T> * kPersistentThreads]; }

 private:
  Packed* packs_;
};

// Multiply-adds: thread t has row t % 128 and the t / 128-th half of the depth. `depth` is a multiple of 16. If `wide`,
// the second half of that is in shared memory.
template <class T, bool wide>
struct GateMath {
  static constexpr int kParts = 2;
  static constexpr int kDepth = kWeightBytes / static_cast<int>(sizeof(T));
  static constexpr int kPack = kPackSize<T>;
  using Shared = SharedWeights<T, wide>;
  T weights[kDepth];
  Shared more;
  int half, first, row, part;

  __device__ explicit GateMath(void* memory) : more(memory) {}

  __device__ void load(const T* w_hh, int rank, int hidden, int depth) {
    half = depth / 2;
    row = threadIdx.x % kGateRows;
    part = threadIdx.x / kGateRows;
    first = part * half;
    const std::int64_t from = weight_row(row, rank, hidden);
#pragma unroll
    for (int j = 0; j < kDepth; ++j) weights[j] = j < half ? weight_at(w_hh, from, first + j, hidden) : T(0);
    if constexpr (wide) {
      for (int j = kDepth; j < half; j += kPack)
        for (int i = 0; i < kPack; ++i) more.pack(j - kDepth).values[i] = weight_at(w_hh, from, first + j + i, hidden);
    }
  }

  // sums[part][batch][row] = weights * h, of h [8][pitch]
  __device__ void multiply(const T* h, int pitch, T* sums) const {
    T total[kBatchTile] = {};
    const auto add = [&](int j, const T* own) {
#pragma unroll
      for (int b = 0; b < kBatchTile; ++b) {
        const auto values = *reinterpret_cast<const Pack<T, kPack>*>(h + b * pitch + first + j);
#pragma unroll
        for (int i = 0; i < kPack; ++i) total[b] = multiply_add(own[i], values.values[i], total[b]);
      }
    };
#pragma unroll
    for (int j = 0; j < kDepth; j += kPack)
      if (j < half) add(j, weights + j);
    if constexpr (wide) {
#pragma unroll 2
      for (int j = kDepth; j < half; j += kPack) {
        const typename Shared::Packed own = more.pack(j - kDepth);
        add(j, own.values);
      }
    }
#pragma unroll
    for (int b = 0; b < kBatchTile; ++b) sums[(part * kBatchTile + b) * kSumsPitch + row] = total[b];
  }
};

// Tensor cores: warp w has rows 16 w to 16 w + 15. Four sums side by side hide the latency of mma.
template <class T>
struct TensorGateMath {
  static constexpr int kParts = 1;
  static constexpr int kSlices = kWeightBytes / 16;  // of 16 along the depth, 4 registers each
  using Shared = SharedWeights<T, false>;
  std::uint32_t weights[kSlices][4];
  int slices, row;

  __device__ explicit TensorGateMath(void*) {}

  __device__ void load(const T* w_hh, int rank, int hidden, int depth) {
    slices = depth / 16;
    const int lane = threadIdx.x % 32;
    row = static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4;
#pragma unroll
    for (int s = 0; s < kSlices; ++s) {
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        const std::int64_t from = s < slices ? weight_row(row + part % 2 * 8, rank, hidden) : -1;
        const int k = s * 16 + lane % 4 * 2 + part / 2 * 8;
        weights[s][part] = pair_of(weight_at(w_hh, from, k, hidden), weight_at(w_hh, from, k + 1, hidden));
      }
    }
  }

  __device__ void multiply(const T* h, int pitch, float* sums) const {
    const int lane = threadIdx.x % 32;
    float total[4][4] = {};
#pragma unroll
    for (int s = 0; s < kSlices; s += 2) {
      if (s < slices) {
        std::uint32_t b[4];
        ldmatrix_x4(b, h + lane % 8 * pitch + s * 16 + lane / 8 * 8);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const std::uint32_t part[2] = {b[2 * i], b[2 * i + 1]};
          float (&sum)[4] = total[(s + i) % 4];
          mma_m16n8k16(sum, weights[s + i], part, sum, T());
        }
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
      sums[(lane % 4 * 2 + i % 2) * kSumsPitch + row + i / 2 * 8] =
          (total[0][i] + total[1][i]) + (total[2][i] + total[3][i]);
  }
};

// Backward: the part of dh that comes from this block's rows, for all hidden units of the direction. `store(unit,
// batch, part, sums)` receives it, two neighbouring sequences at a time.
template <class T, bool wide>
struct DeltaMath {
  static constexpr int kRows = kWeightBytes / static_cast<int>(sizeof(T));
  static constexpr int kParts = kGateRows / kRows;  // threads that share a unit's rows
  static constexpr int kUnitsAtOnce = kPersistentThreads / kParts;
  static constexpr int kPack = kPackSize<T>;
  using Shared = SharedWeights<T, wide>;
  T weights[kRows];
  Shared more;  // of unit `unit` + kUnitsAtOnce
  int unit, part;

  __device__ explicit DeltaMath(void* memory) : more(memory) {}

  __device__ void load(const T* w_hh, int rank, int hidden, int) {
    unit = threadIdx.x % kUnitsAtOnce;
    part = threadIdx.x / kUnitsAtOnce;
#pragma unroll
    for (int j = 0; j < kRows; ++j)
      weights[j] = weight_at(w_hh, weight_row(part * kRows + j, rank, hidden), unit, hidden);
    if constexpr (wide) {
      for (int j = 0; j < kRows; ++j)
        more.pack(j).values[j % kPack] =
            weight_at(w_hh, weight_row(part * kRows + j, rank, hidden), unit + kUnitsAtOnce, hidden);
    }
  }

  // Of deltas [8][pitch].
  template <class Store>
  __device__ void multiply(const T* deltas, int pitch, int depth, Store store) const {
    if (unit < depth) multiply_with(unit, deltas, pitch, store, [&](int j) { return weights + j; });
    if constexpr (wide) {
      if (unit + kUnitsAtOnce >= depth) return;
      typename Shared::Packed own;
      multiply_with(unit + kUnitsAtOnce, deltas, pitch, store, [&](int j) {
        own = more.pack(j);
        return own.values;
      });
    }
  }

 private:
  template <class Store, class Weights>
  __device__ void multiply_with(int of_unit, const T* deltas, int pitch, Store store, Weights weights_at) const {
    T total[kBatchTile] = {};
#pragma unroll
    for (int j = 0; j < kRows; j += kPack) {
      const T* const own = weights_at(j);
#pragma unroll
      for (int b = 0; b < kBatchTile; ++b) {
        const auto values = *reinterpret_cast<const Pack<T, kPack>*>(deltas + b * pitch + part * kRows + j);
#pragma unroll
        for (int i = 0; i < kPack; ++i) total[b] = multiply_add(own[i], values.values[i], total[b]);
      }
    }
#pragma unroll
    for (int b = 0; b < kBatchTile; b += 2) store(of_unit, b, part, Pack<T, 2>{{total[b], total[b + 1]}});
  }
};

// Tensor cores: warp w has units 64 w to 64 w + 63, in four tiles.
template <class T>
struct TensorDeltaMath {
  static constexpr int kParts = 1;
  static constexpr int kTiles = 4;
  static constexpr int kSlices = kGateRows / 16;
  using Shared = SharedWeights<T, false>;
  std::uint32_t weights[kTiles][kSlices][4];
  int unit;

  __device__ explicit TensorDeltaMath(void*) {}

  __device__ void load(const T* w_hh, int rank, int hidden, int) {
    const int lane = threadIdx.x % 32;
    unit = static_cast<int>(threadIdx.x) / 32 * 64 + lane / 4;
#pragma unroll
    for (int s = 0; s < kSlices; ++s) {
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
#pragma unroll
        for (int part = 0; part < 4; ++part) {
          const int column = unit + m * 16 + part % 2 * 8;
          const int row = s * 16 + lane % 4 * 2 + part / 2 * 8;
          weights[m][s][part] = pair_of(weight_at(w_hh, weight_row(row, rank, hidden), column, hidden),
                                        weight_at(w_hh, weight_row(row + 1, rank, hidden), column, hidden));
        }
      }
    }
  }

  template <class Store>
  __device__ void multiply(const T* deltas, int pitch, int depth, Store store) const {
    const int lane = threadIdx.x % 32;
    float total[kTiles][4] = {};
#pragma unroll
    for (int s = 0; s < kSlices; s += 2) {
      std::uint32_t b[4];
      ldmatrix_x4(b, deltas + lane % 8 * pitch + s * 16 + lane / 8 * 8);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const std::uint32_t part[2] = {b[2 * i], b[2 * i + 1]};
#pragma unroll
        for (int m = 0; m < kTiles; ++m) mma_m16n8k16(total[m], weights[m][s + i], part, total[m], T());
      }
    }
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int at = unit + m * 16 + i * 8;
        if (at < depth) store(at, lane % 4 * 2, 0, Pack<float, 2>{{total[m][2 * i], total[m][2 * i + 1]}});
      }
    }
  }
};

template <class T, bool wide>
using DeltaMathOf = std::conditional_t<sizeof(T) == 2, TensorDeltaMath<T>, DeltaMath<T, wide>>;

template <class T, bool wide>
using GateMathOf = std::conditional_t<sizeof(T) == 2, TensorGateMath<T>, GateMath<T, wide>>;

}  // namespace nnzoo::cuda
