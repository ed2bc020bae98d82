// nnzoo_fast._C: the CPU kernels. Each op registers its own functions; this file knows none of them.
#include "common/bind.h"

PYBIND11_MODULE(_C, module) {
  module.doc() = "CPU kernels of nnzoo_fast: pointers and sizes in, no torch inside.";
  nnzoo::bind_all(module);
}
