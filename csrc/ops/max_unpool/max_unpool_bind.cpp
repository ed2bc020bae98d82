#include "common/bind.h"
#include "ops/max_unpool/max_unpool.h"

namespace nnzoo {
namespace {

// Returns the position of the first index that is out of range, -1 if there is none.
template <void (*kernel)(const MaxUnpool&)>
std::int64_t bound(Address values, Address indices, Address planes, std::int64_t batch, std::int64_t channels,
                   std::int64_t count, std::int64_t size, bool channels_last, int dtype, int threads) {
  std::int64_t bad = -1;
  const MaxUnpool args{pointer<void>(values),
                       pointer<const std::int64_t>(indices),
                       pointer<void>(planes),
                       batch,
                       channels,
                       count,
                       size,
                       channels_last,
                       &bad,
                       static_cast<DType>(dtype),
                       usable_threads(threads)};
  py::gil_scoped_release release;
  kernel(args);
  return bad;
}

const Binder bind_max_unpool([](py::module_& module) {
  module.def("max_unpool_forward", &bound<max_unpool_forward>);
  module.def("max_unpool_backward", &bound<max_unpool_backward>);
});

}  // namespace
}  // namespace nnzoo
