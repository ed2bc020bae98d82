// Direct convolution of images with adjacent places: what a tile of windows reads of one slice of channels, its
// *region*, is brought into shared memory once, channels adjacent, and every tap of the kernel then multiplies it where
// it lies: row w of the left operand at tap j is the region's row place(w) + offset(j). So an image is read about once
// for all taps, nothing is laid out before, and zeros outside the image cost nothing in the loop. Weights arrive by
// asynchronous copies, a tap ahead or two. 1d, 2d and 3d alike; a tile of windows is a box whose sides are powers of
// two.
#pragma once

#include "ops/conv/conv_products.cuh"

namespace nnzoo::cuda {

struct Direct {
  Windows windows;
  ImageStrides image_strides;
  Volume region;       // places that a tile reads, in the largest class
  int sides[3];        // of the region
  int bits[3];         // of the tile's sides
  int channels;        // of a group
  int units, columns;  // of a group: packs of channels that the weight has, and what the result has
  unsigned tiles[3], column_tiles, batch;

  Direct(const Windows& windows_, const std::int64_t (&strides)[5])
      : windows(windows_), image_strides(strides), column_tiles(0), batch(static_cast<unsigned>(windows_.batch)) {}

  __device__ Window window(std::int64_t image, const int (&first)[3], int row) const {
    return {image,
            {first[0] + (row >> (bits[1] + bits[2])), first[1] + (row >> bits[2] & ((1 << bits[1]) - 1)),
             first[2] + (row & ((1 << bits[2]) - 1))}};
  }
  __device__ int place(int depth, int height, int width) const {
    return (depth * sides[1] + height) * sides[2] + width;
  }
};

template <class Math, int columns_>
struct DirectTile {
  using T = typename Math::Element;
  static constexpr int kRows = 128;
  static constexpr int kColumns = columns_;
  using Sums = TileSums<Math, kRows, kColumns, false>;
  static constexpr int kStages = 3;
  static constexpr int kStageElements = kColumns * kSlice<T>;
  static constexpr int kBlocks = sizeof(T) == 8 ? 1 : 2;
  static constexpr int kUnits = 8;  // of a slice
  static constexpr int kRowsApart = kProductThreads / kUnits;
  static constexpr std::int64_t kMostShared = (kBlocks == 2 ? 112 : 160) << 10;

