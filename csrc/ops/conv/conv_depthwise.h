// Depthwise convolution (one input channel a group): too few rows for a GEMM, so each channel's plane, which fits the
// first-level cache, is correlated with its taps directly.
#pragma once

#include "ops/conv/conv_operands.h"

namespace nnzoo {
namespace NNZOO_ISA {

inline bool is_depthwise(const ConvShape& s) {
  return s.groups > 1 && s.groups == s.in_channels && s.out_channels / s.groups < 8;
}

// Positions from the first to the last pixel of a grid in its plane.
inline std::int64_t span_of(const PixelGrid& grid, std::int64_t row_pitch, std::int64_t depth_pitch) {
  return grid.count() ? (grid.depth - 1) * depth_pitch + (grid.height - 1) * row_pitch + grid.width : 0;
}

// Sums that a block of the loops below keeps in registers: enough to hide the latency of a fused multiply-add.
constexpr int correlate_vectors = 8;
// Whole vectors are read and written: planes and sums need this much room behind their end.
template <class T>
constexpr std::int64_t correlate_slack = Vec<T>::width;

// sums[v] = sum over k of weight[k] * plane[offset[k] + v] for v in `count` <= n vectors.
template <int n, class T>
NNZOO_INLINE void correlate_block(int count, const T* plane, const std::int64_t* offset, const T* weight,
                                  std::int64_t taps, T* sums) {
  constexpr int width = Vec<T>::width;
  if (count < n) {
    if constexpr (n > 1) correlate_block<n - 1>(count, plane, offset, weight, taps, sums);
    return;
  }
  Vec<T> sum[n];
#pragma GCC unroll 8
  for (int j = 0; j < n; ++j) sum[j] = Vec<T>::zero();
  for (std::int64_t k = 0; k < taps; ++k) {
    const Vec<T> w = Vec<T>::set(weight[k]);
    const T* const source = plane + offset[k];
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j) sum[j] = fma(w, Vec<T>::load(source + j * width), sum[j]);
  }
#pragma GCC unroll 8
  for (int j = 0; j < n; ++j) sum[j].store(sums + j * width);
}

// sums[v] = sum over k of weight[k] * plane[offset[k] + v] for v < length, in blocks of about the same size.
template <class T>
void correlate(const T* plane, const std::int64_t* offset, const T* weight, std::int64_t taps, std::int64_t length,
               T* sums) {
  constexpr int width = Vec<T>::width;
  const std::int64_t vectors = ceil_div(length, width), each = equal_part(vectors, correlate_vectors, 1);
  for (std::int64_t v = 0; v < vectors; v += each) {
    const int count = static_cast<int>(vectors - v < each ? vectors - v : each);
    correlate_block<correlate_vectors>(count, plane + v * width, offset, weight, taps, sums + v * width);
  }
}

// out[d, h, w] = sums + bias, from plane positions to a tensor's pixels.
template <class T, class S>
void store_pixels(const T* sums, const PixelGrid& grid, std::int64_t row_pitch, std::int64_t depth_pitch, T bias,
                  const std::int64_t* stride, S* out) {
  for (std::int64_t d = 0; d < grid.depth; ++d) {
    for (std::int64_t h = 0; h < grid.height; ++h) {
      const T* const row = sums + d * depth_pitch + h * row_pitch;
      S* const to = out + d * stride[0] + h * stride[1];
      if (stride[2] == 1) {
        for_each_vector<T>(grid.width, [&](std::int64_t w, int count) {
          (Vec<T>::load(row + w, count) + Vec<T>::set(bias)).store(to + w, count);
        });
      } else {
        for (std::int64_t w = 0; w < grid.width; ++w) to[w * stride[2]] = from_float<S>(row[w] + bias);
      }
    }
  }
}

template <class T, class S>
void convert(const S* from, std::int64_t n, T* to) {
  for_each_vector<T>(n, [&](std::int64_t i, int count) { Vec<T>::load(from + i, count).store(to + i, count); });
}

template <class S>
void depthwise_forward(const ConvForward& args) {
  using T = Compute<S>;
  const ConvShape& s = args.shape;
  const PlaneShape shape = conv_planes(s);
  const std::int64_t taps = s.kernel[0] * s.kernel[1] * s.kernel[2], multiplier = s.out_channels / s.groups;
  const std::int64_t row_pitch = shape.axis[2].size, depth_pitch = shape.axis[1].size * row_pitch;
  const PixelGrid grid{s.output[0], s.output[1], s.output[2]};
  const std::int64_t length = span_of(grid, row_pitch, depth_pitch);
  const ImageTensor<S> input = image_tensor<S>(args.input, args.input_strides);
  const std::int64_t* const stride = args.output_strides;
  const Activation activation = static_cast<Activation>(args.activation);
  if (length == 0) return;
  parallel_for(s.batch * s.in_channels, args.threads, [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    std::int64_t* const offset = scratch.take<std::int64_t>(taps);
    T* const plane = scratch.take<T>(shape.size() + correlate_slack<T>);
    T* const sums = scratch.take<T>(length + correlate_slack<T>);
    T* const weight = scratch.take<T>(taps);
    tap_offsets(s, shape, 1, 0, offset);
    zero_row(plane, shape.size());
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t image = i / s.in_channels, channel = i % s.in_channels;
      fill_planes(input, image, channel, 1, shape, plane, 0, false);
      for (std::int64_t o = channel * multiplier; o < (channel + 1) * multiplier; ++o) {
        convert(static_cast<const S*>(args.weight) + o * taps, taps, weight);
        correlate(plane, offset, weight, taps, length, sums);
        T bias = args.bias ? T(to_float(static_cast<const S*>(args.bias)[o])) : T(0);
        const auto store = [&](void* tensor) {
          store_pixels(sums, grid, row_pitch, depth_pitch, bias, stride + 2,
                       static_cast<S*>(tensor) + image * stride[0] + o * stride[1]);
        };
        if (args.preactivation) store(args.preactivation);
        if (activation != Activation::none) {
          for_each_vector<T>(length, [&](std::int64_t v, int count) {
            activate(activation, Vec<T>::load(sums + v, count) + Vec<T>::set(bias)).store(sums + v, count);
          });
          bias = T(0);
        }
        store(args.output);
      }
    }
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
