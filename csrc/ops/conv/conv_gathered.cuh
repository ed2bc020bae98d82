// Convolution as matrix products whose operands are found in the images while they are loaded (implicit GEMM). With
// pixel = (n, position in the output) and tap = (channel, position in the kernel), per group
//     forward      output[pixel, o]       = sum over taps    of patch[pixel, tap] * weight[o, tap]
//     grad_weight  grad_weight[o, tap]    = sum over pixels  of grad[pixel, o] * patch[pixel, tap]
//     grad_input   grad_input[place, c]   = sum over (o, tap) of reach[place, (o, tap)] * weight[o, c, tap]
// where place = (n, position in the input) and reach is the element of grad that saw this place through that tap.
#pragma once

#include "common/divide.cuh"
#include "common/gemm.cuh"
#include "ops/conv/conv_images.cuh"

namespace nnzoo::cuda {

// The sizes of a call as the kernels use them.
struct Geometry {
  int input[3];
  int output[3];
  int stride[3];
  int padding[3];
  int dilation[3];
  int in_channels;   // of a group
  int out_channels;  // of a group
  Volume inputs;
  Volume outputs;
  Volume taps;

  explicit Geometry(const ConvShape& shape)
      : in_channels(static_cast<int>(shape.in_channels / shape.groups)),
        out_channels(static_cast<int>(shape.out_channels / shape.groups)),
        inputs(shape.input),
        outputs(shape.output),
        taps(shape.kernel) {
    for (int i = 0; i < 3; ++i) {
      input[i] = static_cast<int>(shape.input[i]);
      output[i] = static_cast<int>(shape.output[i]);
      stride[i] = static_cast<int>(shape.stride[i]);
      padding[i] = static_cast<int>(shape.padding[i]);
      dilation[i] = static_cast<int>(shape.dilation[i]);
    }
  }
};

// The part of the input under each window.
template <class T>
struct Patch {
  const T* input;
  ImageStrides strides;
  Geometry geometry;
  int first_channel = 0;

  __device__ Patch batch(int group) const {
    Patch own = *this;
    own.first_channel = group * geometry.in_channels;
    return own;
  }
  __device__ T operator()(unsigned pixel, unsigned tap) const {
    const Position to = geometry.outputs.split(pixel);
    const Position from = geometry.taps.split(tap);
    int place[3];
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      place[i] = to.at[i] * geometry.stride[i] + from.at[i] * geometry.dilation[i] - geometry.padding[i];
      if (place[i] < 0 || place[i] >= geometry.input[i]) return narrow<T>(0);
    }
    return input[strides.at(to.outer, first_channel + from.outer, place)];
  }
};

// The same with rows and depth exchanged.
template <class T>
struct TransposedPatch {
  Patch<T> patch;

  __device__ TransposedPatch batch(int group) const { return {patch.batch(group)}; }
  __device__ T operator()(unsigned tap, unsigned pixel) const { return patch(pixel, tap); }
};

// grad as [out_channels, pixels].
template <class T>
struct GradRows {
  const T* grad;
  ImageStrides strides;
  Geometry geometry;
  int first_channel = 0;

  __device__ GradRows batch(int group) const {
    GradRows own = *this;
    own.first_channel = group * geometry.out_channels;
    return own;
  }
  __device__ T operator()(unsigned channel, unsigned pixel) const {
    const Position at = geometry.outputs.split(pixel);
    return grad[strides.at(at.outer, first_channel + channel, at.at)];
  }
};

// The elements of grad whose windows contain a place of the input, by (output channel, tap).
template <class T>
struct Reach {
  const T* grad;
  ImageStrides strides;
  Geometry geometry;
  int first_channel = 0;

  __device__ Reach batch(int group) const {
    Reach own = *this;
    own.first_channel = group * geometry.out_channels;
    return own;
  }
  __device__ T operator()(unsigned place, unsigned tap) const {
    const Position at = geometry.inputs.split(place);
    const Position through = geometry.taps.split(tap);
    int pixel[3];
#pragma unroll
    for (int i = 0; i < 3; ++i) {
      const int scaled = at.at[i] + geometry.padding[i] - through.at[i] * geometry.dilation[i];
      pixel[i] = scaled / geometry.stride[i];
      if (scaled < 0 || pixel[i] * geometry.stride[i] != scaled || pixel[i] >= geometry.output[i]) return narrow<T>(0);
    }
    return grad[strides.at(at.outer, first_channel + through.outer, pixel)];
  }
};

// weight as [in_channels, (out channel, tap)].
template <class T>
struct WeightByInput {
  const T* weight;
  Geometry geometry;

  __device__ WeightByInput batch(int group) const {
    WeightByInput own = *this;
    own.weight += static_cast<std::int64_t>(group) * geometry.out_channels * geometry.in_channels * kernel_size();
    return own;
  }
  __device__ int kernel_size() const { return static_cast<int>(geometry.taps.whole.divisor); }
  __device__ T operator()(unsigned channel, unsigned tap) const {
    const unsigned out_channel = geometry.taps.whole.divide(tap);
    const unsigned position = tap - out_channel * kernel_size();
    return weight[(static_cast<std::int64_t>(out_channel) * geometry.in_channels + channel) * kernel_size() + position];
  }
};

}  // namespace nnzoo::cuda
