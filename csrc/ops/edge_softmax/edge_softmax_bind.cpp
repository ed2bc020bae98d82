#include "ops/edge_softmax/edge_softmax.h"
#include "ops/gather_scatter/groups_bind.h"

namespace nnzoo {
namespace {

bool forward(const Groups& in, Address scores, Address out, std::int64_t heads, int dtype, int threads) {
  bool valid = false;
  const EdgeSoftmaxForward args{edge_groups(in), pointer<const void>(scores), pointer<void>(out),
                                heads,           static_cast<DType>(dtype),   usable_threads(threads),
                                &valid};
  py::gil_scoped_release release;
  edge_softmax_forward(args);
  return valid;
}

bool backward(const Groups& in, Address grad, Address out, Address grad_scores, std::int64_t heads, int dtype,
              int threads) {
  bool valid = false;
  const EdgeSoftmaxBackward args{
      edge_groups(in), pointer<const void>(grad), pointer<const void>(out), pointer<void>(grad_scores),
      heads,           static_cast<DType>(dtype), usable_threads(threads),  &valid};
  py::gil_scoped_release release;
  edge_softmax_backward(args);
  return valid;
}

const Binder bind_edge_softmax([](py::module_& module) {
  module.def("edge_softmax_forward", &forward, "Whether the indices were valid; see edge_softmax.h.");
  module.def("edge_softmax_backward", &backward, "Whether the indices were valid; see edge_softmax.h.");
});

}  // namespace
}  // namespace nnzoo
