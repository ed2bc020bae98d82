// How Python calls the kernels of a convolution, and gives them its shape and the strides of its tensors.
#pragma once

#include <pybind11/stl.h>

#include <array>

#include "common/bind.h"
#include "ops/conv/conv.h"

namespace nnzoo {

// (batch, in_channels, out_channels, groups), then three numbers each for input, kernel, output, stride, padding,
// dilation.
using ConvNumbers = std::array<std::int64_t, 22>;
using ConvStrides = std::array<std::int64_t, 5>;

inline ConvShape shape_of(const ConvNumbers& n) {
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

inline void copy_strides(const ConvStrides& from, std::int64_t (&to)[5]) {
  for (int i = 0; i < 5; ++i) to[i] = from[i];
}

// What Python calls for a kernel: addresses of tensors (0: absent), numbers and strides.

template <void (*kernel)(const ConvForward&)>
void bound_forward(Address input, Address weight, Address bias, Address output, Address preactivation,
                   const ConvNumbers& shape, const ConvStrides& input_strides, const ConvStrides& output_strides,
                   int activation, int dtype, int threads) {
  ConvForward args{};
  args.input = pointer<const void>(input);
  args.weight = pointer<const void>(weight);
  args.bias = pointer<const void>(bias);
  args.output = pointer<void>(output);
  args.preactivation = pointer<void>(preactivation);
  args.shape = shape_of(shape);
  copy_strides(input_strides, args.input_strides);
  copy_strides(output_strides, args.output_strides);
  args.activation = activation;
  args.dtype = static_cast<DType>(dtype);
  args.threads = usable_threads(threads);
  py::gil_scoped_release release;
  kernel(args);
}

template <void (*kernel)(const ConvBackward&)>
void bound_backward(Address grad_output, Address input, Address weight, Address grad_input, Address grad_weight,
                    Address grad_bias, const ConvNumbers& shape, const ConvStrides& grad_output_strides,
                    const ConvStrides& input_strides, const ConvStrides& grad_input_strides, int dtype, int threads) {
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
  args.threads = usable_threads(threads);
  py::gil_scoped_release release;
  kernel(args);
}

}  // namespace nnzoo
