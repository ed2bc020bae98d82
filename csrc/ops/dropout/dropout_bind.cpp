#include "common/bind.h"
#include "ops/dropout/dropout.h"

namespace nnzoo {
namespace {

void forward(Address input, Address bias, Address residual, Address output, std::int64_t rows, std::int64_t columns,
             double probability, std::int64_t seed, int dtype, int threads) {
  const DropoutForward args{pointer<const void>(input),
                            pointer<const void>(bias),
                            pointer<const void>(residual),
                            pointer<void>(output),
                            rows,
                            columns,
                            probability,
                            seed,
                            static_cast<DType>(dtype),
                            usable_threads(threads)};
  py::gil_scoped_release release;
  dropout_forward(args);
}

const Binder bind_dropout([](py::module_& module) { module.def("dropout_forward", &forward, "See dropout.h."); });

}  // namespace
}  // namespace nnzoo
