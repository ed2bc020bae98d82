#include "common/windows_bind.h"
#include "ops/avg_pool/avg_pool.h"

namespace nnzoo {
namespace {

template <void (*kernel)(const AvgPool&)>
void bound(Address from, Address to, std::int64_t batch, std::int64_t channels, const WindowNumbers& windows,
           std::int64_t divisor, bool count_include_pad, bool channels_last, int dtype, int threads) {
  const AvgPool args{pointer<const void>(from),
                     pointer<void>(to),
                     batch,
                     channels,
                     windows_of(windows),
                     divisor,
                     count_include_pad,
                     channels_last,
                     static_cast<DType>(dtype),
                     usable_threads(threads)};
  py::gil_scoped_release release;
  kernel(args);
}

const Binder bind_avg_pool([](py::module_& module) {
  module.def("avg_pool_forward", &bound<avg_pool_forward>);
  module.def("avg_pool_backward", &bound<avg_pool_backward>);
});

}  // namespace
}  // namespace nnzoo
