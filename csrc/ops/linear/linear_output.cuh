// What becomes of the sums of a product: bias, activation, residual and rounding, or a slice's part of the sums.
#pragma once

#include <cstring>

#include "common/activation.cuh"
#include "common/dtype.cuh"
#include "common/launch.cuh"
#include "ops/linear/linear_cuda.h"

namespace nnzoo::cuda {

inline bool is_aligned(const void* address) { return reinterpret_cast<std::uintptr_t>(address) % 16 == 0; }

// An epilogue of gemm.cuh.
template <class T>
struct Output {
  using A = Accumulator<T>;
  const T* bias;
  const T* residual;
  T* out;
  T* kept;
  A* parts;
  std::int64_t rows, columns;
  Activation activation;
  bool packed;  // rows of out and kept are whole aligned packs of 16 bytes

  explicit Output(const LinearProduct& args)
      : bias(static_cast<const T*>(args.bias)),
        residual(static_cast<const T*>(args.residual)),
        out(static_cast<T*>(args.out)),
        kept(static_cast<T*>(args.kept)),
        parts(static_cast<A*>(args.parts)),
        rows(args.rows),
        columns(args.columns),
        activation(static_cast<Activation>(args.activation)),
        packed(columns % kPackSize<T> == 0 && is_aligned(out) && is_aligned(kept)) {}

  __device__ void operator()(int slice, std::int64_t row, std::int64_t column, A sum) const {
    const std::int64_t at = row * columns + column;
    if (parts) {
      parts[slice * rows * columns + at] = sum;
      return;
    }
    if (bias) sum += widen(bias[column]);
    if (kept && needs_argument(activation)) kept[at] = narrow<T>(sum);
    A result = activate(activation, sum);
    if (kept && !needs_argument(activation)) kept[at] = narrow<T>(result);
    if (residual) result += widen(residual[at]);
    out[at] = narrow<T>(result);
  }
};

// A strip is 16 x 64 sums of one warp: of block j of 8 columns, lane l has columns 2 * (l % 4) + {0, 1} of rows l / 4
// and l / 4 + 8, as `values[4 * j]` to `values[4 * j + 3]`. mma.sync and wgmma both leave their sums so.
constexpr int kStripRows = 16;
constexpr int kStripColumns = 64;
constexpr int kStripValues = kStripRows * kStripColumns / 32;

// Where piece `chunk`, 16 bytes, of a line of 128 bytes lies: as tensor maps with a swizzle of 128 bytes have it, so
// that eight lines' pieces of the same number are in different banks. In elements of two bytes.
__device__ __forceinline__ int swizzled(int line, int chunk) {
  return line * kStripColumns + ((chunk ^ (line & 7)) << 3);
}

// Rounds a strip to shared memory, line by line swizzled.
template <class T>
__device__ __forceinline__ void put_strip(T* strip, const float (&values)[kStripValues]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < kStripValues; i += 2) {
    const int line = lane / 4 + i / 2 % 2 * 8;
    const Pack<T, 2> pair{{narrow<T>(values[i]), narrow<T>(values[i + 1])}};
    unsigned bits;
    memcpy(&bits, &pair, sizeof bits);
    *reinterpret_cast<unsigned*>(strip + swizzled(line, i / 4) + lane % 4 * 2) = bits;
  }
}

// Stores a strip from shared memory to rows and columns of `tensor` that begin at `row` and `column`.
template <class T>
__device__ __forceinline__ void store_strip(const Output<T>& to, T* tensor, const T* strip, std::int64_t row,
                                            std::int64_t column) {
  constexpr int kChunks = kStripColumns / kPackSize<T>;
#pragma unroll
  for (int i = threadIdx.x % 32; i < kStripRows * kChunks; i += 32) {
    const int line = i / kChunks;
    const std::int64_t first = column + i % kChunks * kPackSize<T>;
    if (row + line >= to.rows || first >= to.columns) continue;
    const T* const from = strip + swizzled(line, i % kChunks);
    T* const into = tensor + (row + line) * to.columns + first;
    if (to.packed) {
      *reinterpret_cast<uint4*>(into) = *reinterpret_cast<const uint4*>(from);
      continue;
    }
#pragma unroll
    for (int j = 0; j < kPackSize<T>; ++j)
      if (first + j < to.columns) into[j] = from[j];
  }
}

// Stores a strip of a slice's sums.
template <class T>
__device__ __forceinline__ void store_part(const Output<T>& to, int slice, const float (&values)[kStripValues],
                                           std::int64_t row, std::int64_t column) {
  const int lane = threadIdx.x % 32;
  const bool paired = to.columns % 2 == 0;
#pragma unroll
  for (int i = 0; i < kStripValues; i += 2) {
    const std::int64_t own_row = row + lane / 4 + i / 2 % 2 * 8;
    const std::int64_t own = column + i / 4 * 8 + lane % 4 * 2;
    if (own_row >= to.rows || own >= to.columns) continue;
    float* const into = to.parts + (slice * to.rows + own_row) * to.columns + own;
    if (paired) {
      *reinterpret_cast<Pack<float, 2>*>(into) = Pack<float, 2>{{values[i], values[i + 1]}};
    } else {
      into[0] = values[i];
      if (own + 1 < to.columns) into[1] = values[i + 1];
    }
  }
}

// Adds the residual to a strip.
template <class T>
__device__ __forceinline__ void add_residual(const Output<T>& to, float (&values)[kStripValues], std::int64_t row,
                                             std::int64_t column) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int64_t own_row = row + lane / 4 + half * 8;
    if (own_row >= to.rows) continue;
    const T* const from = to.residual + own_row * to.columns;
#pragma unroll
    for (int i = 0; i < kStripValues; i += 4) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const std::int64_t own = column + i * 2 + lane % 4 * 2 + j;
        if (own < to.columns) values[i + half * 2 + j] += widen(from[own]);
      }
    }
  }
}

// Adds the bias to a strip, activates it, and adds the residual; `store(to.kept, values)` on the way, if that is
// wanted, and `store(to.out, values)` in the end.
template <class T, class Store>
__device__ __forceinline__ void finish_strip(const Output<T>& to, float (&values)[kStripValues], std::int64_t row,
                                             std::int64_t column, const Store& store) {
  if (to.bias) {
#pragma unroll
    for (int i = 0; i < kStripValues; ++i) {
      const std::int64_t own = column + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2;
      if (own < to.columns) values[i] += widen(to.bias[own]);
    }
  }
  if (to.kept && needs_argument(to.activation)) store(to.kept, values);
  activate_all<4>(to.activation, values);
  if (to.kept && !needs_argument(to.activation)) store(to.kept, values);
  if (to.residual) add_residual(to, values, row, column);
  store(to.out, values);
}

}  // namespace nnzoo::cuda
