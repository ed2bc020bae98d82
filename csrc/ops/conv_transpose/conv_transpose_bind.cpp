#include "ops/conv/conv_bind.h"
#include "ops/conv_transpose/conv_transpose.h"

namespace nnzoo {
namespace {

const Binder bind_conv_transpose([](py::module_& module) {
  module.def("conv_transpose_forward", &bound_forward<conv_transpose_forward>);
  module.def("conv_transpose_backward", &bound_backward<conv_transpose_backward>);
});

}  // namespace
}  // namespace nnzoo
