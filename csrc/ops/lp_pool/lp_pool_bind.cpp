#include "common/windows_bind.h"
#include "ops/lp_pool/lp_pool.h"

namespace nnzoo {
namespace {

const Binder bind_lp_pool([](py::module_& module) {
  module.def("lp_pool_forward",
             [](Address input, Address output, double p, const SummedWindowNumbers& windows, int dtype, int threads) {
               const LpPoolForward args{pointer<const void>(input), pointer<void>(output), p,
                                        summed_windows_of(windows, threads), static_cast<DType>(dtype)};
               py::gil_scoped_release release;
               lp_pool_forward(args);
             });
  module.def("lp_pool_backward", [](Address grad_output, Address input, Address output, Address grad_input, double p,
                                    const SummedWindowNumbers& windows, int dtype, int threads) {
    const LpPoolBackward args{pointer<const void>(grad_output),
                              pointer<const void>(input),
                              pointer<const void>(output),
                              pointer<void>(grad_input),
                              p,
                              summed_windows_of(windows, threads),
                              static_cast<DType>(dtype)};
    py::gil_scoped_release release;
    lp_pool_backward(args);
  });
});

}  // namespace
}  // namespace nnzoo
