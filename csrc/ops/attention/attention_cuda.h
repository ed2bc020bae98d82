// The CUDA kernels of `attention`. Arguments mean what they mean in attention.h (`threads`, `parts` and `workspace` are
// not read); all pointers are to device memory. Nothing is allocated, nothing waits, and there are no atomics: results
// are the same in every run. Sizes of queries, keys and values are at most kMostDim (half of it for float64).
#pragma once

#include "ops/attention/attention.h"

namespace nnzoo::cuda {

constexpr std::int64_t kMostDim = 256;

void attention_forward(const AttentionForward& args, void* stream);

// What a query's gradients of the weights have subtracted, their mean, in two parts. `delta`: [2, B, H, L] of the
// compute type, rowsum(grad_output * output) and what corrects it: 0, except near a weight close to 1, where the
// gradients differ from the mean by less than the output's rounding. The gradients in `args` are not read.
void attention_delta(const AttentionBackward& args, void* delta, void* stream);

// Reads `delta` as attention_delta left it.
void attention_backward(const AttentionBackward& args, const void* delta, void* stream);

// The same. `grad_mask` need not be zeroed. `mask_size` are the mask's own sizes, 1 where it is broadcast.
void attention_mask_backward(const AttentionMaskBackward& args, const std::int64_t (&mask_size)[4], const void* delta,
                             void* stream);

// The three for bf16 and fp16: what those above call.
inline bool runs_on_tensor_cores(DType dtype) { return dtype == DType::bfloat16 || dtype == DType::float16; }
namespace tensor {
void attention_delta(const AttentionBackward& args, void* delta, void* stream);
void attention_backward(const AttentionBackward& args, const void* delta, void* stream);
void attention_mask_backward(const AttentionMaskBackward& args, const std::int64_t (&mask_size)[4], const void* delta,
                             void* stream);
}  // namespace tensor

}  // namespace nnzoo::cuda
