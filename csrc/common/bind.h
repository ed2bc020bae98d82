// What a `*_bind.cpp` file needs: it registers its own functions, so that no central list names the ops.
//
//     static const nnzoo::Binder bind_linear([](py::module_& module) {
//       module.def("linear_forward", [](nnzoo::Address input, ..., int threads) {
//         nnzoo::LinearForward args{nnzoo::pointer<const void>(input), ..., nnzoo::usable_threads(threads)};
//         py::gil_scoped_release release;
//         nnzoo::linear_forward(args);
//       });
//     });
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

namespace nnzoo {

namespace py = pybind11;

// A tensor's `data_ptr()`; 0 stands for an absent tensor.
using Address = std::uintptr_t;

template <class T>
T* pointer(Address address) {
  return reinterpret_cast<T*>(address);
}

class Binder {
 public:
  using Function = void (*)(py::module_&);
  explicit Binder(Function function);
};

// Runs every binder of this module.
void bind_all(py::module_& module);

// The threads a kernel may use: `requested`, but one in a forked child, where an OpenMP parallel region would hang.
int usable_threads(int requested);

}  // namespace nnzoo
