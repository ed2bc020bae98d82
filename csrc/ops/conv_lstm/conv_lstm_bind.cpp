#include <pybind11/stl.h>

#include <array>

#include "common/bind.h"
#include "ops/conv_lstm/conv_lstm.h"

namespace nnzoo {
namespace {

// (steps, batch, in_channels, hidden), then three numbers each for input, state, kernel, dilation, input_padding,
// state_padding.
using Numbers = std::array<std::int64_t, 22>;

ConvLstmShape shape_of(const Numbers& n) {
  ConvLstmShape shape{n[0], n[1], n[2], n[3], {}, {}, {}, {}, {}, {}};
  for (int i = 0; i < 3; ++i) {
    shape.input[i] = n[4 + i];
    shape.state[i] = n[7 + i];
    shape.kernel[i] = n[10 + i];
    shape.dilation[i] = n[13 + i];
    shape.input_padding[i] = n[16 + i];
    shape.state_padding[i] = n[19 + i];
  }
  return shape;
}

// tensors: input, h0, c0, w_ih, w_hh, bias, output, c_n, gates, cells.
void forward(const Numbers& shape, const std::array<Address, 10>& tensors, int dtype, int threads) {
  ConvLstmForward args{};
  args.input = pointer<const void>(tensors[0]);
  args.h0 = pointer<const void>(tensors[1]);
  args.c0 = pointer<const void>(tensors[2]);
  args.w_ih = pointer<const void>(tensors[3]);
  args.w_hh = pointer<const void>(tensors[4]);
  args.bias = pointer<const void>(tensors[5]);
  args.output = pointer<void>(tensors[6]);
  args.c_n = pointer<void>(tensors[7]);
  args.gates = pointer<void>(tensors[8]);
  args.cells = pointer<void>(tensors[9]);
  args.shape = shape_of(shape);
  args.dtype = static_cast<DType>(dtype);
  args.threads = usable_threads(threads);
  py::gil_scoped_release release;
  conv_lstm_forward(args);
}

// tensors: grad_output, grad_c_n, c0, w_hh, gates, cells, grad_gates, grad_h0, grad_c0.
void backward(const Numbers& shape, const std::array<Address, 9>& tensors, int dtype, int threads) {
  ConvLstmBackward args{};
  args.grad_output = pointer<const void>(tensors[0]);
  args.grad_c_n = pointer<const void>(tensors[1]);
  args.c0 = pointer<const void>(tensors[2]);
  args.w_hh = pointer<const void>(tensors[3]);
  args.gates = pointer<const void>(tensors[4]);
  args.cells = pointer<const void>(tensors[5]);
  args.grad_gates = pointer<void>(tensors[6]);
  args.grad_h0 = pointer<void>(tensors[7]);
  args.grad_c0 = pointer<void>(tensors[8]);
  args.shape = shape_of(shape);
  args.dtype = static_cast<DType>(dtype);
  args.threads = usable_threads(threads);
  py::gil_scoped_release release;
  conv_lstm_backward(args);
}

const Binder bind_conv_lstm([](py::module_& module) {
  module.def("conv_lstm_forward", &forward);
  module.def("conv_lstm_backward", &backward);
});

}  // namespace
}  // namespace nnzoo
