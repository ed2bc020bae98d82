#include "ops/conv/conv_numbers.h"
#include "ops/conv_transpose/conv_transpose.h"

namespace nnzoo {
namespace {

void forward(Address input, Address weight, Address bias, Address output, const ConvNumbers& shape,
             const ConvStrides& input_strides, const ConvStrides& output_strides, int dtype, int threads) {
  ConvTransposeForward args{};
  args.input = pointer<const void>(input);
  args.weight = pointer<const void>(weight);
  args.bias = pointer<const void>(bias);
  args.output = pointer<void>(output);
  args.shape = shape_of(shape);
  copy_strides(input_strides, args.input_strides);
  copy_strides(output_strides, args.output_strides);
  args.dtype = static_cast<DType>(dtype);
  args.threads = usable_threads(threads);
  py::gil_scoped_release release;
  conv_transpose_forward(args);
}

void backward(Address grad_output, Address input, Address weight, Address grad_input, Address grad_weight,
              Address grad_bias, const ConvNumbers& shape, const ConvStrides& grad_output_strides,
              const ConvStrides& input_strides, const ConvStrides& grad_input_strides, int dtype, int threads) {
  ConvTransposeBackward args{};
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
  conv_transpose_backward(args);
}

const Binder bind_conv_transpose([](py::module_& module) {
  module.def("conv_transpose_forward", &forward);
  module.def("conv_transpose_backward", &backward);
});

}  // namespace
}  // namespace nnzoo
