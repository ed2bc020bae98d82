#include "common/activated_store.h"
#include "ops/conv/conv_depthwise.h"
#include "ops/conv/conv_operands.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// The distance between neighbouring pixels if all pixels of all images are equally spaced, else 0.
inline std::int64_t uniform_pixel_stride(const std::int64_t (&stride)[5], const std::int64_t (&size)[3],
                                         std::int64_t batch) {
  if (size[0] * size[1] * size[2] == 1) return stride[0];
  std::int64_t expected = stride[4];
  for (int i = 2; i >= 0; --i) {
    if (size[i] > 1 && stride[i + 2] != expected) return 0;
    expected *= size[i];
  }
  return batch > 1 && stride[0] != expected ? 0 : stride[4];
}

// A 1x1 kernel on channels-last images is a linear layer on their pixels.
template <class S>
bool pointwise_channels_last(const ConvForward& args, const PlaneShape& planes) {
  using T = Compute<S>;
  const ConvShape& s = args.shape;
  const std::int64_t from = uniform_pixel_stride(args.input_strides, s.input, s.batch);
  const std::int64_t to = uniform_pixel_stride(args.output_strides, s.output, s.batch);
  const std::int64_t taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  if (taps != 1 || !planes.is_source() || args.input_strides[1] != 1 || args.output_strides[1] != 1 || !from || !to) {
    return false;
  }
  const std::int64_t in = s.in_channels / s.groups, out = s.out_channels / s.groups;
  const std::int64_t pixels = s.batch * s.output[0] * s.output[1] * s.output[2];
  for (std::int64_t g = 0; g < s.groups; ++g) {
    const Strided<S> input{static_cast<const S*>(args.input) + g * in, from, 1};
    const Strided<S> weight{static_cast<const S*>(args.weight) + g * out * in, in, 1};
    const S* const bias = args.bias ? static_cast<const S*>(args.bias) + g * out : nullptr;
    const Store<T, S> output{static_cast<S*>(args.output) + g * out, to};
    const Activation activation = static_cast<Activation>(args.activation);
    if (activation == Activation::none) {
      gemm<T>(pixels, out, in, input, weight, Store<T, S>{output.c, to, false, bias}, args.threads);
    } else {
      S* const kept = args.preactivation ? static_cast<S*>(args.preactivation) + g * out : nullptr;
      gemm<T>(pixels, out, in, input, weight, ActivatedStore<T, S>{bias, output, kept, activation}, args.threads);
    }
  }
  return true;
}

template <class S>
void forward(const ConvForward& args) {
  using T = Compute<S>;
  const ConvShape& s = args.shape;
  const PlaneShape shape = conv_planes(s);
  if (pointwise_channels_last<S>(args, shape)) return;

  const std::int64_t in = s.in_channels / s.groups, out = s.out_channels / s.groups;
  const std::int64_t depth = in * s.kernel[0] * s.kernel[1] * s.kernel[2];
  const ImageTensor<S> input = image_tensor<S>(args.input, args.input_strides);
  const PixelGrid grid{s.output[0], s.output[1], s.output[2]};
  const std::int64_t* const stride = args.output_strides;
  const std::int64_t chunk = images_at_a_time<T>(s.batch, s.in_channels * plane_size<T>(shape) + out * grid.count());
  Scratch scratch;
  std::int64_t* const offset = scratch.take<std::int64_t>(depth);
  T* const buffer =
      serves_as_planes<T>(input, shape) ? nullptr : scratch.take<T>(chunk * s.in_channels * plane_size<T>(shape) + 1);
  for (std::int64_t image = 0; image < s.batch; image += chunk) {
    const std::int64_t images = s.batch - image < chunk ? s.batch - image : chunk;
    const PlaneSet<T> planes = make_planes<T>(input, image, images, s.in_channels, shape, buffer, args.threads);
    if (image == 0) tap_offsets(s, shape, in, planes.plane, offset);
    const auto multiply = [&](const auto& columns, std::int64_t each, const ColumnLayout& layout) {
      const auto problem = [&](std::int64_t g) {
        const S* const bias = args.bias ? static_cast<const S*>(args.bias) + g * out : nullptr;
        const std::int64_t first = image * stride[0] + g * out * stride[1];
        S* const kept = args.preactivation ? static_cast<S*>(args.preactivation) + first : nullptr;
        const ImageStore<T, S> store{static_cast<S*>(args.output) + first,
                                     stride[0],
                                     stride[1],
                                     {stride[2], stride[3], stride[4]},
                                     grid,
                                     layout,
                                     bias,
                                     kept,
                                     static_cast<Activation>(args.activation)};
        return GemmProblem{Strided<S>{static_cast<const S*>(args.weight) + g * out * depth, depth, 1}, columns(g * in),
                           store};
      };
      gemm_batched<T>(s.groups, out, images * each, depth, problem, args.threads);
    };
    multiply_planes<T>(planes, offset, grid, out, depth, multiply);
  }
}

}  // namespace

void conv_forward(const ConvForward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    if (is_depthwise(args.shape)) {
      depthwise_forward<S>(args);
    } else {
      forward<S>(args);
    }
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
