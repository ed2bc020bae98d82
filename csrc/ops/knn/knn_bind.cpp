#include "common/bind.h"
#include "ops/knn/knn.h"

namespace nnzoo {
namespace {

std::int64_t find(Address x, Address y, Address start_x, Address start_y, Address index, Address distance,
                  std::int64_t num_x, std::int64_t num_y, std::int64_t dim, std::int64_t num_groups, std::int64_t k,
                  double radius, bool cosine, bool skip_same, int dtype, int threads) {
  std::int64_t first_invalid = -1;
  const Knn args{pointer<const void>(x),
                 pointer<const void>(y),
                 pointer<const std::int64_t>(start_x),
                 pointer<const std::int64_t>(start_y),
                 pointer<std::int64_t>(index),
                 pointer<void>(distance),
                 num_x,
                 num_y,
                 dim,
                 num_groups,
                 k,
                 radius,
                 cosine,
                 skip_same,
                 static_cast<DType>(dtype),
                 usable_threads(threads),
                 &first_invalid};
  py::gil_scoped_release release;
  knn(args);
  return first_invalid;
}

const Binder bind_knn([](py::module_& module) {
  module.def("knn", &find, "-1, or the first row that isn't finite; see knn.h.");
});

}  // namespace
}  // namespace nnzoo
