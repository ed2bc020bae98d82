#include "ops/conv/conv_channel_sums.h"
#include "ops/conv/conv_depthwise.h"
#include "ops/conv/conv_grad_weight.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// grad_output in the layout of the input's planes, zero where a plane has no output pixel: then both operands of
// grad_weight = grad_output @ im2col^T run along the plane in one piece.
inline PlaneShape output_planes(const ConvShape& s, const PlaneShape& input) {
  PlaneShape shape;
  for (int i = 0; i < 3; ++i) shape.axis[i] = {s.output[i], input.axis[i].size, 1, 0, 1, 1};
  return shape;
}

template <class S>
void grad_weight(const ConvBackward& args) {
  using T = Compute<S>;
  const ConvShape& s = args.shape;
  const PlaneShape input_shape = conv_planes(s), grad_shape = output_planes(s, input_shape);
  const std::int64_t in = s.in_channels / s.groups, out = s.out_channels / s.groups;
  const std::int64_t depth = in * s.kernel[0] * s.kernel[1] * s.kernel[2];
  const ImageTensor<S> input = image_tensor<S>(args.input, args.input_strides);
  const ImageTensor<S> grad = image_tensor<S>(args.grad_output, args.grad_output_strides);
  const std::int64_t input_size = s.in_channels * plane_size<T>(input_shape);
  const std::int64_t grad_size = s.out_channels * plane_size<T>(grad_shape);
  const std::int64_t chunk = images_at_a_time<T>(s.batch, input_size + grad_size);
  const std::int64_t row_pitch = input_shape.axis[2].size, depth_pitch = input_shape.axis[1].size * row_pitch;
  const std::int64_t length = span_of({s.output[0], s.output[1], s.output[2]}, row_pitch, depth_pitch);
  Scratch scratch;
  std::int64_t* const offset = scratch.take<std::int64_t>(depth);
  T* const input_buffer = serves_as_planes<T>(input, input_shape) ? nullptr : scratch.take<T>(chunk * input_size + 1);
  T* const grad_buffer = serves_as_planes<T>(grad, grad_shape) ? nullptr : scratch.take<T>(chunk * grad_size + 1);
  T* sums = nullptr;
  if constexpr (sizeof(S) == sizeof(T)) {
    sums = static_cast<T*>(args.grad_weight);
  } else {
    sums = scratch.take<T>(s.out_channels * depth);
  }
  std::int64_t image = 0;
  do {
    const std::int64_t images = s.batch - image < chunk ? s.batch - image : chunk;
    const PlaneSet<T> x = make_planes<T>(input, image, images, s.in_channels, input_shape, input_buffer, args.threads);
    const PlaneSet<T> g = make_planes<T>(grad, image, images, s.out_channels, grad_shape, grad_buffer, args.threads);
    tap_offsets(s, input_shape, in, x.plane, offset);
    for (std::int64_t group = 0; group < s.groups; ++group) {
      PlaneSet<T> rows = g, columns = x;
      rows.data += group * out * g.plane;
      columns.data += group * in * x.plane;
      PlaneCorrelation<T>(rows, columns, offset, out, depth, images, length)
          .run(sums + group * out * depth, image > 0, args.threads);
    }
    image += images;
  } while (image < s.batch);
  if constexpr (sizeof(S) != sizeof(T)) {
    S* const to = static_cast<S*>(args.grad_weight);
    for_each_vector<T>(s.out_channels * depth,
                       [&](std::int64_t i, int count) { Vec<T>::load(sums + i, count).store(to + i, count); });
  }
}

template <class S>
void depthwise_grad_weight(const ConvBackward& args) {
  using T = Compute<S>;
  constexpr int width = Vec<T>::width;
  const ConvShape& s = args.shape;
  const PlaneShape input_shape = conv_planes(s), grad_shape = output_planes(s, input_shape);
  const std::int64_t multiplier = s.out_channels / s.groups, taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  const ImageTensor<S> input = image_tensor<S>(args.input, args.input_strides);
  const ImageTensor<S> grad = image_tensor<S>(args.grad_output, args.grad_output_strides);
  const std::int64_t row_pitch = input_shape.axis[2].size, depth_pitch = input_shape.axis[1].size * row_pitch;
  const std::int64_t length = span_of({s.output[0], s.output[1], s.output[2]}, row_pitch, depth_pitch);
  parallel_for(s.in_channels, args.threads, [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    T* const x = scratch.take<T>(input_shape.size() + correlate_slack<T>);
    T* const g = scratch.take<T>(grad_shape.size());
    T* const sums = scratch.take<T>(multiplier * taps);
    std::int64_t* const offset = scratch.take<std::int64_t>(taps);
    tap_offsets(s, input_shape, 1, 0, offset);
    zero_row(x, input_shape.size());
    zero_row(g, grad_shape.size());
    for (std::int64_t channel = begin; channel < end; ++channel) {
      for (std::int64_t k = 0; k < multiplier * taps; ++k) sums[k] = T(0);
      for (std::int64_t image = 0; image < s.batch; ++image) {
        fill_planes(input, image, channel, 1, input_shape, x, 0, false);
        for (std::int64_t m = 0; m < multiplier; ++m) {
          fill_planes(grad, image, channel * multiplier + m, 1, grad_shape, g, 0, false);
          for (std::int64_t k = 0; k < taps; ++k) {
            const T* const shifted = x + offset[k];
            Vec<T> sum[2] = {Vec<T>::zero(), Vec<T>::zero()};
            std::int64_t v = 0;
            for (; v + 2 * width <= length; v += 2 * width) {
              sum[0] = fma(Vec<T>::load(g + v), Vec<T>::load(shifted + v), sum[0]);
              sum[1] = fma(Vec<T>::load(g + v + width), Vec<T>::load(shifted + v + width), sum[1]);
            }
            for_each_vector<T>(length - v, [&](std::int64_t i, int count) {
              sum[0] = fma(Vec<T>::load(g + v + i, count), Vec<T>::load(shifted + v + i, count), sum[0]);
            });
            sums[m * taps + k] += reduce_add(sum[0] + sum[1]);
          }
        }
      }
      S* const to = static_cast<S*>(args.grad_weight) + channel * multiplier * taps;
      for (std::int64_t k = 0; k < multiplier * taps; ++k) to[k] = from_float<S>(sums[k]);
    }
  });
}

}  // namespace

void conv_backward(const ConvBackward& args) {
  if (args.grad_input) {
    ConvGradInput part{};
    part.grad_output = args.grad_output;
    part.weight = args.weight;
    part.grad_input = args.grad_input;
    part.shape = args.shape;
    copy_strides(args.grad_output_strides, part.grad_output_strides);
    copy_strides(args.grad_input_strides, part.grad_input_strides);
    part.dtype = args.dtype;
    part.threads = args.threads;
    conv_grad_input(part);
  }
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    if (args.grad_weight) is_depthwise(args.shape) ? depthwise_grad_weight<S>(args) : grad_weight<S>(args);
    if (args.grad_bias) {
      const ImageTensor<S> grad = image_tensor<S>(args.grad_output, args.grad_output_strides);
      channel_sums(grad, args.shape.batch, args.shape.out_channels, args.shape.output, static_cast<S*>(args.grad_bias),
                   args.threads);
    }
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
