// The gradient of the weight, on images whose channels are adjacent in memory:
//     partial[part, row, tap, channel] = sum over the pixels of `part` of grad[pixel, row] * image[place(pixel, tap),
//     channel]
// A block takes a tile of (row) x (tap, channel) and one of the parts into which the pixels are cut, because the tiles
// alone are often too few to fill the GPU. Both operands lie across the depth. The parts are added up in their order by
// `sum_parts_kernel`, which also puts the taps last and rounds: no atomics, the same bits in every run.
#pragma once

#include "ops/conv/conv_images.cuh"
#include "ops/conv/conv_tiles.cuh"
#include "ops/conv/conv_windows.cuh"

namespace nnzoo::cuda {

struct WeightProduct {
  Windows windows;  // forward
  std::int64_t grad_strides[4], image_strides[4];
  std::int64_t part_pixels;
  int rows;                          // output channels of a group
  int grad_channels;                 // the same in whole packs, as they lie in memory
  int units;                         // of a group's input channels
  unsigned row_tiles, column_tiles;  // of a group
  unsigned groups;
};

template <class Math, int rows_, int columns_, int unit_>
struct WeightTile {
  using T = typename Math::Element;
  using Sums = TileSums<Math, rows_, columns_, true>;
  static constexpr int kRows = rows_;
  static constexpr int kColumns = columns_;
  static constexpr int kUnit = unit_;
  static constexpr int kStageElements = (kRows + kColumns) * kSlice<T>;
  // Sums of 128 x 128 and the places of two operands don't fit in 128 registers: one block, of as many stages.
  static constexpr int kBlocks = sizeof(T) == 8 || kColumns > 64 ? 1 : 2;
  static constexpr int kStages = 4;
  static constexpr std::size_t shared_bytes() { return kStages * kStageElements * sizeof(T); }
};

// The copies of one operand: `width` elements of a step of the depth in units of `unit`.
template <class T, int width, int unit>
struct AcrossCopies {
  static constexpr int kBytes = unit * static_cast<int>(sizeof(T));
  static constexpr int kUnits = width / unit;
  static constexpr int kStepsApart = kProductThreads / kUnits;
  static constexpr int kCopies = kSlice<T> / kStepsApart;

  static __device__ int unit_of_thread() { return threadIdx.x % kUnits; }
  static __device__ int step(int i) { return threadIdx.x / kUnits + i * kStepsApart; }
  static __device__ T* place(T* tile, int i) {
    constexpr int kPerPack = 16 / kBytes;
    return tile + across_place<T, width>(step(i), unit_of_thread() / kPerPack) + unit_of_thread() % kPerPack * unit;
  }
  static __device__ void start(T* tile, int i, const T* from, bool there, const T* anywhere) {
    cp_async<kBytes>(place(tile, i), there ? from : anywhere, there ? kBytes : 0);
  }
};

// Where the operands of a pixel lie: grad negative and corner far outside beyond the part.
struct PixelPlace {
  std::int64_t grad;
  std::int64_t image;
  int corner[3];
};

// The pixels of a part. Each slice's are found one slice ahead, by as many threads, for all copies of the block.
struct PartPixels {
  std::int64_t first_image;
  unsigned first_pixel;
  int count;

  PartPixels() = default;
  __device__ PartPixels(const WeightProduct& product, std::int64_t part) {
    const std::int64_t begin = part * product.part_pixels;
    const std::int64_t left = product.windows.rows() - begin;
    count = static_cast<int>(left < product.part_pixels ? left : product.part_pixels);
    first_image = begin / product.windows.windows.whole.divisor;
    first_pixel = static_cast<unsigned>(begin - first_image * product.windows.windows.whole.divisor);
  }

