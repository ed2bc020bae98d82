#include "common/bind.h"
#include "ops/linear/linear.h"

namespace nnzoo {
namespace {

LinearForward forward_arguments(Address input, Address weight, Address bias, Address residual, Address output,
                                Address kept, std::int64_t M, std::int64_t N, std::int64_t K,
                                std::int64_t input_row_stride, std::int64_t weight_row_stride,
                                std::int64_t weight_col_stride, std::int64_t residual_row_stride, int activation,
                                int dtype, int threads) {
  return {pointer<const void>(input),
          pointer<const void>(weight),
          pointer<const void>(bias),
          pointer<const void>(residual),
          pointer<void>(output),
          pointer<void>(kept),
          M,
          N,
          K,
          input_row_stride,
          weight_row_stride,
          weight_col_stride,
          residual_row_stride,
          activation,
          static_cast<DType>(dtype),
          usable_threads(threads)};
}

const Binder bind_linear([](py::module_& module) {
  module.def(
      "linear_forward",
      [](Address input, Address weight, Address bias, Address residual, Address output, Address kept, std::int64_t M,
         std::int64_t N, std::int64_t K, std::int64_t input_row_stride, std::int64_t weight_row_stride,
         std::int64_t weight_col_stride, std::int64_t residual_row_stride, int activation, int dtype, int threads) {
        const LinearForward args =
            forward_arguments(input, weight, bias, residual, output, kept, M, N, K, input_row_stride, weight_row_stride,
                              weight_col_stride, residual_row_stride, activation, dtype, threads);
        py::gil_scoped_release release;
        linear_forward(args);
      });
  module.def("linear_forward_simple", [](int rung, Address input, Address weight, Address bias, Address residual,
                                         Address output, Address kept, std::int64_t M, std::int64_t N, std::int64_t K,
                                         std::int64_t input_row_stride, std::int64_t weight_row_stride,
                                         std::int64_t residual_row_stride, int activation, int dtype, int threads) {
    const LinearForward call = forward_arguments(input, weight, bias, residual, output, kept, M, N, K, input_row_stride,
                                                 weight_row_stride, 1, residual_row_stride, activation, dtype, threads);
    py::gil_scoped_release release;
    linear_forward_simple(LinearForwardSimple{call, static_cast<LinearRung>(rung)});
  });
  module.def("linear_forward_packed", [](Address input, Address packed, Address bias, Address residual, Address output,
                                         std::int64_t M, std::int64_t N, std::int64_t K, std::int64_t input_row_stride,
                                         std::int64_t residual_row_stride, int activation, int dtype, int threads) {
    const LinearForward args = forward_arguments(input, packed, bias, residual, output, 0, M, N, K, input_row_stride, 0,
                                                 0, residual_row_stride, activation, dtype, threads);
    py::gil_scoped_release release;
    linear_forward_packed(args);
  });
  module.def("linear_backward",
             [](Address grad_output, Address input, Address weight, Address kept, Address grad_input,
                Address grad_weight, Address grad_bias, std::int64_t M, std::int64_t N, std::int64_t K,
                std::int64_t grad_row_stride, std::int64_t input_row_stride, std::int64_t weight_row_stride,
                std::int64_t weight_col_stride, int activation, int dtype, int threads) {
               const LinearBackward args{pointer<const void>(grad_output),
                                         pointer<const void>(input),
                                         pointer<const void>(weight),
                                         pointer<const void>(kept),
                                         pointer<void>(grad_input),
                                         pointer<void>(grad_weight),
                                         pointer<void>(grad_bias),
                                         M,
                                         N,
                                         K,
                                         grad_row_stride,
                                         input_row_stride,
                                         weight_row_stride,
                                         weight_col_stride,
                                         activation,
                                         static_cast<DType>(dtype),
                                         usable_threads(threads)};
               py::gil_scoped_release release;
               linear_backward(args);
             });
  module.def("linear_activation_backward", [](Address grad_output, Address kept, Address grad, std::int64_t M,
                                              std::int64_t N, int activation, int dtype, int threads) {
    const LinearActivationBackward args{
        pointer<const void>(grad_output), pointer<const void>(kept), pointer<void>(grad), M, N, activation,
        static_cast<DType>(dtype),        usable_threads(threads)};
    py::gil_scoped_release release;
    linear_activation_backward(args);
  });
  module.def("linear_packed_size", [](std::int64_t N, std::int64_t K, int dtype) {
    std::int64_t bytes = 0;
    linear_packed_size(LinearPackedSize{N, K, static_cast<DType>(dtype), &bytes});
    return bytes;
  });
  module.def("linear_pack", [](Address weight, Address packed, std::int64_t N, std::int64_t K,
                               std::int64_t weight_row_stride, std::int64_t weight_col_stride, int dtype, int threads) {
    const LinearPack args{
        pointer<const void>(weight), pointer<void>(packed),  N, K, weight_row_stride, weight_col_stride,
        static_cast<DType>(dtype),   usable_threads(threads)};
    py::gil_scoped_release release;
    linear_pack(args);
  });
});

}  // namespace
}  // namespace nnzoo
