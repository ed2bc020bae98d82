#include "common/bind.h"
#include "ops/cross_entropy/cross_entropy.h"

namespace nnzoo {
namespace {

CrossEntropy call_of(Address input, Address target, Address probabilities, Address weight, std::int64_t rows,
                     std::int64_t classes, std::int64_t ignore_index, double smoothing, int reduction, int dtype,
                     int threads) {
  return {pointer<const void>(input),
          pointer<const std::int64_t>(target),
          pointer<const void>(probabilities),
          pointer<const void>(weight),
          rows,
          classes,
          ignore_index,
          smoothing,
          static_cast<LossReduction>(reduction),
          static_cast<DType>(dtype),
          usable_threads(threads)};
}

// The first target that is neither a class nor ignore_index; -1 if there is none.
std::int64_t first_wrong(Address target, std::int64_t count, std::int64_t classes, std::int64_t ignore_index) {
  const std::int64_t* const targets = pointer<const std::int64_t>(target);
  for (std::int64_t i = 0; i < count; ++i) {
    if ((targets[i] < 0 || targets[i] >= classes) && targets[i] != ignore_index) return i;
  }
  return -1;
}

const Binder bind_cross_entropy([](py::module_& module) {
  module.def("cross_entropy_check", &first_wrong);
  module.def("cross_entropy_forward",
             [](Address loss, Address kept, Address denominator, Address input, Address target, Address probabilities,
                Address weight, std::int64_t rows, std::int64_t classes, std::int64_t ignore_index, double smoothing,
                int reduction, int dtype, int threads) {
               const CrossEntropyForward args{call_of(input, target, probabilities, weight, rows, classes, ignore_index,
                                                      smoothing, reduction, dtype, threads),
                                              pointer<void>(loss), pointer<void>(kept), pointer<double>(denominator)};
               py::gil_scoped_release release;
               cross_entropy_forward(args);
             });
  module.def(
      "cross_entropy_backward",
      [](Address grad_loss, Address kept, Address denominator, Address grad_input, Address grad_probabilities,
         Address input, Address target, Address probabilities, Address weight, std::int64_t rows, std::int64_t classes,
         std::int64_t ignore_index, double smoothing, int reduction, int dtype, int threads) {
        const CrossEntropyBackward args{call_of(input, target, probabilities, weight, rows, classes, ignore_index,
                                                smoothing, reduction, dtype, threads),
                                        pointer<const void>(grad_loss),
                                        pointer<const void>(kept),
                                        pointer<const double>(denominator),
                                        pointer<void>(grad_input),
                                        pointer<void>(grad_probabilities)};
        py::gil_scoped_release release;
        cross_entropy_backward(args);
      });
});

}  // namespace
}  // namespace nnzoo
