#include "common/recurrent_bind.h"
#include "ops/gru/gru.h"

namespace nnzoo {
namespace {

void forward(const RecurrentSizes& sizes, const std::vector<RecurrentForwardAddresses>& directions,
             std::int64_t output_stride) {
  const auto args = recurrent_forward(sizes, directions, output_stride);
  py::gil_scoped_release release;
  gru_forward(recurrent_layer(args));
}

void backward(const RecurrentSizes& sizes, const std::vector<RecurrentBackwardAddresses>& directions,
              std::int64_t output_stride, std::int64_t grad_output_stride) {
  const auto args = recurrent_backward(sizes, directions, output_stride, grad_output_stride);
  py::gil_scoped_release release;
  gru_backward(recurrent_layer(args));
}

const Binder bind_gru([](py::module_& module) {
  module.def("gru_forward", &forward, "One layer; see csrc/common/recurrent_bind.h.");
  module.def("gru_backward", &backward, "Its gradients.");
});

}  // namespace
}  // namespace nnzoo
