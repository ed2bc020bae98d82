#include "ops/conv/conv_depthwise.h"
#include "ops/conv/conv_grad_patches.h"
#include "ops/conv/conv_grad_planes.h"
#include "ops/conv/conv_pieces.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S>
S* class_output(const ConvGradInput& args, const GradClass& c) {
  const std::int64_t* const stride = args.grad_input_strides;
  return static_cast<S*>(args.grad_input) + c.residue[0] * stride[2] + c.residue[1] * stride[3] +
         c.residue[2] * stride[4];
}

template <class S>
Compute<S> bias_of(const ConvGradInput& args, std::int64_t channel) {
  return args.bias ? Compute<S>(to_float(static_cast<const S*>(args.bias)[channel])) : Compute<S>(0);
}

// The weight as A of every class's product, [groups * in, out * taps] one class behind another.
template <class S>
void transpose_weight(const ConvGradInput& args, const PlaneShape& shape, S* to) {
  const ConvShape& s = args.shape;
  const std::int64_t in = s.in_channels / s.groups, out = s.out_channels / s.groups;
  const std::int64_t all_taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  for_each_grad_class(s, shape, [&](const GradClass& c) {
    for (std::int64_t row = 0; row < s.in_channels; ++row) {
      const std::int64_t g = row / in;
      const S* const from = static_cast<const S*>(args.weight) + (g * out * in + row % in) * all_taps;
      for (std::int64_t o = 0; o < out; ++o) {
        for (std::int64_t t = 0; t < c.taps; ++t) *to++ = from[o * in * all_taps + c.tap[t]];
      }
    }
  });
}

// Images [image, image + images); `transposed` is what transpose_weight wrote, or null.
template <class S>
void grad_images(const ConvGradInput& args, const PlaneShape& shape, std::int64_t image, std::int64_t images,
                 const S* transposed, std::int64_t* offset, Compute<S>* buffer, int threads) {
  using T = Compute<S>;
  const ConvShape& s = args.shape;
  const std::int64_t in = s.in_channels / s.groups, out = s.out_channels / s.groups;
  const std::int64_t all_taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  const std::int64_t* const stride = args.grad_input_strides;
  const ImageTensor<S> grad = image_tensor<S>(args.grad_output, args.grad_output_strides);
  const PlaneSet<T> planes = make_planes<T>(grad, image, images, s.out_channels, shape, buffer, threads);
  for_each_grad_class(s, shape, [&](const GradClass& c) {
    const std::int64_t depth = out * c.taps;
    for (std::int64_t i = 0; i < depth; ++i) offset[i] = i / c.taps * planes.plane + c.shift[i % c.taps];
    const auto multiply = [&](const auto& columns, std::int64_t each, const ColumnLayout& layout) {
      const auto store = [&](std::int64_t g) {
        const S* const bias = args.bias ? static_cast<const S*>(args.bias) + g * in : nullptr;
        S* const output = class_output<S>(args, c) + image * stride[0] + g * in * stride[1];
        return ImageStore<T, S>{
            output, stride[0], stride[1], {s.stride[0] * stride[2], s.stride[1] * stride[3], s.stride[2] * stride[4]},
            c.grid, layout,    bias};
      };
      if (transposed) {
        const auto problem = [&](std::int64_t g) {
          return GemmProblem{Strided<S>{transposed + g * in * depth, depth, 1}, columns(g * out), store(g)};
        };
        gemm_batched<T>(s.groups, in, images * each, depth, problem, threads);
      } else {
        const auto problem = [&](std::int64_t g) {
          const S* const weight = static_cast<const S*>(args.weight) + g * out * in * all_taps;
          return GemmProblem{TransposedWeight<S>{weight, in, all_taps, c.tap, c.taps}, columns(g * out), store(g)};
        };
        gemm_batched<T>(s.groups, in, images * each, depth, problem, threads);
      }
    };
    multiply_planes<T>(planes, offset, c.grid, in, depth, multiply);
    if (transposed) transposed += s.in_channels * depth;
  });
}

