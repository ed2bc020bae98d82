#include "ops/gather_scatter/groups_bind.h"
#include "ops/sddmm/sddmm.h"

namespace nnzoo {
namespace {

bool forward(const Groups& in, Address x, Address y, Address out, std::int64_t heads, std::int64_t channels, int dtype,
             int threads) {
  bool valid = false;
  const Sddmm args{edge_groups(in),
                   pointer<const void>(x),
                   pointer<const void>(y),
                   pointer<void>(out),
                   heads,
                   channels,
                   static_cast<DType>(dtype),
                   usable_threads(threads),
                   &valid};
  py::gil_scoped_release release;
  sddmm(args);
  return valid;
}

const Binder bind_sddmm([](py::module_& module) {
  module.def("sddmm_forward", &forward, "Whether the indices were valid; see sddmm.h.");
});

}  // namespace
}  // namespace nnzoo
