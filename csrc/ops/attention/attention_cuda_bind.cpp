#include <pybind11/stl.h>

#include <array>

#include "common/bind.h"
#include "ops/attention/attention_cuda.h"

namespace nnzoo {
namespace {

template <std::size_t n>
using Numbers = std::array<std::int64_t, n>;

template <std::size_t n>
void copy(const std::int64_t* from, std::int64_t (&to)[n]) {
  for (std::size_t i = 0; i < n; ++i) to[i] = from[i];
}

// tensors: query, key, value, mask, seed. sizes: batch, heads, kv_heads, queries, keys, head_dim, value_dim. strides:
// three of query, of key, of value, four of the mask. options: mask_kind, causal, dtype. numbers: scale, dropout_p.
AttentionInputs inputs_of(const std::array<Address, 5>& tensors, const Numbers<7>& sizes, const Numbers<13>& strides,
                          const Numbers<3>& options, const std::array<double, 2>& numbers) {
  AttentionInputs in{};
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
  in.mask_kind = static_cast<MaskKind>(options[0]);
  in.causal = options[1] != 0;
  in.dtype = static_cast<DType>(options[2]);
  in.scale = numbers[0];
  in.dropout_p = numbers[1];
  return in;
}

void forward(const std::array<Address, 5>& tensors, const Numbers<7>& sizes, const Numbers<13>& strides,
             const Numbers<3>& options, const std::array<double, 2>& numbers, Address output, Address statistics,
             Address stream) {
  const AttentionForward args{inputs_of(tensors, sizes, strides, options, numbers), pointer<void>(output),
                              pointer<void>(statistics)};
  py::gil_scoped_release release;
  cuda::attention_forward(args, pointer<void>(stream));
}

// upstream: output, grad_output, statistics, delta.
void delta(const std::array<Address, 5>& tensors, const Numbers<7>& sizes, const Numbers<13>& strides,
           const Numbers<3>& options, const std::array<double, 2>& numbers, const std::array<Address, 4>& upstream,
           Address stream) {
  AttentionBackward args{};
  args.inputs = inputs_of(tensors, sizes, strides, options, numbers);
  args.output = pointer<const void>(upstream[0]);
  args.grad_output = pointer<const void>(upstream[1]);
  args.statistics = pointer<const void>(upstream[2]);
  py::gil_scoped_release release;
  cuda::attention_delta(args, pointer<void>(upstream[3]), pointer<void>(stream));
}

// upstream: output, grad_output, statistics, delta. grads: of query, key and value; 0 for those that aren't wanted.
void backward(const std::array<Address, 5>& tensors, const Numbers<7>& sizes, const Numbers<13>& strides,
              const Numbers<3>& options, const std::array<double, 2>& numbers, const std::array<Address, 4>& upstream,
              const std::array<Address, 3>& grads, Address stream) {
  AttentionBackward args{};
  args.inputs = inputs_of(tensors, sizes, strides, options, numbers);
  args.output = pointer<const void>(upstream[0]);
  args.grad_output = pointer<const void>(upstream[1]);
  args.statistics = pointer<const void>(upstream[2]);
  args.grad_query = pointer<void>(grads[0]);
  args.grad_key = pointer<void>(grads[1]);
  args.grad_value = pointer<void>(grads[2]);
  py::gil_scoped_release release;
  cuda::attention_backward(args, pointer<const void>(upstream[3]), pointer<void>(stream));
}

void mask_backward(const std::array<Address, 5>& tensors, const Numbers<7>& sizes, const Numbers<13>& strides,
                   const Numbers<3>& options, const std::array<double, 2>& numbers,
                   const std::array<Address, 4>& upstream, Address grad_mask, const Numbers<4>& mask_size,
                   const Numbers<4>& mask_stride, Address stream) {
  AttentionMaskBackward args{};
  args.inputs = inputs_of(tensors, sizes, strides, options, numbers);
  args.output = pointer<const void>(upstream[0]);
  args.grad_output = pointer<const void>(upstream[1]);
  args.statistics = pointer<const void>(upstream[2]);
  args.grad_mask = pointer<void>(grad_mask);
  copy(mask_stride.data(), args.grad_mask_stride);
  std::int64_t size[4];
  copy(mask_size.data(), size);
  py::gil_scoped_release release;
  cuda::attention_mask_backward(args, size, pointer<const void>(upstream[3]), pointer<void>(stream));
}

const Binder bind_attention_cuda([](py::module_& module) {
  module.def("attention_forward", &forward);
  module.def("attention_delta", &delta);
  module.def("attention_backward", &backward);
  module.def("attention_mask_backward", &mask_backward);
});

}  // namespace
}  // namespace nnzoo
