// The gradient of a depthwise weight, on images with adjacent channels: partial[part, tap, channel] = sum over the
// pixels of `part` of grad[pixel, channel] * image[place(pixel, tap), channel]. A thread sums 3 x 3 taps of its pack
// over every pixel that is its lane's; then the lanes of a block are added up.
#pragma once

#include "ops/conv/conv_depthwise_packs.cuh"

namespace nnzoo::cuda {

constexpr int kTapLines = 3;
constexpr int kTapsOfLine = 3;
constexpr int kTapTile = kTapLines * kTapsOfLine;

struct DepthwiseWeight {
  Windows windows;  // forward
  std::int64_t grad_strides[4], image_strides[4];
  std::int64_t part_pixels;
  int channels;
  int packs_across;  // of a block: a power of two, at most 32
  unsigned channel_tiles, line_tiles, tap_tiles;
};

template <class T>
__global__ void __launch_bounds__(kProductThreads)
    depthwise_weight_kernel(DepthwiseWeight call, const T* grad, const T* image, Accumulator<T>* partial) {
  constexpr int kPack = kPackSize<T>;
  __shared__ Accumulator<T> scratch[kProductThreads * kPack];
  const Windows& windows = call.windows;
  unsigned index = blockIdx.x;
  const unsigned channel_tile = index % call.channel_tiles;
  index /= call.channel_tiles;
  const int first_tap = index % call.tap_tiles * kTapsOfLine;
  index /= call.tap_tiles;
  const int first_line = index % call.line_tiles * kTapLines;
  const std::int64_t part = index / call.line_tiles;

  const int lanes = kProductThreads / call.packs_across;
  const int lane = threadIdx.x / call.packs_across;
  const int channel = (channel_tile * call.packs_across + threadIdx.x % call.packs_across) * kPack;
  const std::int64_t begin = part * call.part_pixels;
  const std::int64_t left = windows.rows() - begin;
  const int pixels = static_cast<int>(left < call.part_pixels ? left : call.part_pixels);
  const std::int64_t first_image = begin / windows.windows.whole.divisor;
  const unsigned first_pixel = static_cast<unsigned>(begin - first_image * windows.windows.whole.divisor);
  const int lines = windows.kernel[0] * windows.kernel[1];

  PackSums<T> sums[kTapTile] = {};
  for (int i = lane; i < pixels && channel < call.channels; i += lanes) {
    const Position at = windows.windows.split(first_pixel + i);
    const std::int64_t n = first_image + at.outer;
    Accumulator<T> factor[kPack];
    widen_pack(grad + n * call.grad_strides[0] + at.at[0] * call.grad_strides[1] + at.at[1] * call.grad_strides[2] +
                   at.at[2] * call.grad_strides[3] + channel,
               factor);
#pragma unroll
    for (int l = 0; l < kTapLines; ++l) {
      const int line = first_line + l;
      const int depth =
          at.at[0] * windows.step[0] + line / windows.kernel[1] * windows.dilation[0] - windows.padding[0];
      const int height =
          at.at[1] * windows.step[1] + line % windows.kernel[1] * windows.dilation[1] - windows.padding[1];
      if (line >= lines || static_cast<unsigned>(depth) >= static_cast<unsigned>(windows.image[0]) ||
          static_cast<unsigned>(height) >= static_cast<unsigned>(windows.image[1]))
        continue;
      const T* from =
          image + n * call.image_strides[0] + depth * call.image_strides[1] + height * call.image_strides[2] + channel;
#pragma unroll
      for (int j = 0; j < kTapsOfLine; ++j) {
        const int place = at.at[2] * windows.step[2] + (first_tap + j) * windows.dilation[2] - windows.padding[2];
        if (first_tap + j >= windows.kernel[2] ||
            static_cast<unsigned>(place) >= static_cast<unsigned>(windows.image[2]))
          continue;
        Accumulator<T> values[kPack];
        widen_pack(from + place * call.image_strides[3], values);
#pragma unroll
        for (int k = 0; k < kPack; ++k) sums[l * kTapsOfLine + j][k] += values[k] * factor[k];
      }
    }
  }

  const int across = call.packs_across * kPack;
  for (int t = 0; t < kTapTile; ++t) {
    __syncthreads();
#pragma unroll
    for (int other = 0; other < kTapTile; ++other) {
      if (other != t) continue;
#pragma unroll
      for (int k = 0; k < kPack; ++k) scratch[threadIdx.x * kPack + k] = sums[other][k];
    }
    __syncthreads();
    const int line = first_line + t / kTapsOfLine;
    const int tap = first_tap + t % kTapsOfLine;
    if (line >= lines || tap >= windows.kernel[2]) continue;
    for (int i = threadIdx.x; i < across; i += kProductThreads) {
      if (channel_tile * across + i >= static_cast<unsigned>(call.channels)) continue;
      Accumulator<T> sum = 0;
      for (int j = 0; j < lanes; ++j) sum += scratch[j * across + i];
      const std::int64_t place = part * lines * windows.kernel[2] + line * windows.kernel[2] + tap;
      partial[place * call.channels + channel_tile * across + i] = sum;
    }
  }
}

}  // namespace nnzoo::cuda
