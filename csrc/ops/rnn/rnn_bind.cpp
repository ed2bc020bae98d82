#include "common/recurrent_bind.h"
#include "ops/rnn/rnn.h"

namespace nnzoo {
namespace {

void forward(const RecurrentSizes& sizes, const std::vector<RecurrentForwardAddresses>& directions,
             std::int64_t output_stride, bool relu) {
  const auto args = recurrent_forward(sizes, directions, output_stride);
  py::gil_scoped_release release;
  rnn_forward({recurrent_layer(args), relu});
}

void backward(const RecurrentSizes& sizes, const std::vector<RecurrentBackwardAddresses>& directions,
              std::int64_t output_stride, std::int64_t grad_output_stride, bool relu) {
  const auto args = recurrent_backward(sizes, directions, output_stride, grad_output_stride);
  py::gil_scoped_release release;
  rnn_backward({recurrent_layer(args), relu});
}

const Binder bind_rnn([](py::module_& module) {
  module.def("rnn_forward", &forward, "One layer; see csrc/common/recurrent_bind.h.");
  module.def("rnn_backward", &backward, "Its gradients.");
});

}  // namespace
}  // namespace nnzoo