  __device__ PixelPlace place(const WeightProduct& product, int step) const {
    if (step >= count) return {-1, 0, {-(1 << 30), 0, 0}};
    const Position at = product.windows.windows.split(first_pixel + step);
    PixelPlace found{
        (first_image + at.outer) * product.grad_strides[0], (first_image + at.outer) * product.image_strides[0], {}};
#pragma unroll
    for (int d = 0; d < 3; ++d) {
      found.corner[d] = at.at[d] * product.windows.step[d];
      found.grad += at.at[d] * product.grad_strides[1 + d];
      found.image += found.corner[d] * product.image_strides[1 + d];
    }
    return found;
  }
};

template <class Tile>
__global__ void __launch_bounds__(kProductThreads, Tile::kBlocks)
    weight_product_kernel(WeightProduct product, const typename Tile::T* grad, const typename Tile::T* image,
                          Accumulator<typename Tile::T>* partial) {
  using T = typename Tile::T;
  using GradCopies = AcrossCopies<T, Tile::kRows, kPackSize<T>>;
  using ImageCopies = AcrossCopies<T, Tile::kColumns, Tile::kUnit>;
  const Windows& windows = product.windows;
  __shared__ PartPixels part_pixels;
  __shared__ PixelPlace pixels[2][kSlice<T>];
  // The tiles of one part run side by side: they read the same pixels.
  unsigned index = blockIdx.x;
  const int first_row = static_cast<int>(index % product.row_tiles) * Tile::kRows;
  index /= product.row_tiles;
  const std::int64_t first_column = static_cast<std::int64_t>(index % product.column_tiles) * Tile::kColumns;
  index /= product.column_tiles;
  const int group = index % product.groups;
  const std::int64_t part = index / product.groups;

  if (threadIdx.x == 0) part_pixels = PartPixels(product, part);
  __syncthreads();

  // This thread's row of grad and its (tap, channel) of the image.
  const int row = first_row + GradCopies::unit_of_thread() * kPackSize<T>;
  const bool row_inside = row < product.grad_channels;
  const T* const grad_rows = grad + static_cast<std::int64_t>(group) * product.grad_channels + row;
  const unsigned unit = static_cast<unsigned>(first_column / Tile::kUnit) + ImageCopies::unit_of_thread();
  unsigned tap = unit / product.units;
  const bool tap_inside = tap < windows.taps();
  const T* columns = image + (static_cast<std::int64_t>(group) * product.units + unit % product.units) * Tile::kUnit;
  int shift[3];
#pragma unroll
  for (int d = 2; d >= 0; --d) {
    shift[d] = static_cast<int>(tap % windows.kernel[d]) * windows.dilation[d] - windows.padding[d];
    tap /= windows.kernel[d];
    columns += shift[d] * product.image_strides[1 + d];
  }

  T* const shared = dynamic_shared<T>();
  const auto find_pixels = [&](int slice) {
    if (threadIdx.x < kSlice<T>)
      pixels[slice % 2][threadIdx.x] = part_pixels.place(product, slice * kSlice<T> + threadIdx.x);
  };
  const auto start = [&](int slice) {
    T* const stage = shared + slice % Tile::kStages * Tile::kStageElements;
#pragma unroll
    for (int i = 0; i < GradCopies::kCopies; ++i) {
      const std::int64_t from = pixels[slice % 2][GradCopies::step(i)].grad;
      GradCopies::start(stage, i, grad_rows + from, row_inside && from >= 0, grad);
    }
#pragma unroll
    for (int i = 0; i < ImageCopies::kCopies; ++i) {
      const PixelPlace& pixel = pixels[slice % 2][ImageCopies::step(i)];
      bool inside = tap_inside;
#pragma unroll
      for (int d = 0; d < 3; ++d)
        inside = inside && static_cast<unsigned>(pixel.corner[d] + shift[d]) < static_cast<unsigned>(windows.image[d]);
      ImageCopies::start(stage + Tile::kRows * kSlice<T>, i, columns + pixel.image, inside, image);
    }
  };
  const int slices = ceil_div(part_pixels.count, kSlice<T>);
  typename Tile::Sums sums;
  find_pixels(0);
  __syncthreads();
  for (int slice = 0; slice < Tile::kStages - 1; ++slice) {
    if (slice < slices) start(slice);
    cp_async_commit();
    find_pixels(slice + 1);
    __syncthreads();
  }
  for (int slice = 0; slice < slices; ++slice) {
    cp_async_wait<Tile::kStages - 2>();
    __syncthreads();
    if (slice + Tile::kStages - 1 < slices) start(slice + Tile::kStages - 1);
    cp_async_commit();
    find_pixels(slice + Tile::kStages);
    const T* const stage = shared + slice % Tile::kStages * Tile::kStageElements;
    sums.multiply_across(stage, stage + Tile::kRows * kSlice<T>);
  }

  const std::int64_t depth = windows.taps() * product.units * Tile::kUnit;
  Accumulator<T>* const result =
      partial + ((part * product.groups + group) * product.rows + first_row) * depth + first_column;
  sums.for_each([&](int column) { return first_column + column < depth; },
                [&](int row, int column, Accumulator<T> sum, bool inside) {
                  if (inside && first_row + row < product.rows) result[row * depth + column] = sum;
                });
}

// result[row, channel, tap] = sum over parts of partial[part, row, tap, channel], which has `padded` channels.
template <class T>
__global__ void __launch_bounds__(kProductThreads)
    sum_parts_kernel(const Accumulator<T>* partial, T* result, std::int64_t parts, std::int64_t rows, std::int64_t taps,
                     std::int64_t padded, std::int64_t channels) {
  const std::int64_t count = rows * taps * padded;
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * kProductThreads;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kProductThreads + threadIdx.x; i < count;
       i += threads) {
    const std::int64_t channel = i % padded;
    if (channel >= channels) continue;
    const std::int64_t tap = i / padded % taps;
    const std::int64_t row = i / padded / taps;
    Accumulator<T> sum = partial[i];
    for (std::int64_t part = 1; part < parts; ++part) sum += partial[part * count + i];
    result[(row * channels + channel) * taps + tap] = narrow<T>(sum);
  }
}

}  // namespace nnzoo::cuda
