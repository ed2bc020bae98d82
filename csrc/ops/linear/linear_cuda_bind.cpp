#include "common/bind.h"
#include "ops/linear/linear_cuda.h"

namespace nnzoo {
namespace {

const Binder bind_linear_cuda([](py::module_& module) {
  module.def("linear_product",
             [](Address a, Address b, Address bias, Address out, Address before, std::int64_t rows,
                std::int64_t columns, std::int64_t depth, std::int64_t a_row, std::int64_t a_depth, std::int64_t b_row,
                std::int64_t b_depth, int activation, int dtype, bool allow_tf32, Address stream) {
               const cuda::LinearProduct args{pointer<const void>(a),
                                              pointer<const void>(b),
                                              pointer<const void>(bias),
                                              pointer<void>(out),
                                              pointer<void>(before),
                                              rows,
                                              columns,
                                              depth,
                                              a_row,
                                              a_depth,
                                              b_row,
                                              b_depth,
                                              activation,
                                              static_cast<DType>(dtype),
                                              allow_tf32};
               py::gil_scoped_release release;
               cuda::linear_product(args, pointer<void>(stream));
             });
  module.def("linear_activation_gradient",
             [](Address grad, Address kept, Address out, std::int64_t rows, std::int64_t columns, std::int64_t grad_row,
                std::int64_t grad_column, int activation, int dtype, Address stream) {
               const cuda::LinearActivationGradient args{pointer<const void>(grad),
                                                         pointer<const void>(kept),
                                                         pointer<void>(out),
                                                         rows,
                                                         columns,
                                                         grad_row,
                                                         grad_column,
                                                         activation,
                                                         static_cast<DType>(dtype)};
               py::gil_scoped_release release;
               cuda::linear_activation_gradient(args, pointer<void>(stream));
             });
  module.def("linear_column_sum", [](Address grad, Address out, std::int64_t rows, std::int64_t columns,
                                     std::int64_t grad_row, std::int64_t grad_column, int dtype, Address stream) {
    const cuda::LinearColumnSum args{
        pointer<const void>(grad), pointer<void>(out), rows, columns, grad_row, grad_column, static_cast<DType>(dtype)};
    py::gil_scoped_release release;
    cuda::linear_column_sum(args, pointer<void>(stream));
  });
});

}  // namespace
}  // namespace nnzoo
