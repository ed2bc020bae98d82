// Implicit GEMM on images whose channels are adjacent in memory:
//     result[window, column] = bias[column] + sum over taps, channels of image[place(window, tap), channel] *
//                                                                       weight[column, tap, channel]
// which is the output (columns: output channels) and, back through the windows, the gradient of the input.
//
// The channels of a group come in whole *units* of 4 elements (8 bytes) or 16 bytes, and a unit is one asynchronous
// copy: zeros outside the image, nothing materialised, no register in between. A block multiplies slices of 128 bytes
// of the depth, `kStages` of them on their way or in use. Where the channels fill whole slices, the depth goes through
// all taps of one slice of channels before it comes to the next: what neighbouring taps read again is then still in the
// first-level cache, which those copies pass through.
#pragma once

#include "ops/conv/conv_store.cuh"
#include "ops/conv/conv_tiles.cuh"
#include "ops/conv/conv_windows.cuh"

namespace nnzoo::cuda {

struct Product {
  Windows windows;
  std::int64_t image_strides[4];  // batch and space, in elements
  int units;                      // of a group's channels
  int columns;                    // of a group
  unsigned column_tiles, row_tiles;
};

// Where a thread's unit of the current slice lies in the depth.
struct DepthPlace {
  int unit;
  int tap[3] = {0, 0, 0};

  __device__ bool next_tap(const WindowClass& windows) {
    for (int i = 2; i > 0; --i) {
      if (++tap[i] < windows.taps[i]) return true;
      tap[i] = 0;
    }
    return ++tap[0] < windows.taps[0];
  }
  // Beyond the last tap, tap[0] stays there.
  __device__ void settle(const WindowClass& windows, int units) {
    while (unit >= units && tap[0] < windows.taps[0]) {
      unit -= units;
      next_tap(windows);
    }
  }
  template <int slice_units>
  __device__ void advance(const WindowClass& windows, int units) {
    if (units % slice_units == 0) {
      if (next_tap(windows)) return;
      tap[0] = 0;
      unit += slice_units;
    } else {
      unit += slice_units;
      settle(windows, units);
    }
  }
  __device__ bool inside(const WindowClass& windows, int units) const {
    return unit < units && tap[0] < windows.taps[0];
  }
};

template <class Math, int rows_, int columns_, int unit_>
struct ProductTile {
  using T = typename Math::Element;
  using Sums = TileSums<Math, rows_, columns_, false>;
  static constexpr int kRows = rows_;
  static constexpr int kColumns = columns_;
  static constexpr int kUnit = unit_;  // elements
  static constexpr int kUnitBytes = unit_ * static_cast<int>(sizeof(T));
  static constexpr int kUnits = 128 / kUnitBytes;  // of a slice
  static constexpr int kStageElements = (kRows + kColumns) * kSlice<T>;
  // Two blocks on a multiprocessor, whose shared memory that leaves so many stages; but doubles need the registers.
  static constexpr int kBlocks = sizeof(T) == 8 ? 1 : 2;
  static constexpr int kStages = 114688 / (kStageElements * static_cast<int>(sizeof(T))) < 4 ? 3 : 4;
  static constexpr int kRowsApart = kProductThreads / kUnits;
  static constexpr int kRowCopies = kRows / kRowsApart;
  static constexpr int kColumnCopies = kColumns / kRowsApart;

  static constexpr std::size_t shared_bytes() {
    constexpr std::size_t kPipeline = kStages * kStageElements * sizeof(T);
    constexpr std::size_t kResult = ResultTile<T, kRows, kColumns>::kElements * sizeof(T);
    return kPipeline > kResult ? kPipeline : kResult;
  }

  // Where this thread's unit of row `row` of a tile lies.
  static __device__ int place(int row) {
    constexpr int kPerPack = 16 / kUnitBytes;
    const int unit = threadIdx.x % kUnits;
    return along_place<T>(row, unit / kPerPack) + unit % kPerPack * kUnit;
  }
};

// Where the windows of a tile begin to read. In shared memory, because registers are scarce and eight threads or more
// copy for each window.
struct WindowStart {
  std::int64_t from;
  int at[3];

  __device__ WindowStart(const Product& product, const WindowClass& windows, std::int64_t first_row, int row) {
    const Window window = product.windows.find(first_row, row);
    from = window.image * product.image_strides[0];
#pragma unroll
    for (int d = 0; d < 3; ++d) {
      at[d] = window.at[d] * product.windows.step[d] + windows.begin[d];
      from += at[d] * product.image_strides[1 + d];
    }
    // Beyond the last image nothing is read.
    if (window.image >= product.windows.batch) at[0] = -(1 << 30);
  }
};

// This thread's part of the copies.
template <class Tile>
struct ProductCopies {
  using T = typename Tile::T;
  const T* image;
  const T* weight;
  const WindowStart* starts;
  DepthPlace depth;

  __device__ ProductCopies(const Product& product, const WindowClass& windows, const T* image_, const T* weight_,
                           const WindowStart* starts_)
      : image(image_), weight(weight_), starts(starts_) {
    depth.unit = threadIdx.x % Tile::kUnits;
    depth.settle(windows, product.units);
  }

