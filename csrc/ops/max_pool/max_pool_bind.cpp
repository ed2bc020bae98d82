#include "common/windows_bind.h"
#include "ops/max_pool/max_pool.h"

namespace nnzoo {
namespace {

const Binder bind_max_pool([](py::module_& module) {
  module.def("max_pool_forward", [](Address input, Address output, Address offsets, Address indices, std::int64_t batch,
                                    std::int64_t channels, const WindowNumbers& windows, bool channels_last,
                                    bool minimum, int dtype, int threads) {
    const MaxPoolForward args{pointer<const void>(input),
                              pointer<void>(output),
                              pointer<std::uint8_t>(offsets),
                              pointer<std::int64_t>(indices),
                              batch,
                              channels,
                              windows_of(windows),
                              channels_last,
                              minimum,
                              static_cast<DType>(dtype),
                              usable_threads(threads)};
    py::gil_scoped_release release;
    max_pool_forward(args);
  });
  module.def("max_pool_backward",
             [](Address grad_output, Address offsets, Address indices, Address grad_input, std::int64_t batch,
                std::int64_t channels, const WindowNumbers& windows, bool channels_last, int dtype, int threads) {
               const MaxPoolBackward args{pointer<const void>(grad_output),
                                          pointer<const std::uint8_t>(offsets),
                                          pointer<const std::int64_t>(indices),
                                          pointer<void>(grad_input),
                                          batch,
                                          channels,
                                          windows_of(windows),
                                          channels_last,
                                          static_cast<DType>(dtype),
                                          usable_threads(threads)};
               py::gil_scoped_release release;
               max_pool_backward(args);
             });
});

}  // namespace
}  // namespace nnzoo
