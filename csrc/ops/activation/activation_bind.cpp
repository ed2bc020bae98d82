#include "common/bind.h"
#include "ops/activation/activation.h"

namespace nnzoo {
namespace {

const Binder bind_activation([](py::module_& module) {
  module.def("activation_forward", [](Address input, Address output, std::int64_t count, int function, double first,
                                      double second, int dtype, int threads) {
    const ActivationForward args{pointer<const void>(input), pointer<void>(output),  count, function, {first, second},
                                 static_cast<DType>(dtype),  usable_threads(threads)};
    py::gil_scoped_release release;
    activation_forward(args);
  });
  module.def("activation_backward", [](Address grad_output, Address kept, Address grad_input, std::int64_t count,
                                       int function, double first, double second, int dtype, int threads) {
    const ActivationBackward args{pointer<const void>(grad_output),
                                  pointer<const void>(kept),
                                  pointer<void>(grad_input),
                                  count,
                                  function,
                                  {first, second},
                                  static_cast<DType>(dtype),
                                  usable_threads(threads)};
    py::gil_scoped_release release;
    activation_backward(args);
  });
});

}  // namespace
}  // namespace nnzoo