  __device__ void start(const Product& product, const WindowClass& windows, T* a_tile, T* b_tile,
                        std::int64_t first_column) {
    const bool there = depth.inside(windows, product.units);
    const int channel = depth.unit * Tile::kUnit;
    int shift[3];
    std::int64_t jump = channel;
    std::int64_t tap = 0;
#pragma unroll
    for (int d = 0; d < 3; ++d) {
      shift[d] = depth.tap[d] * windows.gap[d];
      jump += shift[d] * product.image_strides[1 + d];
      tap = tap * product.windows.kernel[d] + windows.first[d] + depth.tap[d] * product.windows.tap_step[d];
    }
    const int row = threadIdx.x / Tile::kUnits;
#pragma unroll
    for (int i = 0; i < Tile::kRowCopies; ++i) {
      const WindowStart& window = starts[row + i * Tile::kRowsApart];
      bool inside = there;
#pragma unroll
      for (int d = 0; d < 3; ++d)
        inside =
            inside && static_cast<unsigned>(window.at[d] + shift[d]) < static_cast<unsigned>(product.windows.image[d]);
      cp_async_cached<Tile::kUnitBytes>(a_tile + Tile::place(row + i * Tile::kRowsApart),
                                        inside ? image + window.from + jump : image, inside ? Tile::kUnitBytes : 0);
    }
    const int channels = product.units * Tile::kUnit;
    const std::int64_t column_stride = product.windows.taps() * channels;
    const T* column = weight + (first_column + row) * column_stride + tap * channels + channel;
#pragma unroll
    for (int i = 0; i < Tile::kColumnCopies; ++i) {
      const bool inside = there && first_column + row + i * Tile::kRowsApart < product.columns;
      cp_async<Tile::kUnitBytes>(b_tile + Tile::place(row + i * Tile::kRowsApart),
                                 inside ? column + i * Tile::kRowsApart * column_stride : weight,
                                 inside ? Tile::kUnitBytes : 0);
    }
    depth.template advance<Tile::kUnits>(windows, product.units);
  }
};

template <class Tile>
__global__ void __launch_bounds__(kProductThreads, Tile::kBlocks)
    product_kernel(Product product, const typename Tile::T* image, const typename Tile::T* weight,
                   const typename Tile::T* bias, ResultImage<typename Tile::T> result) {
  using T = typename Tile::T;
  __shared__ WindowClass windows;
  __shared__ __align__(16) unsigned char start_bytes[Tile::kRows * sizeof(WindowStart)];
  auto* const starts = reinterpret_cast<WindowStart*>(start_bytes);
  // The tiles of one row of windows run side by side: they read the same part of the image.
  unsigned index = blockIdx.x;
  const std::int64_t first_column = static_cast<std::int64_t>(index % product.column_tiles) * Tile::kColumns;
  index /= product.column_tiles;
  const std::int64_t first_row = static_cast<std::int64_t>(index % product.row_tiles) * Tile::kRows;
  index /= product.row_tiles;
  const int classes = product.windows.class_count();
  const int group = index / classes;
  if (threadIdx.x < 3) product.windows.find_class(index % classes, threadIdx.x, windows);
  __syncthreads();
  if (threadIdx.x < Tile::kRows) starts[threadIdx.x] = WindowStart(product, windows, first_row, threadIdx.x);
  __syncthreads();

  T* const shared = dynamic_shared<T>();
  const int group_channels = product.units * Tile::kUnit;
  const std::int64_t taps = product.windows.taps();
  ProductCopies<Tile> copies(product, windows, image + static_cast<std::int64_t>(group) * group_channels,
                             weight + group * product.columns * taps * group_channels, starts);
  const auto start = [&](int slice) {
    T* const stage = shared + slice % Tile::kStages * Tile::kStageElements;
    copies.start(product, windows, stage, stage + Tile::kRows * kSlice<T>, first_column);
  };
  const int slices = ceil_div(windows.count() * product.units, Tile::kUnits);
  typename Tile::Sums sums;
#pragma unroll
  for (int slice = 0; slice < Tile::kStages - 1; ++slice) {
    if (slice < slices) start(slice);
    cp_async_commit();
  }
  for (int slice = 0; slice < slices; ++slice) {
    cp_async_wait<Tile::kStages - 2>();
    __syncthreads();
    if (slice + Tile::kStages - 1 < slices) start(slice + Tile::kStages - 1);
    cp_async_commit();
    const T* const stage = shared + slice % Tile::kStages * Tile::kStageElements;
    sums.multiply_along(stage, stage + Tile::kRows * kSlice<T>, [](int row) { return row; }, 8);
  }
  cp_async_wait<0>();
  __syncthreads();

  finish<Tile>(
      sums, shared, bias, result, product.windows, windows,
      [&](int row) { return product.windows.find(first_row, row); }, group, first_column, product.columns);
}

}  // namespace nnzoo::cuda
