#include "common/bind.h"
#include "ops/row_norm/row_norm.h"

namespace nnzoo {
namespace {

const Binder bind_row_norm([](py::module_& module) {
  module.def("row_norm_forward",
             [](Address input, Address residual, Address weight, Address bias, Address output, Address sum,
                Address mean, Address rstd, std::int64_t M, std::int64_t N, double eps, bool subtract_mean,
                double probability, std::int64_t seed, int dtype, int parameter_dtype, int threads) {
               const RowNormForward args{pointer<const void>(input),
                                         pointer<const void>(residual),
                                         pointer<const void>(weight),
                                         pointer<const void>(bias),
                                         pointer<void>(output),
                                         pointer<void>(sum),
                                         pointer<void>(mean),
                                         pointer<void>(rstd),
                                         M,
                                         N,
                                         eps,
                                         subtract_mean,
                                         probability,
                                         seed,
                                         static_cast<DType>(dtype),
                                         static_cast<DType>(parameter_dtype),
                                         usable_threads(threads)};
               py::gil_scoped_release release;
               row_norm_forward(args);
             });
  module.def("row_norm_backward",
             [](Address grad_output, Address grad_sum, Address x, Address weight, Address mean, Address rstd,
                Address grad_x, Address grad_input, Address grad_weight, Address grad_bias, std::int64_t M,
                std::int64_t N, double probability, std::int64_t seed, int dtype, int parameter_dtype, int threads) {
               const RowNormBackward args{pointer<const void>(grad_output),
                                          pointer<const void>(grad_sum),
                                          pointer<const void>(x),
                                          pointer<const void>(weight),
                                          pointer<const void>(mean),
                                          pointer<const void>(rstd),
                                          pointer<void>(grad_x),
                                          pointer<void>(grad_input),
                                          pointer<void>(grad_weight),
                                          pointer<void>(grad_bias),
                                          M,
                                          N,
                                          probability,
                                          seed,
                                          static_cast<DType>(dtype),
                                          static_cast<DType>(parameter_dtype),
                                          usable_threads(threads)};
               py::gil_scoped_release release;
               row_norm_backward(args);
             });
});

}  // namespace
}  // namespace nnzoo
