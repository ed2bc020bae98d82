// Depthwise convolution of images with adjacent channels: a thread owns a pack of channels, so every load and store is
// 16 bytes wide and neighbouring threads read neighbouring packs. What bounds it is bytes: each value of the image is
// used `taps` times, and all but the first use come from the first-level cache or a register.
#pragma once

#include "common/dtype.cuh"
#include "ops/conv/conv_windows.cuh"

namespace nnzoo::cuda {

constexpr int kStrip = 4;  // neighbouring windows of a thread

struct DepthwisePacks {
  Windows windows;
  Volume strips;  // of an image: kStrip windows along the last dimension
  std::int64_t image_strides[4], result_strides[4];
  int channels;
  int packs_across;  // of a block: a power of two
  unsigned channel_tiles, strip_tiles;
};

template <class T>
using PackSums = Accumulator<T>[kPackSize<T>];

template <class T>
__device__ void widen_pack(const T* from, PackSums<T>& to) {
  const auto pack = *reinterpret_cast<const Pack<T, kPackSize<T>>*>(from);
#pragma unroll
  for (int i = 0; i < kPackSize<T>; ++i) to[i] = widen(pack.values[i]);
}

// Adds a line of the kernel, its last dimension, of any width, stride and dilation.
template <class T>
__device__ void add_line(PackSums<T> (&sums)[kStrip], const DepthwisePacks& call, const WindowClass& windows,
                         const T* line, const T* weight, int first) {
  for (int j = 0; j < windows.taps[2]; ++j) {
    Accumulator<T> factor[kPackSize<T>];
    widen_pack(weight + static_cast<std::int64_t>(windows.first[2] + j * call.windows.tap_step[2]) * call.channels,
               factor);
#pragma unroll
    for (int s = 0; s < kStrip; ++s) {
      const int place = first + s * call.windows.step[2] + j * windows.gap[2];
      if (static_cast<unsigned>(place) >= static_cast<unsigned>(call.windows.image[2])) continue;
      Accumulator<T> values[kPackSize<T>];
      widen_pack(line + place * call.image_strides[3], values);
#pragma unroll
      for (int i = 0; i < kPackSize<T>; ++i) sums[s][i] += values[i] * factor[i];
    }
  }
}

// The same for lines of `width` taps without gaps, stride 1: every value is loaded once for all windows that use it.
template <int width, class T>
__device__ void add_dense_line(PackSums<T> (&sums)[kStrip], const DepthwisePacks& call, const WindowClass& windows,
                               const T* line, const T* weight, int first) {
  const bool reversed = windows.gap[2] < 0;
  const int begin = reversed ? first - (width - 1) : first;
  Accumulator<T> factors[width][kPackSize<T>];
#pragma unroll
  for (int j = 0; j < width; ++j)
    widen_pack(weight + static_cast<std::int64_t>(reversed ? width - 1 - j : j) * call.channels, factors[j]);
#pragma unroll
  for (int x = 0; x < kStrip + width - 1; ++x) {
    if (static_cast<unsigned>(begin + x) >= static_cast<unsigned>(call.windows.image[2])) continue;
    Accumulator<T> values[kPackSize<T>];
    widen_pack(line + (begin + x) * call.image_strides[3], values);
#pragma unroll
    for (int s = 0; s < kStrip; ++s) {
      if (x < s || x - s >= width) continue;
#pragma unroll
      for (int i = 0; i < kPackSize<T>; ++i) sums[s][i] += values[i] * factors[x - s < 0 ? 0 : x - s][i];
    }
  }
}

// `width`: of dense lines, 0 for any.
template <class T, int width>
__global__ void __launch_bounds__(kProductThreads, 2)
    depthwise_packs_kernel(DepthwisePacks call, const T* image, const T* weight, const T* bias, OutputImage<T> result) {
  constexpr int kPack = kPackSize<T>;
  __shared__ WindowClass windows;
  unsigned index = blockIdx.x;
  const unsigned channel_tile = index % call.channel_tiles;
  index /= call.channel_tiles;
  const unsigned strip_tile = index % call.strip_tiles;
  if (threadIdx.x < 3) call.windows.find_class(static_cast<int>(index / call.strip_tiles), threadIdx.x, windows);
  __syncthreads();

  const int lanes = kProductThreads / call.packs_across;
  const int channel = (channel_tile * call.packs_across + threadIdx.x % call.packs_across) * kPack;
  const Position strip = call.strips.split(strip_tile * lanes + threadIdx.x / call.packs_across);
  const std::int64_t n = strip.outer;
  if (n >= call.windows.batch || channel >= call.channels) return;
  const int window[3] = {strip.at[0], strip.at[1], strip.at[2] * kStrip};
  image += n * call.image_strides[0] + channel;
  weight += channel;

  PackSums<T> sums[kStrip] = {};
  if (bias) {
#pragma unroll
    for (int s = 0; s < kStrip; ++s) {
#pragma unroll
      for (int i = 0; i < kPack; ++i) sums[s][i] = widen(bias[channel + i]);
    }
  }
  const int first = window[2] * call.windows.step[2] + windows.begin[2];
  for (int j = 0; j < windows.taps[0]; ++j) {
    const int depth = window[0] * call.windows.step[0] + windows.begin[0] + j * windows.gap[0];
    if (static_cast<unsigned>(depth) >= static_cast<unsigned>(call.windows.image[0])) continue;
    for (int k = 0; k < windows.taps[1]; ++k) {
      const int height = window[1] * call.windows.step[1] + windows.begin[1] + k * windows.gap[1];
      if (static_cast<unsigned>(height) >= static_cast<unsigned>(call.windows.image[1])) continue;
      const T* line = image + depth * call.image_strides[1] + height * call.image_strides[2];
      const int tap = (windows.first[0] + j * call.windows.tap_step[0]) * call.windows.kernel[1] + windows.first[1] +
                      k * call.windows.tap_step[1];
      const T* taps = weight + static_cast<std::int64_t>(tap) * call.windows.kernel[2] * call.channels;
      if constexpr (width > 0) {
        add_dense_line<width>(sums, call, windows, line, taps, first);
      } else {
        add_line(sums, call, windows, line, taps, first);
      }
    }
  }

  const int depth = window[0] * call.windows.out_step[0] + windows.out_begin[0];
  const int height = window[1] * call.windows.out_step[1] + windows.out_begin[1];
  if (depth >= call.windows.result[0] || height >= call.windows.result[1]) return;
  const std::int64_t row =
      n * call.result_strides[0] + depth * call.result_strides[1] + height * call.result_strides[2] + channel;
#pragma unroll
  for (int s = 0; s < kStrip; ++s) {
    const int place = (window[2] + s) * call.windows.out_step[2] + windows.out_begin[2];
    if (window[2] + s >= call.windows.count[2] || place >= call.windows.result[2]) continue;
    result.put_pack(row + place * call.result_strides[3], sums[s]);
  }
}

}  // namespace nnzoo::cuda
