#include "common/windows_bind.h"
#include "ops/adaptive_avg_pool/adaptive_avg_pool.h"

namespace nnzoo {
namespace {

template <void (*kernel)(const AdaptiveAvgPool&)>
void bound(Address from, Address to, const AdaptiveNumbers& windows, int dtype, int threads) {
  const AdaptiveAvgPool args{pointer<const void>(from), pointer<void>(to), adaptive_windows_of(windows, threads),
                             static_cast<DType>(dtype)};
  py::gil_scoped_release release;
  kernel(args);
}

const Binder bind_adaptive_avg_pool([](py::module_& module) {
  module.def("adaptive_avg_pool_forward", &bound<adaptive_avg_pool_forward>);
  module.def("adaptive_avg_pool_backward", &bound<adaptive_avg_pool_backward>);
});

}  // namespace
}  // namespace nnzoo
