#include "common/reduce.h"
#include "ops/conv/conv_depthwise.h"
#include "ops/conv/conv_grad_planes.h"
#include "ops/conv/conv_grad_weight.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S>
S* class_output(const ConvBackward& args, const GradClass& c) {
  const std::int64_t* const stride = args.grad_input_strides;
  return static_cast<S*>(args.grad_input) + c.residue[0] * stride[2] + c.residue[1] * stride[3] +
         c.residue[2] * stride[4];
}

template <class S>
void grad_input(const ConvBackward& args) {
  using T = Compute<S>;
  const ConvShape& s = args.shape;
  const PlaneShape shape = grad_planes(s);
  const std::int64_t in = s.in_channels / s.groups, out = s.out_channels / s.groups;
  const std::int64_t all_taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  const ImageTensor<S> grad = image_tensor<S>(args.grad_output, args.grad_output_strides);
  const std::int64_t* const stride = args.grad_input_strides;
  const std::int64_t pixels = s.input[0] * s.input[1] * s.input[2];
  const std::int64_t chunk = images_at_a_time<T>(s.batch, s.out_channels * plane_size<T>(shape) + in * pixels);
  Scratch scratch;
  std::int64_t* const offset = scratch.take<std::int64_t>(out * all_taps);
  T* const buffer =
      serves_as_planes<T>(grad, shape) ? nullptr : scratch.take<T>(chunk * s.out_channels * plane_size<T>(shape) + 1);
  for (std::int64_t image = 0; image < s.batch; image += chunk) {
    const std::int64_t images = s.batch - image < chunk ? s.batch - image : chunk;
    const PlaneSet<T> planes = make_planes<T>(grad, image, images, s.out_channels, shape, buffer, args.threads);
    for_each_grad_class(s, shape, [&](const GradClass& c) {
      for (std::int64_t i = 0; i < out * c.taps; ++i) offset[i] = i / c.taps * planes.plane + c.shift[i % c.taps];
      const auto multiply = [&](const auto& columns, std::int64_t each, const ColumnLayout& layout) {
        const auto problem = [&](std::int64_t g) {
          const S* const weight = static_cast<const S*>(args.weight) + g * out * in * all_taps;
          S* const output = class_output<S>(args, c) + image * stride[0] + g * in * stride[1];
          return GemmProblem{
              TransposedWeight<S>{weight, in, all_taps, c.tap, c.taps}, columns(g * out),
              ImageStore<T, S>{output,
                               stride[0],
                               stride[1],
                               {s.stride[0] * stride[2], s.stride[1] * stride[3], s.stride[2] * stride[4]},
                               c.grid,
                               layout,
                               nullptr}};
        };
        gemm_batched<T>(s.groups, in, images * each, out * c.taps, problem, args.threads);
      };
      multiply_planes<T>(planes, offset, c.grid, in, out * c.taps, multiply);
    });
  }
}

template <class S>
void depthwise_grad_input(const ConvBackward& args) {
  using T = Compute<S>;
  const ConvShape& s = args.shape;
  const PlaneShape shape = grad_planes(s);
  const std::int64_t multiplier = s.out_channels / s.groups, plane = shape.size();
  const std::int64_t all_taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  const std::int64_t row_pitch = shape.axis[2].size, depth_pitch = shape.axis[1].size * row_pitch;
  const ImageTensor<S> grad = image_tensor<S>(args.grad_output, args.grad_output_strides);
  const std::int64_t* const stride = args.grad_input_strides;
  parallel_for(s.batch * s.in_channels, args.threads, [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    T* const planes = scratch.take<T>(multiplier * plane + correlate_slack<T>);
    T* const sums = scratch.take<T>(plane + correlate_slack<T>);
    std::int64_t* const offset = scratch.take<std::int64_t>(multiplier * all_taps);
    T* const weight = scratch.take<T>(multiplier * all_taps);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t image = i / s.in_channels, channel = i % s.in_channels;
      for (std::int64_t m = 0; m < multiplier; ++m) {
        fill_planes(grad, image, channel * multiplier + m, 1, shape, planes + m * plane, plane);
      }
      for_each_grad_class(s, shape, [&](const GradClass& c) {
        for (std::int64_t k = 0; k < multiplier * c.taps; ++k) {
          const std::int64_t m = k / c.taps, t = k % c.taps;
          offset[k] = m * plane + c.shift[t];
          weight[k] = to_float(static_cast<const S*>(args.weight)[(channel * multiplier + m) * all_taps + c.tap[t]]);
        }
        correlate(planes, offset, weight, multiplier * c.taps, span_of(c.grid, row_pitch, depth_pitch), sums);
        const std::int64_t pixel_stride[3] = {s.stride[0] * stride[2], s.stride[1] * stride[3],
                                              s.stride[2] * stride[4]};
        store_pixels(sums, c.grid, row_pitch, depth_pitch, T(0), pixel_stride,
                     class_output<S>(args, c) + image * stride[0] + channel * stride[1]);
      });
    }
  });
}

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
    for (std::int64_t channel = begin; channel < end; ++channel) {
      for (std::int64_t k = 0; k < multiplier * taps; ++k) sums[k] = T(0);
      for (std::int64_t image = 0; image < s.batch; ++image) {
        fill_planes(input, image, channel, 1, input_shape, x, 0);
        for (std::int64_t m = 0; m < multiplier; ++m) {
          fill_planes(grad, image, channel * multiplier + m, 1, grad_shape, g, 0);
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

template <class S>
void grad_bias(const ConvBackward& args) {
  using T = Compute<S>;
  const ConvShape& s = args.shape;
  const std::int64_t* const stride = args.grad_output_strides;
  const S* const grad = static_cast<const S*>(args.grad_output);
  S* const out = static_cast<S*>(args.grad_bias);
  const std::int64_t rows = s.batch * s.output[0] * s.output[1], width = s.output[2];
  if (stride[1] == 1 && stride[4] == s.out_channels && stride[3] == width * stride[4] &&
      (s.output[0] == 1 || stride[2] == s.output[1] * stride[3]) &&
      (s.batch == 1 || stride[0] == s.output[0] * s.output[1] * stride[3])) {
    column_sums<T>(rows * width, s.out_channels, grad, stride[4], out, args.threads);
    return;
  }
  parallel_for(s.out_channels, args.threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t o = begin; o < end; ++o) {
      double total = 0;
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t h = r % s.output[1], d = r / s.output[1] % s.output[0], n = r / s.output[1] / s.output[0];
        const S* const row = grad + n * stride[0] + o * stride[1] + d * stride[2] + h * stride[3];
        if (stride[4] == 1) {
          Vec<T> sum = Vec<T>::zero();
          for_each_vector<T>(width, [&](std::int64_t w, int count) { sum += Vec<T>::load(row + w, count); });
          total += reduce_add(sum);
        } else {
          for (std::int64_t w = 0; w < width; ++w) total += to_float(row[w * stride[4]]);
        }
      }
      out[o] = from_float<S>(total);
    }
  });
}

}  // namespace

void conv_backward(const ConvBackward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    const bool depthwise = is_depthwise(args.shape);
    if (args.grad_input) depthwise ? depthwise_grad_input<S>(args) : grad_input<S>(args);
    if (args.grad_weight) depthwise ? depthwise_grad_weight<S>(args) : grad_weight<S>(args);
    if (args.grad_bias) grad_bias<S>(args);
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
