#include "ops/conv/conv_bind.h"

namespace nnzoo {
namespace {

const Binder bind_conv([](py::module_& module) {
  module.def("conv_forward", &bound_forward<conv_forward>);
  module.def("conv_forward_im2col", &bound_forward<conv_forward_im2col>);
  module.def("conv_backward", &bound_backward<conv_backward>);
});

}  // namespace
}  // namespace nnzoo
