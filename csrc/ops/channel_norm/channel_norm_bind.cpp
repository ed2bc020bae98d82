#include "common/bind.h"
#include "ops/channel_norm/channel_norm.h"

namespace nnzoo {
namespace {

// N, C, S, G, over_batch, channels_last, two_sweeps.
ChannelShape shape_of(const py::tuple& numbers) {
  return {numbers[0].cast<std::int64_t>(), numbers[1].cast<std::int64_t>(), numbers[2].cast<std::int64_t>(),
          numbers[3].cast<std::int64_t>(), numbers[4].cast<bool>(),         numbers[5].cast<bool>(),
          numbers[6].cast<bool>()};
}

const Binder bind_channel_norm([](py::module_& module) {
  module.def("channel_norm_forward", [](Address input, Address weight, Address bias, Address output, Address mean,
                                        Address rstd, Address variance, const py::tuple& shape, double eps, bool given,
                                        int dtype, int parameter_dtype, int threads) {
    const ChannelNormForward args{pointer<const void>(input),
                                  pointer<const void>(weight),
                                  pointer<const void>(bias),
                                  pointer<void>(output),
                                  pointer<void>(mean),
                                  pointer<void>(rstd),
                                  pointer<void>(variance),
                                  shape_of(shape),
                                  eps,
                                  given,
                                  static_cast<DType>(dtype),
                                  static_cast<DType>(parameter_dtype),
                                  usable_threads(threads)};
    py::gil_scoped_release release;
    channel_norm_forward(args);
  });
  module.def("channel_norm_backward",
             [](Address grad_output, Address grad_mean, Address grad_variance, Address input, Address weight,
                Address mean, Address rstd, Address grad_input, Address grad_weight, Address grad_bias,
                const py::tuple& shape, bool given, int dtype, int parameter_dtype, int threads) {
               const ChannelNormBackward args{pointer<const void>(grad_output),
                                              pointer<const void>(grad_mean),
                                              pointer<const void>(grad_variance),
                                              pointer<const void>(input),
                                              pointer<const void>(weight),
                                              pointer<const void>(mean),
                                              pointer<const void>(rstd),
                                              pointer<void>(grad_input),
                                              pointer<void>(grad_weight),
                                              pointer<void>(grad_bias),
                                              shape_of(shape),
                                              given,
                                              static_cast<DType>(dtype),
                                              static_cast<DType>(parameter_dtype),
                                              usable_threads(threads)};
               py::gil_scoped_release release;
               channel_norm_backward(args);
             });
});

}  // namespace
}  // namespace nnzoo