  static std::int64_t shared_bytes(const Direct& call) {
    const std::int64_t pipeline = (std::int64_t{call.region.whole.divisor} * kSlice<T> + kStages * kStageElements) *
                                  static_cast<std::int64_t>(sizeof(T));
    const std::int64_t result = ResultTile<T, kRows, kColumns>::kElements * static_cast<std::int64_t>(sizeof(T));
    return pipeline > result ? pipeline : result;
  }
};

template <class Tile>
__global__ void __launch_bounds__(kProductThreads, Tile::kBlocks)
    direct_kernel(Direct call, const typename Tile::T* image, const typename Tile::T* weight,
                  const typename Tile::T* bias, ResultImage<typename Tile::T> result) {
  using T = typename Tile::T;
  constexpr int kPack = kPackSize<T>;
  __shared__ WindowClass windows;
  // The tiles of one region run side by side.
  unsigned index = blockIdx.x;
  const std::int64_t first_column = static_cast<std::int64_t>(index % call.column_tiles) * Tile::kColumns;
  index /= call.column_tiles;
  int first[3];
  for (int d = 2; d >= 0; --d) {
    first[d] = static_cast<int>(index % call.tiles[d]) << call.bits[d];
    index /= call.tiles[d];
  }
  const std::int64_t n = index % call.batch;
  index /= call.batch;
  const int classes = call.windows.class_count();
  const int group = index / classes;
  if (threadIdx.x < 3) call.windows.find_class(index % classes, threadIdx.x, windows);
  __syncthreads();

  T* const region = dynamic_shared<T>();
  T* const stages = region + call.region.whole.divisor * kSlice<T>;
  const int padded = call.units * kPack;
  const std::int64_t column_stride = call.windows.taps() * padded;
  weight +=
      (static_cast<std::int64_t>(group) * call.columns + first_column + threadIdx.x / Tile::kUnits) * column_stride;
  DepthPlace ahead{static_cast<int>(threadIdx.x % Tile::kUnits)};
  const auto next = [&](DepthPlace& depth) {
    if (depth.next_tap(windows)) return;
    depth.tap[0] = 0;
    depth.unit += Tile::kUnits;
  };
  const auto start_weights = [&](int step) {
    T* const stage = stages + step % Tile::kStages * Tile::kStageElements;
    std::int64_t tap = 0;
#pragma unroll
    for (int d = 0; d < 3; ++d)
      tap = tap * call.windows.kernel[d] + windows.first[d] + ahead.tap[d] * call.windows.tap_step[d];
    const T* const from = weight + tap * padded + ahead.unit * kPack;
    const int row = threadIdx.x / Tile::kUnits;
#pragma unroll
    for (int i = 0; i < Tile::kColumns / Tile::kRowsApart; ++i) {
      const bool inside = ahead.unit < call.units && first_column + row + i * Tile::kRowsApart < call.columns;
      cp_async<16>(stage + along_place<T>(row + i * Tile::kRowsApart, threadIdx.x % Tile::kUnits),
                   inside ? from + i * Tile::kRowsApart * column_stride : weight, inside ? 16 : 0);
    }
    next(ahead);
  };

  // Gaps go down in the gradient of the input.
  int corner[3];
#pragma unroll
  for (int d = 0; d < 3; ++d)
    corner[d] = first[d] * call.windows.step[d] + windows.begin[d] + min(0, (windows.taps[d] - 1) * windows.gap[d]);
  const auto load_region = [&](int first_channel) {
    for (unsigned i = threadIdx.x; i < call.region.whole.divisor * Tile::kUnits; i += kProductThreads) {
      const Position at = call.region.split(i);
      const int place[3] = {corner[0] + at.at[0], corner[1] + at.at[1], corner[2] + at.at[2]};
      bool inside = true;
#pragma unroll
      for (int d = 0; d < 3; ++d)
        inside = inside && static_cast<unsigned>(place[d]) < static_cast<unsigned>(call.windows.image[d]);
      const int channel = first_channel + at.outer * kPack;
      const T* from =
          image + call.image_strides.at(n, static_cast<std::int64_t>(group) * call.channels + channel, place);
      Pack<T, kPack> pack;
#pragma unroll
      for (int j = 0; j < kPack; ++j)
        pack.values[j] = inside && channel + j < call.channels ? from[j * call.image_strides.of[1]] : narrow<T>(0);
      *reinterpret_cast<Pack<T, kPack>*>(region + along_place<T>(call.place(at.at[0], at.at[1], at.at[2]), at.outer)) =
          pack;
    }
  };

  const int taps = windows.count();
  const int steps = ceil_div(call.units, Tile::kUnits) * taps;
  typename Tile::Sums sums;
  for (int step = 0; step < Tile::kStages - 1; ++step) {
    if (step < steps) start_weights(step);
    cp_async_commit();
  }
  DepthPlace now{0};
  for (int step = 0; step < steps; ++step) {
    if (now.tap[0] == 0 && now.tap[1] == 0 && now.tap[2] == 0) {
      __syncthreads();
      load_region(now.unit * kPack);
    }
    cp_async_wait<Tile::kStages - 2>();
    __syncthreads();
    if (step + Tile::kStages - 1 < steps) start_weights(step + Tile::kStages - 1);
    cp_async_commit();
    int offset[3];
#pragma unroll
    for (int d = 0; d < 3; ++d)
      offset[d] = (windows.gap[d] < 0 ? now.tap[d] - (windows.taps[d] - 1) : now.tap[d]) * windows.gap[d];
    const int shift = call.place(offset[0], offset[1], offset[2]);
    const int zero[3] = {0, 0, 0};
    sums.multiply_along(
        region, stages + step % Tile::kStages * Tile::kStageElements,
        [&](int row) {
          const Window window = call.window(0, zero, row);
          // A side may be longer than the image has windows.
          int at[3];
#pragma unroll
          for (int d = 0; d < 3; ++d) at[d] = min(window.at[d], call.windows.count[d] - 1) * call.windows.step[d];
          return shift + call.place(at[0], at[1], at[2]);
        },
        call.units - now.unit);
    next(now);
  }
  cp_async_wait<0>();
  __syncthreads();
  finish<Tile>(
      sums, region, bias, result, call.windows, windows, [&](int row) { return call.window(n, first, row); }, group,
      first_column, call.columns);
}

}  // namespace nnzoo::cuda
