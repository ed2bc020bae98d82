// The windows of a convolution, as its forward and its gradient of the input see them.
//
// In each dimension, window w reads positions w * step + begin + j * gap, j = 0 .. taps - 1, through taps
// first + j * tap_step of the kernel, and its sum belongs to position w * out_step + out_begin of the result. In
// forward that is what it sounds like. The gradient of the input is the sum of the kernel's taps over the windows that
// read a place: places that agree modulo the stride are read through the same taps, so each of these *classes* is a
// convolution of the output's gradient with stride 1 and some of the taps, and no product is wasted on the others.
#pragma once

#include "common/divide.cuh"
#include "ops/conv/conv_images.cuh"

namespace nnzoo::cuda {

struct WindowClass {
  int begin[3], gap[3], taps[3], first[3], out_begin[3];

  __device__ int count() const { return taps[0] * taps[1] * taps[2]; }
};

// A window, and the image that it is in.
struct Window {
  std::int64_t image;
  int at[3];
};

struct Windows {
  Volume windows;  // of an image, in the largest class
  int count[3];    // of them in each dimension
  int classes[3];
  int step[3];
  int tap_step[3];  // within a class
  int out_step[3];
  int kernel[3], dilation[3], padding[3];
  int image[3];   // what is read
  int result[3];  // what is written
  std::int64_t batch;
  bool back;

  // Of `input` into `output`, or back.
  Windows(const ConvShape& shape, bool back_) : batch(shape.batch), back(back_) {
    std::int64_t size[3];
    for (int i = 0; i < 3; ++i) {
      const int stride = static_cast<int>(shape.stride[i]);
      kernel[i] = static_cast<int>(shape.kernel[i]);
      dilation[i] = static_cast<int>(shape.dilation[i]);
      padding[i] = static_cast<int>(shape.padding[i]);
      image[i] = static_cast<int>(back ? shape.output[i] : shape.input[i]);
      result[i] = static_cast<int>(back ? shape.input[i] : shape.output[i]);
      step[i] = back ? 1 : stride;
      out_step[i] = back ? stride : 1;
      classes[i] = back && stride > 1 ? (stride < result[i] ? stride : result[i]) : 1;
      tap_step[i] = 1;
      while (back && static_cast<std::int64_t>(tap_step[i]) * dilation[i] % stride) ++tap_step[i];
      count[i] = ceil_div(result[i], out_step[i]);
      size[i] = count[i];
    }
    windows = Volume(size);
  }

  __host__ __device__ std::int64_t rows() const { return static_cast<std::int64_t>(windows.whole.divisor) * batch; }
  __host__ __device__ std::int64_t taps() const { return std::int64_t{kernel[0]} * kernel[1] * kernel[2]; }
  __host__ __device__ int class_count() const { return classes[0] * classes[1] * classes[2]; }

  // Window `row` of the image in which window `first` of the batch is, or of those behind it.
  __device__ Window find(std::int64_t first, int row) const {
    const std::int64_t image_of_first = first / windows.whole.divisor;
    const Position at = windows.split(static_cast<unsigned>(first - image_of_first * windows.whole.divisor) + row);
    return {image_of_first + at.outer, {at.at[0], at.at[1], at.at[2]}};
  }

  // What `many` windows of dimension i read, at most.
  std::int64_t reach(int i, std::int64_t many) const {
    const std::int64_t taps = (kernel[i] - 1) / tap_step[i] + 1;
    const std::int64_t gap = back ? std::int64_t{tap_step[i]} * dilation[i] / out_step[i] : dilation[i];
    return (many - 1) * step[i] + (taps - 1) * gap + 1;
  }

  // Dimension i of class `index`.
  __device__ void find_class(int index, int i, WindowClass& to) const {
    for (int j = 2; j > i; --j) index /= classes[j];
    const int residue = index % classes[i];
    const int stride = out_step[i];
    const int scaled = residue + padding[i];
    int first = 0;
    while (first < tap_step[i] && (scaled - first * dilation[i]) % stride != 0) ++first;
    const bool seen = first < tap_step[i] && first < kernel[i];
    to.out_begin[i] = residue;
    to.first[i] = first;
    to.taps[i] = seen ? (kernel[i] - 1 - first) / tap_step[i] + 1 : 0;
    to.begin[i] = back ? (scaled - first * dilation[i]) / stride : -padding[i];
    to.gap[i] = back ? -(tap_step[i] * dilation[i] / stride) : dilation[i];
  }
};

}  // namespace nnzoo::cuda
