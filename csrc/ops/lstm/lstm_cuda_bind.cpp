#include <pybind11/stl.h>

#include <array>
#include <vector>

#include "common/bind.h"
#include "ops/lstm/lstm_cuda.h"

namespace nnzoo {
namespace {

// steps, batch, rows, hidden, projection, address of batch_sizes, reverse, dtype, allow_tf32
using Shape = std::array<std::int64_t, 9>;
template <std::size_t n>
using Addresses = std::array<Address, n>;

cuda::LstmSteps shape_of(const Shape& s) {
  return {s[0],      s[1],
          s[2],      s[3],
          s[4],      pointer<const std::int64_t>(static_cast<Address>(s[5])),
          s[6] != 0, static_cast<DType>(s[7]),
          s[8] != 0};
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

// The directions of a layer, one or two. tiles: 0 for a launch per step, else of a persistent cluster.
// tensors: w_hh, w_hr, preactivations, cells, h, c, output, m
void forward_steps(const std::vector<Shape>& shapes, const std::vector<Addresses<8>>& tensors,
                   std::int64_t output_stride, int tiles, Address stream) {
  std::vector<cuda::LstmForwardSteps> directions;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const Addresses<8>& t = tensors.at(i);
    directions.push_back({shape_of(shapes[i]), pointer<const void>(t[0]), pointer<const void>(t[1]),
                          pointer<void>(t[2]), pointer<void>(t[3]), pointer<void>(t[4]), pointer<void>(t[5]),
                          pointer<void>(t[6]), pointer<void>(t[7]), output_stride});
  }
  py::gil_scoped_release release;
  if (tiles > 0)
    return cuda::lstm_forward_persistent(directions.data(), static_cast<int>(directions.size()), tiles,
                                         pointer<void>(stream));
  for (const cuda::LstmForwardSteps& direction : directions) cuda::lstm_forward_steps(direction, pointer<void>(stream));
}

// tensors: w_hh, w_hr, preactivations, cells, output, h0, c0, grad_output; into: grad_h, grad_c, deltas, previous,
// projected, m, grad_m
void backward_steps(const std::vector<Shape>& shapes, const std::vector<Addresses<8>>& tensors,
                    const std::vector<Addresses<7>>& into, std::int64_t output_stride, std::int64_t grad_output_stride,
                    int tiles, Address stream) {
  std::vector<cuda::LstmBackwardSteps> directions;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const Addresses<8>& t = tensors.at(i);
    const Addresses<7>& to = into.at(i);
    directions.push_back({shape_of(shapes[i]), pointer<const void>(t[0]), pointer<const void>(t[1]),
                          pointer<const void>(t[2]), pointer<const void>(t[3]), pointer<const void>(t[4]),
                          pointer<const void>(t[5]), pointer<const void>(t[6]), pointer<const void>(t[7]),
                          pointer<void>(to[0]), pointer<void>(to[1]), pointer<void>(to[2]), pointer<void>(to[3]),
                          pointer<void>(to[4]), pointer<void>(to[5]), pointer<void>(to[6]), output_stride,
                          grad_output_stride});
  }
  py::gil_scoped_release release;
  if (tiles > 0)
    return cuda::lstm_backward_persistent(directions.data(), static_cast<int>(directions.size()), tiles,
                                          pointer<void>(stream));
  for (const cuda::LstmBackwardSteps& direction : directions)
    cuda::lstm_backward_steps(direction, pointer<void>(stream));
}

const Binder bind_lstm_cuda([](py::module_& module) {
  module.def("lstm_input_gates", &input_gates);
  module.def("lstm_forward_steps", &forward_steps);
  module.def("lstm_backward_steps", &backward_steps);
});

}  // namespace
}  // namespace nnzoo
