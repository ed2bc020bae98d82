// Depthwise convolution of images of any layout, made for those whose places are adjacent: a block takes a tile of a
// plane, one image's one channel, brings what it reads into shared memory once, widened and with its zeros, and every
// thread sums kRowsOfThread windows of a column there. Small planes share a block.
//
// A result channel reads one channel forward, `multiplier` of them back.
#pragma once

#include "common/dtype.cuh"
#include "ops/conv/conv_windows.cuh"

namespace nnzoo::cuda {

constexpr int kRowsOfThread = 4;

struct DepthwisePlanes {
  Windows windows;
  ImageStrides image_strides, result_strides;
  int channels;                   // of the result
  int multiplier;                 // output channels of an input channel
  int columns;                    // of a tile: a power of two
  int lines;                      // threads down a tile: a power of two
  int planes;                     // tiles of a block
  int image_rows, image_columns;  // what a tile reads, in the largest class
  unsigned row_tiles, column_tiles, channel_tiles, batch;

  DepthwisePlanes(const Windows& windows_, const std::int64_t (&from)[5], const std::int64_t (&to)[5])
      : windows(windows_),
        image_strides(from),
        result_strides(to),
        image_rows(0),
        image_columns(0),
        batch(static_cast<unsigned>(windows_.batch)) {}
  __host__ __device__ int rows() const { return lines * kRowsOfThread; }
  __host__ __device__ int region() const { return image_rows * image_columns; }
};

template <class T>
__global__ void __launch_bounds__(kProductThreads, 3)
    depthwise_planes_kernel(DepthwisePlanes call, const T* image, const T* weight, const T* bias,
                            OutputImage<T> result) {
  using A = Accumulator<T>;
  __shared__ WindowClass windows;
  const Windows& all = call.windows;
  unsigned index = blockIdx.x;
  const int first_column = static_cast<int>(index % call.column_tiles) * call.columns;
  index /= call.column_tiles;
  const int first_row = static_cast<int>(index % call.row_tiles) * call.rows();
  index /= call.row_tiles;
  const int depth_window = index % all.count[0];
  index /= all.count[0];
  const int first_channel = static_cast<int>(index % call.channel_tiles) * call.planes;
  index /= call.channel_tiles;
  const std::int64_t n = index % call.batch;
  index /= call.batch;
  if (threadIdx.x < 3) all.find_class(static_cast<int>(index), threadIdx.x, windows);
  __syncthreads();

  A* const tile = dynamic_shared<A>();
  const int column = threadIdx.x % call.columns;
  const int line = threadIdx.x / call.columns % call.lines;
  const int own = threadIdx.x / (call.columns * call.lines);
  const int channel = first_channel + own;
  const bool inside = own < call.planes && channel < call.channels;
  // The upper left corner of what is read: gaps go down in the gradient of the input.
  const int corner[2] = {
      first_row * all.step[1] + windows.begin[1] + min(0, (windows.taps[1] - 1) * windows.gap[1]),
      first_column * all.step[2] + windows.begin[2] + min(0, (windows.taps[2] - 1) * windows.gap[2])};
  A sums[kRowsOfThread];
#pragma unroll
  for (int r = 0; r < kRowsOfThread; ++r) sums[r] = bias && inside ? widen(bias[channel]) : A(0);

  const int sources = all.back ? call.multiplier : 1;
  for (int source = 0; source < sources; ++source) {
    for (int j = 0; j < windows.taps[0]; ++j) {
      const int depth = depth_window * all.step[0] + windows.begin[0] + j * windows.gap[0];
      if (static_cast<unsigned>(depth) >= static_cast<unsigned>(all.image[0])) continue;
      __syncthreads();
      for (int p = 0; p < call.planes && first_channel + p < call.channels; ++p) {
        const int to_channel = first_channel + p;
        const int from_channel = all.back ? to_channel * call.multiplier + source : to_channel / call.multiplier;
        for (int i = threadIdx.x; i < call.region(); i += kProductThreads) {
          const int place[3] = {depth, corner[0] + i / call.image_columns, corner[1] + i % call.image_columns};
          const bool there = static_cast<unsigned>(place[1]) < static_cast<unsigned>(all.image[1]) &&
                             static_cast<unsigned>(place[2]) < static_cast<unsigned>(all.image[2]);
          tile[p * call.region() + i] = there ? widen(image[call.image_strides.at(n, from_channel, place)]) : A(0);
        }
      }
      __syncthreads();
      if (!inside) continue;
      const std::int64_t filter = all.back ? static_cast<std::int64_t>(channel) * call.multiplier + source : channel;
      const T* taps =
          weight + filter * all.taps() + (windows.first[0] + j * all.tap_step[0]) * all.kernel[1] * all.kernel[2];
      for (int k = 0; k < windows.taps[1]; ++k) {
        for (int l = 0; l < windows.taps[2]; ++l) {
          const A factor = widen(
              taps[(windows.first[1] + k * all.tap_step[1]) * all.kernel[2] + windows.first[2] + l * all.tap_step[2]]);
          const int row = (windows.gap[1] < 0 ? k - (windows.taps[1] - 1) : k) * windows.gap[1];
          const int at = (windows.gap[2] < 0 ? l - (windows.taps[2] - 1) : l) * windows.gap[2];
          const A* from =
              tile + own * call.region() + (line * all.step[1] + row) * call.image_columns + column * all.step[2] + at;
#pragma unroll
          for (int r = 0; r < kRowsOfThread; ++r)
            sums[r] += factor * from[r * call.lines * all.step[1] * call.image_columns];
        }
      }
    }
  }
  if (!inside) return;
  int place[3] = {depth_window * all.out_step[0] + windows.out_begin[0], 0,
                  (first_column + column) * all.out_step[2] + windows.out_begin[2]};
  if (first_column + column >= all.count[2] || place[0] >= all.result[0] || place[2] >= all.result[2]) return;
#pragma unroll
  for (int r = 0; r < kRowsOfThread; ++r) {
    const int row = first_row + line + r * call.lines;
    place[1] = row * all.out_step[1] + windows.out_begin[1];
    if (row < all.count[1] && place[1] < all.result[1]) result(call.result_strides.at(n, channel, place), sums[r]);
  }
}

}  // namespace nnzoo::cuda
