#include <pybind11/stl.h>

#include <array>

#include "common/bind.h"
#include "ops/lstm/lstm.h"

namespace nnzoo {
namespace {

// steps, batch, rows, in_features, hidden, projection, batch_sizes, reverse, dtype, threads
using Shape = std::array<std::int64_t, 10>;
template <std::size_t n>
using Addresses = std::array<Address, n>;

LstmShape shape_of(const Shape& s) {
  return {s[0],
          s[1],
          s[2],
          s[3],
          s[4],
          s[5],
          pointer<const std::int64_t>(static_cast<Address>(s[6])),
          s[7] != 0,
          static_cast<DType>(s[8]),
          usable_threads(static_cast<int>(s[9]))};
}

LstmWeights weights_of(const Addresses<5>& w) {
  return {pointer<const void>(w[0]), pointer<const void>(w[1]), pointer<const void>(w[2]), pointer<const void>(w[3]),
          pointer<const void>(w[4])};
}

// tensors: input, h0, c0, output, h_n, c_n, gates, cells
void forward(const Shape& shape, const Addresses<5>& weights, const Addresses<8>& tensors, std::int64_t output_stride) {
  const LstmForward args{shape_of(shape),
                         weights_of(weights),
                         pointer<const void>(tensors[0]),
                         pointer<const void>(tensors[1]),
                         pointer<const void>(tensors[2]),
                         pointer<void>(tensors[3]),
                         output_stride,
                         pointer<void>(tensors[4]),
                         pointer<void>(tensors[5]),
                         pointer<void>(tensors[6]),
                         pointer<void>(tensors[7])};
  py::gil_scoped_release release;
  lstm_forward(args);
}

// tensors: input, h0, c0, output, gates, cells, grad_output, grad_h_n, grad_c_n
// grads: input, w_ih, w_hh, bias, w_hr, h0, c0
void backward(const Shape& shape, const Addresses<5>& weights, const Addresses<9>& tensors, const Addresses<7>& grads,
              std::int64_t output_stride, std::int64_t grad_output_stride, bool accumulate_input) {
  const LstmBackward args{shape_of(shape),
                          weights_of(weights),
                          pointer<const void>(tensors[0]),
                          pointer<const void>(tensors[1]),
                          pointer<const void>(tensors[2]),
                          pointer<const void>(tensors[3]),
                          output_stride,
                          pointer<const void>(tensors[4]),
                          pointer<const void>(tensors[5]),
                          pointer<const void>(tensors[6]),
                          grad_output_stride,
                          pointer<const void>(tensors[7]),
                          pointer<const void>(tensors[8]),
                          pointer<void>(grads[0]),
                          accumulate_input,
                          pointer<void>(grads[1]),
                          pointer<void>(grads[2]),
                          pointer<void>(grads[3]),
                          pointer<void>(grads[4]),
                          pointer<void>(grads[5]),
                          pointer<void>(grads[6])};
  py::gil_scoped_release release;
  lstm_backward(args);
}

void dropout(Address input, Address output, std::int64_t count, std::int64_t first, double probability,
             std::int64_t seed, int dtype, int threads) {
  const LstmDropout args{pointer<const void>(input), pointer<void>(output),  count, first, probability, seed,
                         static_cast<DType>(dtype),  usable_threads(threads)};
  py::gil_scoped_release release;
  lstm_dropout(args);
}

const Binder bind_lstm([](py::module_& module) {
  module.def("lstm_forward", &forward, "One direction of one layer; see csrc/ops/lstm/lstm.h.");
  module.def("lstm_backward", &backward, "Its gradients.");
  module.def("lstm_dropout", &dropout, "Dropout between layers.");
});

}  // namespace
}  // namespace nnzoo
