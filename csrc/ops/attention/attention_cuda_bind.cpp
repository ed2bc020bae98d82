#include "ops/attention/attention_bind.h"
#include "ops/attention/attention_cuda.h"

namespace nnzoo {
namespace {

void forward(const AttentionInputs& in, Address output, Address statistics, int rung, Address stream) {
  const AttentionForward args{in, pointer<void>(output), pointer<void>(statistics)};
  py::gil_scoped_release release;
  cuda::attention_forward(args, static_cast<cuda::Rung>(rung), pointer<void>(stream));
}

void delta(const AttentionInputs& in, const Addresses<3>& upstream, Address delta, int rung, Address stream) {
  const AttentionBackward args = attention_backward_of(in, upstream, {});
  py::gil_scoped_release release;
  cuda::attention_delta(args, pointer<void>(delta), static_cast<cuda::Rung>(rung), pointer<void>(stream));
}

void backward(const AttentionInputs& in, const Addresses<3>& upstream, Address delta, const Addresses<3>& grads,
              int rung, Address stream) {
  const AttentionBackward args = attention_backward_of(in, upstream, grads);
  py::gil_scoped_release release;
  cuda::attention_backward(args, pointer<const void>(delta), static_cast<cuda::Rung>(rung), pointer<void>(stream));
}

void mask_backward(const AttentionInputs& in, const Addresses<3>& upstream, Address delta, Address grad_mask,
                   const Numbers<4>& mask_size, const Numbers<4>& mask_stride, int rung, Address stream) {
  const AttentionMaskBackward args = attention_mask_backward_of(in, upstream, grad_mask, mask_stride);
  std::int64_t size[4];
  copy(mask_size.data(), size);
  py::gil_scoped_release release;
  cuda::attention_mask_backward(args, size, pointer<const void>(delta), static_cast<cuda::Rung>(rung),
                                pointer<void>(stream));
}

const Binder bind_attention_cuda([](py::module_& module) {
  bind_attention_inputs(module);
  module.def("attention_forward", &forward);
  module.def("attention_delta", &delta);
  module.def("attention_backward", &backward);
  module.def("attention_mask_backward", &mask_backward);
});

}  // namespace
}  // namespace nnzoo
