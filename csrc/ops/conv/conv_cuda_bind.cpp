#include <pybind11/stl.h>

#include <array>

#include "common/bind.h"
#include "ops/conv/conv_cuda.h"

namespace nnzoo {
namespace {

template <std::size_t count>
using Numbers = std::array<std::int64_t, count>;

template <std::size_t count>
void copy(const std::int64_t* from, std::int64_t (&to)[count]) {
  for (std::size_t i = 0; i < count; ++i) to[i] = from[i];
}

// As in conv_bind.cpp: (batch, in_channels, out_channels, groups), then three numbers each for input, kernel, output,
// stride, padding, dilation.
using ShapeNumbers = Numbers<22>;

ConvShape shape_of(const ShapeNumbers& n) {
  ConvShape shape{n[0], n[1], n[2], n[3], {}, {}, {}, {}, {}, {}};
  copy(&n[4], shape.input);
  copy(&n[7], shape.kernel);
  copy(&n[10], shape.output);
  copy(&n[13], shape.stride);
  copy(&n[16], shape.padding);
  copy(&n[19], shape.dilation);
  return shape;
}

void forward(bool tiled, Address input, Address weight, Address bias, Address output, Address preactivation,
             const ShapeNumbers& shape, const Numbers<5>& input_strides, const Numbers<5>& output_strides,
             int activation, int dtype, bool allow_tf32, Address stream) {
  ConvForward args{};
  args.input = pointer<const void>(input);
  args.weight = pointer<const void>(weight);
  args.bias = pointer<const void>(bias);
  args.output = pointer<void>(output);
  args.preactivation = pointer<void>(preactivation);
  args.shape = shape_of(shape);
  copy(input_strides.data(), args.input_strides);
  copy(output_strides.data(), args.output_strides);
  args.activation = activation;
  args.dtype = static_cast<DType>(dtype);
  py::gil_scoped_release release;
  if (tiled) return cuda::conv_forward_tiled(args, allow_tf32, pointer<void>(stream));
  cuda::conv_forward_naive(args, pointer<void>(stream));
}

void backward(bool tiled, Address grad_output, Address input, Address weight, Address grad_input, Address grad_weight,
              Address grad_bias, const ShapeNumbers& shape, const Numbers<5>& grad_output_strides,
              const Numbers<5>& input_strides, const Numbers<5>& grad_input_strides, int dtype, bool allow_tf32,
              Address stream) {
  ConvBackward args{};
  args.grad_output = pointer<const void>(grad_output);
  args.input = pointer<const void>(input);
  args.weight = pointer<const void>(weight);
  args.grad_input = pointer<void>(grad_input);
  args.grad_weight = pointer<void>(grad_weight);
  args.grad_bias = pointer<void>(grad_bias);
  args.shape = shape_of(shape);
  copy(grad_output_strides.data(), args.grad_output_strides);
  copy(input_strides.data(), args.input_strides);
  copy(grad_input_strides.data(), args.grad_input_strides);
  args.dtype = static_cast<DType>(dtype);
  py::gil_scoped_release release;
  if (tiled) return cuda::conv_backward_tiled(args, allow_tf32, pointer<void>(stream));
  cuda::conv_backward_naive(args, pointer<void>(stream));
}

// `sizes`: batch, groups, channels, padded channels, space.
void lay(Address from, Address to, const Numbers<7>& sizes, const Numbers<6>& from_strides,
         const Numbers<3>& to_strides, int dtype, Address stream) {
  cuda::ConvLayout args{
      pointer<const void>(from), pointer<void>(to), sizes[0], sizes[1], sizes[2], sizes[3], {}, {}, {}, {}};
  copy(&sizes[4], args.size);
  copy(from_strides.data(), args.from_strides);
  copy(to_strides.data(), args.to_strides);
  args.dtype = static_cast<DType>(dtype);
  py::gil_scoped_release release;
  cuda::conv_lay(args, pointer<void>(stream));
}

// `units`: of a group, and the elements of one.
void product(Address image, Address weight, Address bias, Address result, Address before, const ShapeNumbers& shape,
             const Numbers<2>& units, const Numbers<4>& image_strides, const Numbers<5>& result_strides, bool back,
             int activation, int dtype, bool allow_tf32, Address stream) {
  cuda::ConvProduct args{};
  args.image = pointer<const void>(image);
  args.weight = pointer<const void>(weight);
  args.bias = pointer<const void>(bias);
  args.result = pointer<void>(result);
  args.before = pointer<void>(before);
  args.shape = shape_of(shape);
  args.units = units[0];
  args.unit = units[1];
  copy(image_strides.data(), args.image_strides);
  copy(result_strides.data(), args.result_strides);
  args.back = back;
  args.activation = activation;
  args.dtype = static_cast<DType>(dtype);
  py::gil_scoped_release release;
  cuda::conv_product(args, allow_tf32, pointer<void>(stream));
}

// `sizes`: grad channels, units, elements of one; `parts`: how many, and the pixels of one.
cuda::ConvWeightProduct weight_product_of(Address grad, Address image, Address partial, const ShapeNumbers& shape,
                                          const Numbers<3>& sizes, const Numbers<4>& grad_strides,
                                          const Numbers<4>& image_strides, const Numbers<2>& parts, int dtype) {
  cuda::ConvWeightProduct args{};
  args.grad = pointer<const void>(grad);
  args.image = pointer<const void>(image);
  args.partial = pointer<void>(partial);
  args.shape = shape_of(shape);
  args.grad_channels = sizes[0];
  args.units = sizes[1];
  args.unit = sizes[2];
  copy(grad_strides.data(), args.grad_strides);
  copy(image_strides.data(), args.image_strides);
  args.parts = parts[0];
  args.part_pixels = parts[1];
  args.dtype = static_cast<DType>(dtype);
  return args;
}

void weight_product(Address grad, Address image, Address partial, const ShapeNumbers& shape, const Numbers<3>& sizes,
                    const Numbers<4>& grad_strides, const Numbers<4>& image_strides, const Numbers<2>& parts, int dtype,
                    bool allow_tf32, Address stream) {
  const auto args = weight_product_of(grad, image, partial, shape, sizes, grad_strides, image_strides, parts, dtype);
  py::gil_scoped_release release;
  cuda::conv_weight_product(args, allow_tf32, pointer<void>(stream));
}

void depthwise_weight(Address grad, Address image, Address partial, const ShapeNumbers& shape, const Numbers<3>& sizes,
                      const Numbers<4>& grad_strides, const Numbers<4>& image_strides, const Numbers<2>& parts,
                      int dtype, Address stream) {
  const auto args = weight_product_of(grad, image, partial, shape, sizes, grad_strides, image_strides, parts, dtype);
  py::gil_scoped_release release;
  cuda::conv_depthwise_weight(args, pointer<void>(stream));
}

cuda::ConvDirect direct_of(Address image, Address weight, Address bias, Address result, Address before,
                           const ShapeNumbers& shape, std::int64_t units, const Numbers<5>& image_strides,
                           const Numbers<5>& result_strides, bool back, int activation, int dtype) {
  cuda::ConvDirect args{};
  args.image = pointer<const void>(image);
  args.weight = pointer<const void>(weight);
  args.bias = pointer<const void>(bias);
  args.result = pointer<void>(result);
  args.before = pointer<void>(before);
  args.shape = shape_of(shape);
  args.units = units;
  copy(image_strides.data(), args.image_strides);
  copy(result_strides.data(), args.result_strides);
  args.back = back;
  args.activation = activation;
  args.dtype = static_cast<DType>(dtype);
  return args;
}

void direct(Address image, Address weight, Address bias, Address result, Address before, const ShapeNumbers& shape,
            std::int64_t units, const Numbers<5>& image_strides, const Numbers<5>& result_strides, bool back,
            int activation, int dtype, bool allow_tf32, Address stream) {
  const auto args = direct_of(image, weight, bias, result, before, shape, units, image_strides, result_strides, back,
                              activation, dtype);
  py::gil_scoped_release release;
  cuda::conv_direct(args, allow_tf32, pointer<void>(stream));
}

bool direct_fits(const ShapeNumbers& shape, bool back, int dtype) {
  return cuda::conv_direct_fits(direct_of(0, 0, 0, 0, 0, shape, 0, {}, {}, back, 0, dtype));
}

template <void (*kernel)(const cuda::ConvDepthwise&, void*)>
void depthwise(Address image, Address weight, Address bias, Address result, Address before, const ShapeNumbers& shape,
               const Numbers<5>& image_strides, const Numbers<5>& result_strides, bool back, int activation, int dtype,
               Address stream) {
  cuda::ConvDepthwise args{};
  args.image = pointer<const void>(image);
  args.weight = pointer<const void>(weight);
  args.bias = pointer<const void>(bias);
  args.result = pointer<void>(result);
  args.before = pointer<void>(before);
  args.shape = shape_of(shape);
  copy(image_strides.data(), args.image_strides);
  copy(result_strides.data(), args.result_strides);
  args.back = back;
  args.activation = activation;
  args.dtype = static_cast<DType>(dtype);
  py::gil_scoped_release release;
  kernel(args, pointer<void>(stream));
}

bool depthwise_planes_fit(const ShapeNumbers& shape, bool back, int dtype) {
  return cuda::conv_depthwise_planes_fit(shape_of(shape), back, static_cast<DType>(dtype));
}

// `sizes`: batch, channels, space.
void bias_parts(Address grad, Address partial, const Numbers<5>& sizes, const Numbers<4>& grad_strides,
                const Numbers<2>& parts, int dtype, Address stream) {
  cuda::ConvBiasParts args{
      pointer<const void>(grad), pointer<void>(partial), sizes[0], sizes[1], {}, {}, parts[0], parts[1],
      static_cast<DType>(dtype)};
  copy(&sizes[2], args.size);
  copy(grad_strides.data(), args.grad_strides);
  py::gil_scoped_release release;
  cuda::conv_bias_parts(args, pointer<void>(stream));
}

// `sizes`: parts, rows, taps, padded channels, channels.
void sum_parts(Address partial, Address result, const Numbers<5>& sizes, int dtype, Address stream) {
  const cuda::ConvPartSums args{
      pointer<const void>(partial), pointer<void>(result), sizes[0], sizes[1], sizes[2], sizes[3], sizes[4],
      static_cast<DType>(dtype)};
  py::gil_scoped_release release;
  cuda::conv_sum_parts(args, pointer<void>(stream));
}

const Binder bind_conv_cuda([](py::module_& module) {
  module.def("conv_forward", &forward);
  module.def("conv_backward", &backward);
  module.def("conv_lay", &lay);
  module.def("conv_product", &product);
  module.def("conv_weight_product", &weight_product);
  module.def("conv_bias_parts", &bias_parts);
  module.def("conv_sum_parts", &sum_parts);
  module.def("conv_direct", &direct);
  module.def("conv_direct_fits", &direct_fits);
  module.def("conv_depthwise_planes", &depthwise<cuda::conv_depthwise_planes>);
  module.def("conv_depthwise_packs", &depthwise<cuda::conv_depthwise_packs>);
  module.def("conv_depthwise_planes_fit", &depthwise_planes_fit);
  module.def("conv_depthwise_weight", &depthwise_weight);
});

}  // namespace
}  // namespace nnzoo
