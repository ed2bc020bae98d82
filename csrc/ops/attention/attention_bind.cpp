#include <pybind11/stl.h>

#include <array>

#include "common/bind.h"
#include "ops/attention/attention.h"

namespace {

using nnzoo::Address;
using nnzoo::pointer;
template <std::size_t n>
using Numbers = std::array<std::int64_t, n>;

template <std::size_t n>
void copy(const std::int64_t* from, std::int64_t (&to)[n]) {
  for (std::size_t i = 0; i < n; ++i) to[i] = from[i];
}

// tensors: query, key, value, mask, seed. sizes: in the order of AttentionInputs. strides: three of query, of key, of
// value, four of the mask.
nnzoo::AttentionInputs inputs(const std::array<Address, 5>& tensors, const Numbers<7>& sizes,
                              const Numbers<13>& strides, int mask_kind, bool causal, double scale, double dropout_p,
                              int dtype, int threads) {
  nnzoo::AttentionInputs in{};
  in.query = pointer<const void>(tensors[0]);
  in.key = pointer<const void>(tensors[1]);
  in.value = pointer<const void>(tensors[2]);
  in.mask = pointer<const void>(tensors[3]);
  in.seed = pointer<const std::int64_t>(tensors[4]);
  in.batch = sizes[0];
  in.heads = sizes[1];
  in.kv_heads = sizes[2];
  in.queries = sizes[3];
  in.keys = sizes[4];
  in.head_dim = sizes[5];
  in.value_dim = sizes[6];
  copy(strides.data(), in.query_stride);
  copy(strides.data() + 3, in.key_stride);
  copy(strides.data() + 6, in.value_stride);
  copy(strides.data() + 9, in.mask_stride);
  in.mask_kind = static_cast<nnzoo::MaskKind>(mask_kind);
  in.causal = causal;
  in.scale = scale;
  in.dropout_p = dropout_p;
  in.dtype = static_cast<nnzoo::DType>(dtype);
  in.threads = nnzoo::usable_threads(threads);
  return in;
}

const nnzoo::Binder bind_attention([](nnzoo::py::module_& module) {
  nnzoo::py::class_<nnzoo::AttentionInputs>(module, "AttentionInputs").def(nnzoo::py::init(&inputs));
  module.def("attention_forward", [](const nnzoo::AttentionInputs& in, Address output, Address statistics) {
    const nnzoo::AttentionForward args{in, pointer<void>(output), pointer<void>(statistics)};
    nnzoo::py::gil_scoped_release release;
    nnzoo::attention_forward(args);
  });
  // upstream: output, grad_output, statistics. grads: of query, key, value; 0 for those that aren't wanted.
  module.def("attention_backward", [](const nnzoo::AttentionInputs& in, const std::array<Address, 3>& upstream,
                                      const std::array<Address, 3>& grads, std::int64_t parts, Address workspace) {
    const nnzoo::AttentionBackward args{in,
                                        pointer<const void>(upstream[0]),
                                        pointer<const void>(upstream[1]),
                                        pointer<const void>(upstream[2]),
                                        pointer<void>(grads[0]),
                                        pointer<void>(grads[1]),
                                        pointer<void>(grads[2]),
                                        parts,
                                        pointer<void>(workspace)};
    nnzoo::py::gil_scoped_release release;
    nnzoo::attention_backward(args);
  });
  module.def("attention_mask_backward", [](const nnzoo::AttentionInputs& in, const std::array<Address, 3>& upstream,
                                           Address grad_mask, const Numbers<4>& strides) {
    nnzoo::AttentionMaskBackward args{in,
                                      pointer<const void>(upstream[0]),
                                      pointer<const void>(upstream[1]),
                                      pointer<const void>(upstream[2]),
                                      pointer<void>(grad_mask),
                                      {}};
    copy(strides.data(), args.grad_mask_stride);
    nnzoo::py::gil_scoped_release release;
    nnzoo::attention_mask_backward(args);
  });
});

}  // namespace
