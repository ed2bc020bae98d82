#include "common/windows_bind.h"
#include "ops/adaptive_max_pool/adaptive_max_pool.h"

namespace nnzoo {
namespace {

const Binder bind_adaptive_max_pool([](py::module_& module) {
  module.def("adaptive_max_pool_forward", [](Address input, Address output, Address indices,
                                             const AdaptiveNumbers& windows, int dtype, int threads) {
    const AdaptiveMaxPool args{pointer<const void>(input), pointer<void>(output), pointer<std::int64_t>(indices),
                               adaptive_windows_of(windows, threads), static_cast<DType>(dtype)};
    py::gil_scoped_release release;
    adaptive_max_pool_forward(args);
  });
});

}  // namespace
}  // namespace nnzoo
