#include <pybind11/stl.h>

#include <array>

#include "common/bind.h"
#include "ops/conv/conv_cuda.h"

namespace nnzoo {
namespace {

// As in conv_bind.cpp: (batch, in_channels, out_channels, groups), then three numbers each for input, kernel, output,
// stride, padding, dilation.
using Numbers = std::array<std::int64_t, 22>;
using Strides = std::array<std::int64_t, 5>;

ConvShape shape_of(const Numbers& n) {
  ConvShape shape{n[0], n[1], n[2], n[3], {}, {}, {}, {}, {}, {}};
  for (int i = 0; i < 3; ++i) {
    shape.input[i] = n[4 + i];
    shape.kernel[i] = n[7 + i];
    shape.output[i] = n[10 + i];
    shape.stride[i] = n[13 + i];
    shape.padding[i] = n[16 + i];
    shape.dilation[i] = n[19 + i];
  }
  return shape;
}

void copy_strides(const Strides& from, std::int64_t (&to)[5]) {
  for (int i = 0; i < 5; ++i) to[i] = from[i];
}

void forward(Address input, Address weight, Address bias, Address output, const Numbers& shape,
             const Strides& input_strides, const Strides& output_strides, int dtype, bool allow_tf32, Address stream) {
  ConvForward args{};
  args.input = pointer<const void>(input);
  args.weight = pointer<const void>(weight);
  args.bias = pointer<const void>(bias);
  args.output = pointer<void>(output);
  args.shape = shape_of(shape);
  copy_strides(input_strides, args.input_strides);
  copy_strides(output_strides, args.output_strides);
  args.dtype = static_cast<DType>(dtype);
  py::gil_scoped_release release;
  cuda::conv_forward(args, allow_tf32, pointer<void>(stream));
}

void backward(Address grad_output, Address input, Address weight, Address grad_input, Address grad_weight,
              Address grad_bias, const Numbers& shape, const Strides& grad_output_strides, const Strides& input_strides,
              const Strides& grad_input_strides, int dtype, bool allow_tf32, Address stream) {
  ConvBackward args{};
  args.grad_output = pointer<const void>(grad_output);
  args.input = pointer<const void>(input);
  args.weight = pointer<const void>(weight);
  args.grad_input = pointer<void>(grad_input);
  args.grad_weight = pointer<void>(grad_weight);
  args.grad_bias = pointer<void>(grad_bias);
  args.shape = shape_of(shape);
  copy_strides(grad_output_strides, args.grad_output_strides);
  copy_strides(input_strides, args.input_strides);
  copy_strides(grad_input_strides, args.grad_input_strides);
  args.dtype = static_cast<DType>(dtype);
  py::gil_scoped_release release;
  cuda::conv_backward(args, allow_tf32, pointer<void>(stream));
}

const Binder bind_conv_cuda([](py::module_& module) {
  module.def("conv_forward", &forward);
  module.def("conv_backward", &backward);
});

}  // namespace
}  // namespace nnzoo
