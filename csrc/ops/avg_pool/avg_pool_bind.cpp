#include "common/windows_bind.h"
#include "ops/avg_pool/avg_pool.h"

namespace nnzoo {
namespace {

template <void (*kernel)(const AvgPool&)>
void bound(Address from, Address to, const SummedWindowNumbers& windows, int dtype, int threads) {
  const AvgPool args{pointer<const void>(from), pointer<void>(to), summed_windows_of(windows, threads),
                     static_cast<DType>(dtype)};
  py::gil_scoped_release release;
  kernel(args);
}

const Binder bind_avg_pool([](py::module_& module) {
  module.def("avg_pool_forward", &bound<avg_pool_forward>);
  module.def("avg_pool_backward", &bound<avg_pool_backward>);
});

}  // namespace
}  // namespace nnzoo
