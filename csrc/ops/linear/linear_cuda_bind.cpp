#include <pybind11/stl.h>

#include <array>

#include "common/bind.h"
#include "ops/linear/linear_cuda.h"

namespace nnzoo {
namespace {

// tensors: a, b, bias, residual, out, kept, parts; sizes: rows, columns, depth, a_row, a_depth, b_row, b_depth,
// slice
void product(const std::array<Address, 7>& tensors, const std::array<std::int64_t, 8>& sizes, int activation, int dtype,
             int kernel, int multiprocessors, Address stream) {
  const cuda::LinearProduct args{pointer<const void>(tensors[0]),
                                 pointer<const void>(tensors[1]),
                                 pointer<const void>(tensors[2]),
                                 pointer<const void>(tensors[3]),
                                 pointer<void>(tensors[4]),
                                 pointer<void>(tensors[5]),
                                 pointer<void>(tensors[6]),
                                 sizes[0],
                                 sizes[1],
                                 sizes[2],
                                 sizes[3],
                                 sizes[4],
                                 sizes[5],
                                 sizes[6],
                                 sizes[7],
                                 activation,
                                 static_cast<DType>(dtype),
                                 static_cast<cuda::LinearKernel>(kernel),
                                 multiprocessors};
  py::gil_scoped_release release;
  cuda::linear_product(args, pointer<void>(stream));
}

// tensors: grad, kept, out, sums, parts; sizes: rows, columns, grad_row, grad_column, slice
void gradient(const std::array<Address, 5>& tensors, const std::array<std::int64_t, 5>& sizes, int activation,
              int dtype, Address stream) {
  const cuda::LinearGradient args{pointer<const void>(tensors[0]),
                                  pointer<const void>(tensors[1]),
                                  pointer<void>(tensors[2]),
                                  pointer<void>(tensors[3]),
                                  pointer<void>(tensors[4]),
                                  sizes[0],
                                  sizes[1],
                                  sizes[2],
                                  sizes[3],
                                  sizes[4],
                                  activation,
                                  static_cast<DType>(dtype)};
  py::gil_scoped_release release;
  cuda::linear_gradient(args, pointer<void>(stream));
}

const Binder bind_linear_cuda([](py::module_& module) {
  module.def("linear_product", &product);
  module.def("linear_gradient", &gradient);
});

}  // namespace
}  // namespace nnzoo