// As grad_images, all taps at once; see conv_grad_patches.h.
template <class S>
void grad_patches(const ConvGradInput& args, const PlaneShape& shape, std::int64_t image, std::int64_t images,
                  std::int64_t* offset, Compute<S>* buffer, int threads) {
  using T = Compute<S>;
  const ConvShape& s = args.shape;
  const std::int64_t in = s.in_channels / s.groups, out = s.out_channels / s.groups;
  const std::int64_t rows = in * s.kernel[0] * s.kernel[1] * s.kernel[2];
  const std::int64_t* const stride = args.grad_input_strides;
  const PixelGrid grid{s.output[0], s.output[1], s.output[2]};
  const ImageTensor<S> grad = image_tensor<S>(args.grad_output, args.grad_output_strides);
  const PlaneSet<T> planes = make_planes<T>(grad, image, images, s.out_channels, shape, buffer, threads);
  for (std::int64_t o = 0; o < out; ++o) offset[o] = o * planes.plane;
  multiply_planes<T>(planes, offset, grid, rows, out,
                     [&](const auto& columns, std::int64_t each, const ColumnLayout& layout) {
                       const auto problem = [&](std::int64_t g) {
                         const S* const weight = static_cast<const S*>(args.weight) + g * out * rows;
                         S* const output = static_cast<S*>(args.grad_input) + image * stride[0] + g * in * stride[1];
                         const PatchStore<T, S> store{output,
                                                      stride[0],
                                                      stride[1],
                                                      {stride[2], stride[3], stride[4]},
                                                      {s.kernel[0], s.kernel[1], s.kernel[2]},
                                                      grid,
                                                      layout,
                                                      args.bias ? static_cast<const S*>(args.bias) + g * in : nullptr};
                         return GemmProblem{Strided<S>{weight, 1, rows}, columns(g * out), store};
                       };
                       gemm_batched<T>(s.groups, rows, images * each, out, problem, threads);
                     });
}

// Each thread makes the planes of some images and multiplies them while they are in its second-level cache.
template <class S>
void grad_input_in_pieces(const ConvGradInput& args, const PlaneShape& shape, const Pieces& pieces) {
  using T = Compute<S>;
  const ConvShape& s = args.shape;
  const std::int64_t depth = s.out_channels / s.groups * s.kernel[0] * s.kernel[1] * s.kernel[2];
  Scratch scratch;
  S* const transposed = scratch.take<S>(s.in_channels * depth);
  transpose_weight(args, shape, transposed);
  parallel_for(pieces.count, args.threads, [&](std::int64_t begin, std::int64_t end) {
    Scratch own;
    std::int64_t* const offset = own.take<std::int64_t>(depth);
    T* const buffer = own.take<T>(pieces.images * s.out_channels * plane_size<T>(shape) + 1);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t image = i * pieces.images, left = s.batch - image;
      grad_images<S>(args, shape, image, left < pieces.images ? left : pieces.images, transposed, offset, buffer, 1);
    }
  });
}

template <class S>
void grad_input(const ConvGradInput& args) {
  using T = Compute<S>;
  const ConvShape& s = args.shape;
  const bool patches = windows_fill_image(s);
  const PlaneShape shape = patches ? patch_planes(s) : grad_planes(s);
  const std::int64_t in = s.in_channels / s.groups, out = s.out_channels / s.groups;
  const std::int64_t depth = out * s.kernel[0] * s.kernel[1] * s.kernel[2];
  const bool in_place = serves_as_planes<T>(image_tensor<S>(args.grad_output, args.grad_output_strides), shape);
  const std::int64_t plane_values = s.out_channels * plane_size<T>(shape);
  if (!in_place && !patches) {
    const std::int64_t size = static_cast<std::int64_t>(sizeof(T));
    const std::int64_t pixels = s.output[0] * s.output[1] * s.output[2];
    const Pieces pieces = cut_into_pieces<T>(s.batch, pixels, plane_values * size, in * depth * size, args.threads);
    if (pieces.count > 0) return grad_input_in_pieces<S>(args, shape, pieces);
  }
  const std::int64_t pixels = s.input[0] * s.input[1] * s.input[2];
  const std::int64_t chunk = images_at_a_time<T>(s.batch, plane_values + in * pixels);
  Scratch scratch;
  std::int64_t* const offset = scratch.take<std::int64_t>(depth);
  T* const buffer = in_place ? nullptr : scratch.take<T>(chunk * plane_values + 1);
  for (std::int64_t image = 0; image < s.batch; image += chunk) {
    const std::int64_t images = s.batch - image < chunk ? s.batch - image : chunk;
    if (patches) {
      grad_patches<S>(args, shape, image, images, offset, buffer, args.threads);
    } else {
      grad_images<S>(args, shape, image, images, nullptr, offset, buffer, args.threads);
    }
  }
}

template <class S>
void depthwise_grad_input(const ConvGradInput& args) {
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
    zero_row(planes, multiplier * plane);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t image = i / s.in_channels, channel = i % s.in_channels;
      for (std::int64_t m = 0; m < multiplier; ++m) {
        fill_planes(grad, image, channel * multiplier + m, 1, shape, planes + m * plane, plane, false);
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
        store_pixels(sums, c.grid, row_pitch, depth_pitch, bias_of<S>(args, channel), pixel_stride,
                     class_output<S>(args, c) + image * stride[0] + channel * stride[1]);
      });
    }
  });
}

}  // namespace

void conv_grad_input(const ConvGradInput& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    is_depthwise(args.shape) ? depthwise_grad_input<S>(args) : grad_input<S>(args);
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
