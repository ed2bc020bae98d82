#include "common/bind.h"
#include "ops/softmax/softmax.h"

namespace nnzoo {
namespace {

const Binder bind_softmax([](py::module_& module) {
  module.def("softmax_forward", [](Address input, Address output, std::int64_t outer, std::int64_t size,
                                   std::int64_t inner, bool logarithm, int dtype, int threads) {
    const SoftmaxForward args{pointer<const void>(input), pointer<void>(output),  outer, size, inner, logarithm,
                              static_cast<DType>(dtype),  usable_threads(threads)};
    py::gil_scoped_release release;
    softmax_forward(args);
  });
  module.def("softmax_backward", [](Address grad_output, Address output, Address grad_input, std::int64_t outer,
                                    std::int64_t size, std::int64_t inner, bool logarithm, int dtype, int threads) {
    const SoftmaxBackward args{pointer<const void>(grad_output),
                               pointer<const void>(output),
                               pointer<void>(grad_input),
                               outer,
                               size,
                               inner,
                               logarithm,
                               static_cast<DType>(dtype),
                               usable_threads(threads)};
    py::gil_scoped_release release;
    softmax_backward(args);
  });
});

}  // namespace
}  // namespace nnzoo
