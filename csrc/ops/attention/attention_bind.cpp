#include "ops/attention/attention_bind.h"

namespace nnzoo {
namespace {

AttentionInputs on_usable_threads(AttentionInputs in) {
  in.threads = usable_threads(in.threads);
  return in;
}

void forward(const AttentionInputs& in, Address output, Address statistics) {
  const AttentionForward args{on_usable_threads(in), pointer<void>(output), pointer<void>(statistics)};
  py::gil_scoped_release release;
  attention_forward(args);
}

void backward(const AttentionInputs& in, const Addresses<3>& upstream, const Addresses<3>& grads, std::int64_t parts,
              Address workspace, Address grad_mask, const Numbers<4>& mask_strides) {
  AttentionBackward args = attention_backward_of(on_usable_threads(in), upstream, grads);
  args.parts = parts;
  args.workspace = pointer<void>(workspace);
  args.grad_mask = pointer<void>(grad_mask);
  copy(mask_strides.data(), args.grad_mask_stride);
  py::gil_scoped_release release;
  attention_backward(args);
}

void mask_backward(const AttentionInputs& in, const Addresses<3>& upstream, Address grad_mask,
                   const Numbers<4>& strides) {
  const AttentionMaskBackward args = attention_mask_backward_of(on_usable_threads(in), upstream, grad_mask, strides);
  py::gil_scoped_release release;
  attention_mask_backward(args);
}

const Binder bind_attention([](py::module_& module) {
  bind_attention_inputs(module);
  module.def("attention_forward", &forward);
  module.def("attention_backward", &backward);
  module.def("attention_mask_backward", &mask_backward);
});

}  // namespace
}  // namespace nnzoo
