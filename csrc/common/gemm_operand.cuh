// The operands of gemm.cuh: matrices seen as [rows, depth], loaded a pack of neighbours at a time.
//
// An operand has `rows`, `depth`, `along_depth`, `load<count>(row, k)`, and `batch(index)` for that of one of several
// products that are computed at once.
#pragma once

#include <cstdint>

#include "common/dtype.cuh"

namespace nnzoo {

// A [rows, depth] operand in memory with any strides.
template <class T>
struct StridedOperand {
  using Element = T;
  const T* data;
  std::int64_t rows;
  std::int64_t depth;
  std::int64_t row_stride;
  std::int64_t depth_stride;
  std::int64_t batch_stride = 0;
  bool along_depth;  // neighbours in memory are neighbours in depth, else in rows
  bool packed;       // and every pack of them is aligned

  StridedOperand(const void* data_, std::int64_t rows_, std::int64_t depth_, std::int64_t row_stride_,
                 std::int64_t depth_stride_)
      : data(static_cast<const T*>(data_)),
        rows(rows_),
        depth(depth_),
        row_stride(row_stride_),
        depth_stride(depth_stride_),
        along_depth(depth_stride_ == 1 || row_stride_ != 1) {
    const std::int64_t unit = along_depth ? depth_stride : row_stride;
    const std::int64_t other = along_depth ? row_stride : depth_stride;
    const bool aligned = reinterpret_cast<std::uintptr_t>(data) % sizeof(Pack<T, kPackSize<T>>) == 0;
    packed = unit == 1 && other % kPackSize<T> == 0 && aligned;
  }

  // The operand of one of several products that are computed at once.
  __device__ StridedOperand batch(int index) const {
    StridedOperand own = *this;
    own.data += index * batch_stride;
    return own;
  }

  // Elements (row, k), (row, k + 1) ... or, unless `along_depth`, (row, k), (row + 1, k) ...; zeros outside.
  template <int count>
  __device__ Pack<T, count> load(std::int64_t row, std::int64_t k) const {
    const std::int64_t left = row < rows && k < depth ? (along_depth ? depth - k : rows - row) : 0;
    const std::int64_t stride = along_depth ? depth_stride : row_stride;
    const T* from = data + row * row_stride + k * depth_stride;
    if (packed && left >= count) return *reinterpret_cast<const Pack<T, count>*>(from);
    Pack<T, count> pack;
#pragma unroll
    for (int i = 0; i < count; ++i) pack.values[i] = i < left ? from[i * stride] : narrow<T>(0);
    return pack;
  }
};

// An operand whose elements are found one by one: `value(row, k)` for rows and k below `rows` and `depth`, which are
// less than 2^31. `value.batch(index)` gives that of one of several products.
template <class T, class Value>
struct ComputedOperand {
  using Element = T;
  Value value;
  std::int64_t rows;
  std::int64_t depth;
  bool along_depth;

  __device__ ComputedOperand batch(int index) const { return {value.batch(index), rows, depth, along_depth}; }

  template <int count>
  __device__ Pack<T, count> load(std::int64_t row, std::int64_t k) const {
    Pack<T, count> pack;
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const std::int64_t r = along_depth ? row : row + i;
      const std::int64_t j = along_depth ? k + i : k;
      pack.values[i] = r < rows && j < depth ? value(static_cast<unsigned>(r), static_cast<unsigned>(j)) : narrow<T>(0);
    }
    return pack;
  }
};

}  // namespace nnzoo
