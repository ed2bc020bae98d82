// How Python hands over the structs of attention.h, to the CPU's kernels and to CUDA's.
#pragma once

#include <pybind11/stl.h>

#include <array>

#include "common/bind.h"
#include "ops/attention/attention.h"

namespace nnzoo {

template <std::size_t n>
using Addresses = std::array<Address, n>;
template <std::size_t n>
using Numbers = std::array<std::int64_t, n>;

template <std::size_t n>
void copy(const std::int64_t* from, std::int64_t (&to)[n]) {
  for (std::size_t i = 0; i < n; ++i) to[i] = from[i];
}

// tensors: query, key, value, mask, seed, slopes, query_starts, key_starts. sizes: in the order of AttentionInputs.
// strides: three of query, of key, of value, four of the mask, two of the slopes. places: query_offset, before, after,
// sequences.
inline AttentionInputs attention_inputs(const Addresses<8>& tensors, const Numbers<7>& sizes,
                                        const Numbers<15>& strides, int mask_kind, bool causal, double scale,
                                        double dropout_p, int dtype, int threads, const Numbers<4>& places) {
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
  in.mask_kind = static_cast<MaskKind>(mask_kind);
  in.causal = causal;
  in.scale = scale;
  in.dropout_p = dropout_p;
  in.dtype = static_cast<DType>(dtype);
  in.threads = threads;
  in.query_offset = places[0];
  in.before = places[1];
  in.after = places[2];
  in.slopes = pointer<const void>(tensors[5]);
  copy(strides.data() + 13, in.slope_stride);
  in.query_starts = pointer<const std::int64_t>(tensors[6]);
  in.key_starts = pointer<const std::int64_t>(tensors[7]);
  in.sequences = places[3];
  return in;
}

// Each module has a Python class of its own for the struct.
inline void bind_attention_inputs(py::module_& module) {
  py::class_<AttentionInputs>(module, "AttentionInputs", py::module_local()).def(py::init(&attention_inputs));
}

// upstream: output, grad_output, statistics. grads: of query, key and value; 0 for those that aren't wanted.
inline AttentionBackward attention_backward_of(const AttentionInputs& in, const Addresses<3>& upstream,
                                               const Addresses<3>& grads) {
  AttentionBackward args{};
  args.inputs = in;
  args.output = pointer<const void>(upstream[0]);
  args.grad_output = pointer<const void>(upstream[1]);
  args.statistics = pointer<const void>(upstream[2]);
  args.grad_query = pointer<void>(grads[0]);
  args.grad_key = pointer<void>(grads[1]);
  args.grad_value = pointer<void>(grads[2]);
  return args;
}

inline AttentionMaskBackward attention_mask_backward_of(const AttentionInputs& in, const Addresses<3>& upstream,
                                                        Address grad_mask, const Numbers<4>& strides) {
  AttentionMaskBackward args{};
  args.inputs = in;
  args.output = pointer<const void>(upstream[0]);
  args.grad_output = pointer<const void>(upstream[1]);
  args.statistics = pointer<const void>(upstream[2]);
  args.grad_mask = pointer<void>(grad_mask);
  copy(strides.data(), args.grad_mask_stride);
  return args;
}

}  // namespace nnzoo
