// The naive rung: the definition, a thread per element of the result, every operand read from global memory. Sums of a
// channel's taps, or of an image's pixels, are added up apart: one long sum would round more than stock torch does.
#include <stdexcept>

#include "ops/conv/conv_images.cuh"

namespace nnzoo::cuda {
namespace {

constexpr int kThreads = 256;

// What a block's threads have in common, and place `at` of each: the blocks go through [outer, *size], kThreads places
// each. False beyond the last place.
__device__ bool own_place(const std::int64_t (&size)[3], unsigned& outer, std::int64_t (&at)[3]) {
  const auto places = static_cast<unsigned>(size[0] * size[1] * size[2]);
  const unsigned tiles = (places + kThreads - 1) / kThreads;
  outer = blockIdx.x / tiles;
  unsigned index = (blockIdx.x - outer * tiles) * kThreads + threadIdx.x;
  const bool inside = index < places;
  for (int i = 2; i >= 0; --i) {
    at[i] = index % static_cast<unsigned>(size[i]);
    index /= static_cast<unsigned>(size[i]);
  }
  return inside;
}

// Where window `pixel` reads through `tap`; false outside the input.
__device__ bool place_seen(const ConvShape& shape, const std::int64_t (&pixel)[3], const std::int64_t (&tap)[3],
                           std::int64_t (&place)[3]) {
  bool inside = true;
  for (int i = 0; i < 3; ++i) {
    place[i] = pixel[i] * shape.stride[i] + tap[i] * shape.dilation[i] - shape.padding[i];
    inside = inside && place[i] >= 0 && place[i] < shape.input[i];
  }
  return inside;
}

// The window that reads `place` through `tap`; false if there is none.
__device__ bool window_seeing(const ConvShape& shape, const std::int64_t (&place)[3], const std::int64_t (&tap)[3],
                              std::int64_t (&pixel)[3]) {
  bool inside = true;
  for (int i = 0; i < 3; ++i) {
    const auto scaled = static_cast<int>(place[i] + shape.padding[i] - tap[i] * shape.dilation[i]);
    pixel[i] = scaled / static_cast<int>(shape.stride[i]);
    inside = inside && scaled >= 0 && pixel[i] * shape.stride[i] == scaled && pixel[i] < shape.output[i];
  }
  return inside;
}

__device__ std::int64_t channels_of_group(std::int64_t channels, std::int64_t groups) {
  return static_cast<unsigned>(channels) / static_cast<unsigned>(groups);
}

template <class Visit>
__device__ void for_each_place(const std::int64_t (&size)[3], Visit visit) {
  std::int64_t at[3];
  for (at[0] = 0; at[0] < size[0]; ++at[0])
    for (at[1] = 0; at[1] < size[1]; ++at[1])
      for (at[2] = 0; at[2] < size[2]; ++at[2]) visit(at);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    naive_forward_kernel(ConvShape shape, const T* input, ImageStrides input_strides, const T* weight, const T* bias,
                         OutputImage<T> output, ImageStrides output_strides) {
  unsigned outer;
  std::int64_t pixel[3];
  if (!own_place(shape.output, outer, pixel)) return;
  const unsigned n = outer / static_cast<unsigned>(shape.out_channels);
  const unsigned o = outer - n * static_cast<unsigned>(shape.out_channels);
  const std::int64_t channels = channels_of_group(shape.in_channels, shape.groups);
  const std::int64_t first = o / static_cast<unsigned>(channels_of_group(shape.out_channels, shape.groups)) * channels;
  const T* taps = weight + o * channels * volume(shape.kernel);
  Accumulator<T> sum = bias ? widen(bias[o]) : Accumulator<T>(0);
  for (std::int64_t c = 0; c < channels; ++c) {
    Accumulator<T> of_channel = 0;
    for_each_place(shape.kernel, [&](const std::int64_t (&tap)[3]) {
      std::int64_t place[3];
      if (place_seen(shape, pixel, tap, place))
        of_channel += widen(*taps) * widen(input[input_strides.at(n, first + c, place)]);
      ++taps;
    });
    sum += of_channel;
  }
  output(output_strides.at(n, o, pixel), sum);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    naive_grad_input_kernel(ConvShape shape, const T* grad, ImageStrides grad_strides, const T* weight, T* grad_input,
                            ImageStrides grad_input_strides) {
  unsigned outer;
  std::int64_t place[3];
  if (!own_place(shape.input, outer, place)) return;
  const unsigned n = outer / static_cast<unsigned>(shape.in_channels);
  const unsigned c = outer - n * static_cast<unsigned>(shape.in_channels);
  const unsigned in_channels = channels_of_group(shape.in_channels, shape.groups);
  const std::int64_t out_channels = channels_of_group(shape.out_channels, shape.groups);
  const std::int64_t first = c / in_channels * out_channels;
  Accumulator<T> sum = 0;
  for (std::int64_t o = first; o < first + out_channels; ++o) {
    Accumulator<T> of_channel = 0;
    const T* taps = weight + (o * in_channels + c % in_channels) * volume(shape.kernel);
    for_each_place(shape.kernel, [&](const std::int64_t (&tap)[3]) {
      std::int64_t pixel[3];
      if (window_seeing(shape, place, tap, pixel))
        of_channel += widen(*taps) * widen(grad[grad_strides.at(n, o, pixel)]);
      ++taps;
    });
    sum += of_channel;
  }
  grad_input[grad_input_strides.at(n, c, place)] = narrow<T>(sum);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    naive_grad_weight_kernel(ConvShape shape, const T* grad, ImageStrides grad_strides, const T* input,
                             ImageStrides input_strides, T* grad_weight) {
  unsigned outer;
  std::int64_t tap[3];
  if (!own_place(shape.kernel, outer, tap)) return;
  const unsigned channels = channels_of_group(shape.in_channels, shape.groups);
  const unsigned o = outer / channels;
  const unsigned group = o / static_cast<unsigned>(channels_of_group(shape.out_channels, shape.groups));
  const std::int64_t c = static_cast<std::int64_t>(group) * channels + outer % channels;
  Accumulator<T> sum = 0;
  for (std::int64_t n = 0; n < shape.batch; ++n) {
    Accumulator<T> of_image = 0;
    for_each_place(shape.output, [&](const std::int64_t (&pixel)[3]) {
      std::int64_t place[3];
      if (place_seen(shape, pixel, tap, place))
        of_image += widen(grad[grad_strides.at(n, o, pixel)]) * widen(input[input_strides.at(n, c, place)]);
    });
    sum += of_image;
  }
  const std::int64_t at = (tap[0] * shape.kernel[1] + tap[1]) * shape.kernel[2] + tap[2];
  grad_weight[outer * volume(shape.kernel) + at] = narrow<T>(sum);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    naive_grad_bias_kernel(ConvShape shape, const T* grad, ImageStrides grad_strides, T* grad_bias) {
  const std::int64_t o = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (o >= shape.out_channels) return;
  Accumulator<T> sum = 0;
  for (std::int64_t n = 0; n < shape.batch; ++n) {
    for_each_place(shape.output,
                   [&](const std::int64_t (&pixel)[3]) { sum += widen(grad[grad_strides.at(n, o, pixel)]); });
  }
  grad_bias[o] = narrow<T>(sum);
}

// Blocks for [outer, *size].
unsigned blocks_for(std::int64_t outer, const std::int64_t (&size)[3]) {
  const std::int64_t blocks = outer * ceil_div<std::int64_t>(volume(size), kThreads);
  if (blocks >= std::int64_t{1} << 31) throw std::runtime_error("conv: more tiles than a grid has blocks");
  return static_cast<unsigned>(blocks);
}

}  // namespace

void conv_forward_naive(const ConvForward& args, void* stream) {
  const ConvShape& shape = args.shape;
  const unsigned blocks = blocks_for(shape.batch * shape.out_channels, shape.output);
  if (blocks == 0) return;
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    launch<naive_forward_kernel<T>>(
        blocks, kThreads, 0, stream, shape, static_cast<const T*>(args.input), ImageStrides(args.input_strides),
        static_cast<const T*>(args.weight), static_cast<const T*>(args.bias),
        OutputImage<T>(args.output, args.preactivation, args.activation), ImageStrides(args.output_strides));
  });
}

void conv_backward_naive(const ConvBackward& args, void* stream) {
  const ConvShape& shape = args.shape;
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    const auto* grad = static_cast<const T*>(args.grad_output);
    const ImageStrides strides(args.grad_output_strides);
    const unsigned places = args.grad_input ? blocks_for(shape.batch * shape.in_channels, shape.input) : 0;
    if (places)
      launch<naive_grad_input_kernel<T>>(places, kThreads, 0, stream, shape, grad, strides,
                                         static_cast<const T*>(args.weight), static_cast<T*>(args.grad_input),
                                         ImageStrides(args.grad_input_strides));
    const std::int64_t rows = shape.out_channels * (shape.in_channels / shape.groups);
    const unsigned taps = args.grad_weight ? blocks_for(rows, shape.kernel) : 0;
    if (taps)
      launch<naive_grad_weight_kernel<T>>(taps, kThreads, 0, stream, shape, grad, strides,
                                          static_cast<const T*>(args.input), ImageStrides(args.input_strides),
                                          static_cast<T*>(args.grad_weight));
    if (args.grad_bias && shape.out_channels)
      launch<naive_grad_bias_kernel<T>>(static_cast<unsigned>(ceil_div<std::int64_t>(shape.out_channels, kThreads)),
                                        kThreads, 0, stream, shape, grad, strides, static_cast<T*>(args.grad_bias));
  });
}

}  // namespace nnzoo::cuda
