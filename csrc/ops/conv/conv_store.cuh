// A block's tile of results on its way from registers to an image: it goes through shared memory, so that global memory
// is written in whole lines whichever dimension of the image is adjacent there.
#pragma once

#include "ops/conv/conv_windows.cuh"

namespace nnzoo::cuda {

// How a tile is written: packs of 16 bytes along the channels or along the places of an image, or single elements, the
// places of neighbouring threads being neighbours.
enum class Store : int { channels = 0, places = 1, single = 2 };

template <class T>
struct ResultImage {
  OutputImage<T> output;
  ImageStrides strides;
  Store store;

  // `channels`: of a group. `in_lines`: the windows of a tile are neighbours in a line of the image only, else in all
  // of it; that counts where the result of a window is its neighbour's neighbour too.
  ResultImage(const OutputImage<T>& output_, const std::int64_t (&strides_)[5], std::int64_t channels,
              const Windows& windows, bool in_lines)
      : output(output_), strides(strides_), store(Store::single) {
    constexpr int kPack = kPackSize<T>;
    const auto address = [](const T* image) { return reinterpret_cast<std::uintptr_t>(image); };
    const bool aligned = (address(output.image) | address(output.before)) % 16 == 0 && strides_[0] % kPack == 0;
    const bool pixels = strides_[2] % kPack == 0 && strides_[3] % kPack == 0 && strides_[4] % kPack == 0;
    if (aligned && pixels && strides_[1] == 1 && channels % kPack == 0) store = Store::channels;
    const bool single_steps = windows.out_step[0] * windows.out_step[1] * windows.out_step[2] == 1;
    const int (&size)[3] = windows.result;
    const bool dense = strides_[3] == size[2] && strides_[2] == std::int64_t{size[1]} * size[2] &&
                       std::int64_t{size[0]} * size[1] * size[2] % kPack == 0;
    const bool lines = strides_[3] % kPack == 0 && strides_[2] % kPack == 0 && size[2] % kPack == 0;
    if (aligned && single_steps && strides_[4] == 1 && strides_[1] % kPack == 0 && (in_lines ? lines : dense))
      store = Store::places;
  }

  __device__ bool along_channels() const { return store == Store::channels; }
};

// Its columns are adjacent if the image's channels are, else its rows. 16 bytes of padding send what threads with
// neighbouring rows (or columns) write to different banks.
template <class T, int rows, int columns>
struct ResultTile {
  static constexpr int kPack = kPackSize<T>;
  static constexpr int kAlongChannels = rows * (columns + kPack);
  static constexpr int kAlongPlaces = columns * (rows + kPack);
  static constexpr int kElements = kAlongChannels > kAlongPlaces ? kAlongChannels : kAlongPlaces;
  T* tile;
  bool along_channels;

  __device__ T& at(int row, int column) const {
    return tile[along_channels ? row * (columns + kPack) + column : column * (rows + kPack) + row];
  }

  // Where in the image the sum of a window lies, channel 0; negative if nowhere.
  static __device__ std::int64_t target(const ResultImage<T>& image, const Windows& windows,
                                        const WindowClass& of_class, const Window& window) {
    bool inside = window.image < windows.batch;
    int place[3];
#pragma unroll
    for (int d = 0; d < 3; ++d) {
      place[d] = window.at[d] * windows.out_step[d] + of_class.out_begin[d];
      inside = inside && window.at[d] < windows.count[d] && place[d] < windows.result[d];
    }
    return inside ? image.strides.at(window.image, 0, place) : -1;
  }

  // Writes to `into`, an image with the strides of `image`. `window_of(row)`: the window whose sum row `row` of the
  // tile is.
  template <class WindowOf>
  __device__ void store(T* into, const ResultImage<T>& image, const Windows& windows, const WindowClass& of_class,
                        WindowOf window_of, std::int64_t first_channel, int columns_left) const {
    if (image.store == Store::channels) {
      constexpr int kPacks = columns / kPack;
      const int column = threadIdx.x % kPacks * kPack;
      if (column >= columns_left) return;
      for (int row = threadIdx.x / kPacks; row < rows; row += kProductThreads / kPacks) {
        const std::int64_t to = target(image, windows, of_class, window_of(row));
        if (to >= 0) copy<kPack>(into + to + first_channel + column, &at(row, column));
      }
    } else if (image.store == Store::places) {
      store_places<kPack>(into, image, windows, of_class, window_of, first_channel, columns_left);
    } else {
      store_places<1>(into, image, windows, of_class, window_of, first_channel, columns_left);
    }
  }

  template <int width, class WindowOf>
  __device__ void store_places(T* into, const ResultImage<T>& image, const Windows& windows,
                               const WindowClass& of_class, WindowOf window_of, std::int64_t first_channel,
                               int columns_left) const {
    constexpr int kAcross = rows / width;
    const int row = threadIdx.x % kAcross * width;
    const std::int64_t to = target(image, windows, of_class, window_of(row));
    if (to < 0) return;
    for (int column = threadIdx.x / kAcross; column < columns_left; column += kProductThreads / kAcross)
      copy<width>(into + to + (first_channel + column) * image.strides.of[1], &at(row, column));
  }

  // A warp takes a line of what is adjacent.
  __device__ void activate_all(Activation activation) const {
    const int lines = along_channels ? rows : columns;
    const int length = along_channels ? columns : rows;
#pragma unroll 1
    for (int line = threadIdx.x / 32; line < lines; line += kProductThreads / 32) {
      T* const values = tile + line * (length + kPack);
#pragma unroll 1
      for (int i = threadIdx.x % 32; i < length; i += 32) values[i] = narrow<T>(activate(activation, widen(values[i])));
    }
  }

  template <int width>
  static __device__ void copy(T* to, const T* from) {
    *reinterpret_cast<Pack<T, width>*>(to) = *reinterpret_cast<const Pack<T, width>*>(from);
  }
};

// Adds the bias of a column, if there is one, to a block's sums and writes them to the image. `shared` is no longer
// used otherwise. The argument of an activation is rounded, as stock torch rounds it.
template <class Tile, class T, class WindowOf>
__device__ void finish(const typename Tile::Sums& sums, T* shared, const T* bias, const ResultImage<T>& result,
                       const Windows& windows, const WindowClass& of_class, WindowOf window_of, std::int64_t group,
                       std::int64_t first_column, int columns) {
  const ResultTile<T, Tile::kRows, Tile::kColumns> tile{shared, result.along_channels()};
  const std::int64_t first_channel = group * columns + first_column;
  const int columns_left = static_cast<int>(min(columns - first_column, std::int64_t{Tile::kColumns}));
  sums.for_each(
      [&](int column) {
        return bias && column < columns_left ? widen(bias[first_channel + column]) : Accumulator<T>(0);
      },
      [&](int row, int column, Accumulator<T> sum, Accumulator<T> shift) {
        tile.at(row, column) = narrow<T>(sum + shift);
      });
  __syncthreads();
  if (result.output.before)
    tile.store(result.output.before, result, windows, of_class, window_of, first_channel, columns_left);
  if (result.output.activation != Activation::none) {
    __syncthreads();
    tile.activate_all(result.output.activation);
    __syncthreads();
  }
  tile.store(result.output.image, result, windows, of_class, window_of, first_channel, columns_left);
}

}  // namespace nnzoo::cuda
