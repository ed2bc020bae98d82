#include <pybind11/stl.h>

#include <array>

#include "common/bind.h"
#include "ops/lstm/lstm_cuda.h"

namespace nnzoo {
namespace {

// steps, batch, rows, hidden, address of batch_sizes, reverse, dtype, allow_tf32
using Shape = std::array<std::int64_t, 8>;
template <std::size_t n>
using Addresses = std::array<Address, n>;

cuda::LstmSteps shape_of(const Shape& s) {
  return {s[0],
          s[1],
          s[2],
          s[3],
          pointer<const std::int64_t>(static_cast<Address>(s[4])),
          s[5] != 0,
          static_cast<DType>(s[6]),
          s[7] != 0};
}

// tensors: input, w_ih, b_ih, b_hh, preactivations
void input_gates(const Shape& shape, const Addresses<5>& tensors, std::int64_t in_features, Address stream) {
  const cuda::LstmInputGates args{shape_of(shape),
                                  pointer<const void>(tensors[0]),
                                  pointer<const void>(tensors[1]),
                                  pointer<const void>(tensors[2]),
                                  pointer<const void>(tensors[3]),
                                  pointer<void>(tensors[4]),
                                  in_features};
  py::gil_scoped_release release;
  cuda::lstm_input_gates(args, pointer<void>(stream));
}

// tensors: w_hh, preactivations, cells, h, c, output; tiles: 0 for a launch per step, else of a persistent cluster
void forward_steps(const Shape& shape, const Addresses<6>& tensors, std::int64_t output_stride, int tiles,
                   Address stream) {
  const cuda::LstmForwardSteps args{
      shape_of(shape),           pointer<const void>(tensors[0]), pointer<void>(tensors[1]), pointer<void>(tensors[2]),
      pointer<void>(tensors[3]), pointer<void>(tensors[4]),       pointer<void>(tensors[5]), output_stride};
  py::gil_scoped_release release;
  if (tiles > 0) return cuda::lstm_forward_persistent(args, tiles, pointer<void>(stream));
  cuda::lstm_forward_steps(args, pointer<void>(stream));
}

// tensors: w_hh, preactivations, cells, output, h0, c0, grad_output; into: grad_h, grad_c, deltas, previous
void backward_steps(const Shape& shape, const Addresses<7>& tensors, const Addresses<4>& into,
                    std::int64_t output_stride, std::int64_t grad_output_stride, int tiles, Address stream) {
  const cuda::LstmBackwardSteps args{shape_of(shape),
                                     pointer<const void>(tensors[0]),
                                     pointer<const void>(tensors[1]),
                                     pointer<const void>(tensors[2]),
                                     pointer<const void>(tensors[3]),
                                     pointer<const void>(tensors[4]),
                                     pointer<const void>(tensors[5]),
                                     pointer<const void>(tensors[6]),
                                     pointer<void>(into[0]),
                                     pointer<void>(into[1]),
                                     pointer<void>(into[2]),
                                     pointer<void>(into[3]),
                                     output_stride,
                                     grad_output_stride};
  py::gil_scoped_release release;
  if (tiles > 0) return cuda::lstm_backward_persistent(args, tiles, pointer<void>(stream));
  cuda::lstm_backward_steps(args, pointer<void>(stream));
}

const Binder bind_lstm_cuda([](py::module_& module) {
  module.def("lstm_input_gates", &input_gates);
  module.def("lstm_forward_steps", &forward_steps);
  module.def("lstm_backward_steps", &backward_steps);
});

}  // namespace
}  // namespace nnzoo
