#include "common/bind.h"
#include "ops/recurrent_dropout/recurrent_dropout.h"

namespace nnzoo {
namespace {

void dropout(Address input, Address output, std::int64_t count, std::int64_t first, double probability,
             std::int64_t seed, int dtype, int threads) {
  const RecurrentDropout args{pointer<const void>(input), pointer<void>(output),  count, first, probability, seed,
                              static_cast<DType>(dtype),  usable_threads(threads)};
  py::gil_scoped_release release;
  recurrent_dropout(args);
}

const Binder bind_recurrent_dropout([](py::module_& module) {
  module.def("recurrent_dropout", &dropout, "Dropout between recurrent layers.");
});

}  // namespace
}  // namespace nnzoo
