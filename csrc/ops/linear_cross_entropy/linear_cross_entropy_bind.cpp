#include "common/bind.h"
#include "ops/linear_cross_entropy/linear_cross_entropy.h"

namespace nnzoo {
namespace {

const Binder bind_linear_cross_entropy([](py::module_& module) {
  module.def("linear_cross_entropy",
             [](Address input, Address weight, Address bias, Address target, Address loss, Address grad_input,
                Address grad_weight, Address grad_bias, Address chunk, Address sums, std::int64_t rows,
                std::int64_t features, std::int64_t classes, std::int64_t chunk_rows, std::int64_t ignore_index,
                double smoothing, int reduction, int dtype, int threads) {
               const LinearCrossEntropy args{pointer<const void>(input),
                                             pointer<const void>(weight),
                                             pointer<const void>(bias),
                                             pointer<const std::int64_t>(target),
                                             pointer<void>(loss),
                                             pointer<void>(grad_input),
                                             pointer<void>(grad_weight),
                                             pointer<void>(grad_bias),
                                             pointer<void>(chunk),
                                             pointer<void>(sums),
                                             rows,
                                             features,
                                             classes,
                                             chunk_rows,
                                             ignore_index,
                                             smoothing,
                                             static_cast<LossReduction>(reduction),
                                             static_cast<DType>(dtype),
                                             usable_threads(threads)};
               py::gil_scoped_release release;
               linear_cross_entropy(args);
             });
});

}  // namespace
}  // namespace nnzoo
