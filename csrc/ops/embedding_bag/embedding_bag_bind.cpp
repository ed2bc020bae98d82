#include "common/bind.h"
#include "ops/embedding_bag/embedding_bag.h"

namespace nnzoo {
namespace {

void forward(Address weight, Address start, Address indices, Address out, Address place, std::int64_t bags,
             std::int64_t features, std::int64_t weight_stride, int dtype, int threads) {
  const EmbeddingBagMaxForward args{pointer<const void>(weight),
                                    pointer<const std::int32_t>(start),
                                    pointer<const std::int32_t>(indices),
                                    pointer<void>(out),
                                    pointer<std::int32_t>(place),
                                    bags,
                                    features,
                                    weight_stride,
                                    static_cast<DType>(dtype),
                                    usable_threads(threads)};
  py::gil_scoped_release release;
  embedding_bag_max_forward(args);
}

void backward(Address row_start, Address bag, Address order, Address place, Address grad_out, Address grad_weight,
              std::int64_t rows, std::int64_t features, int dtype, int threads) {
  const EmbeddingBagMaxBackward args{pointer<const std::int32_t>(row_start),
                                     pointer<const std::int32_t>(bag),
                                     pointer<const std::int32_t>(order),
                                     pointer<const std::int32_t>(place),
                                     pointer<const void>(grad_out),
                                     pointer<void>(grad_weight),
                                     rows,
                                     features,
                                     static_cast<DType>(dtype),
                                     usable_threads(threads)};
  py::gil_scoped_release release;
  embedding_bag_max_backward(args);
}

const Binder bind_embedding_bag([](py::module_& module) {
  module.def("embedding_bag_max_forward", &forward, "See embedding_bag.h.");
  module.def("embedding_bag_max_backward", &backward, "See embedding_bag.h.");
});

}  // namespace
}  // namespace nnzoo
