#include "common/bind.h"
#include "ops/embedding/embedding.h"

namespace nnzoo {
namespace {

std::int64_t forward(Address weight, Address indices, Address out, std::int64_t rows, std::int64_t features,
                     std::int64_t count, std::int64_t weight_stride, std::int64_t element_size, int threads) {
  std::int64_t first_invalid = -1;
  const EmbeddingForward args{pointer<const void>(weight),
                              pointer<const std::int64_t>(indices),
                              pointer<void>(out),
                              rows,
                              features,
                              count,
                              weight_stride,
                              element_size,
                              usable_threads(threads),
                              &first_invalid};
  py::gil_scoped_release release;
  embedding_forward(args);
  return first_invalid;
}

void backward(Address start, Address order, Address grad, Address grad_weight, std::int64_t rows, std::int64_t features,
              std::int64_t padding, bool by_frequency, int dtype, int threads) {
  const EmbeddingBackward args{pointer<const std::int32_t>(start),
                               pointer<const std::int32_t>(order),
                               pointer<const void>(grad),
                               pointer<void>(grad_weight),
                               rows,
                               features,
                               padding,
                               by_frequency,
                               static_cast<DType>(dtype),
                               usable_threads(threads)};
  py::gil_scoped_release release;
  embedding_backward(args);
}

const Binder bind_embedding([](py::module_& module) {
  module.def("embedding_forward", &forward, "The first invalid index, or -1; see embedding.h.");
  module.def("embedding_backward", &backward, "See embedding.h.");
});

}  // namespace
}  // namespace nnzoo
