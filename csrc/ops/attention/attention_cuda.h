// The CUDA kernels of `attention`. Arguments mean what they mean in attention.h (`threads`, `parts` and `workspace` are
// not read); all pointers are to device memory. Nothing is allocated, nothing waits, and there are no atomics: results
// are the same in every run. Sizes of queries, keys and values are at most kMostDim (half of it for float64).
#pragma once

#include "ops/attention/attention.h"

namespace nnzoo::cuda {

constexpr std::int64_t kMostDim = 256;

void attention_forward(const AttentionForward& args, void* stream);

// `delta` is a workspace [B, H, L] of the compute type: it receives rowsum(grad_output * output).
void attention_backward(const AttentionBackward& args, void* delta, void* stream);

// Reads `delta` as attention_backward left it. `grad_mask` need not be zeroed. `mask_size` are the mask's own sizes, 1
// where it is broadcast.
void attention_mask_backward(const AttentionMaskBackward& args, const std::int64_t (&mask_size)[4], const void* delta,
                             void* stream);

// rowsum(grad_output * output), both [rows, value_dim] contiguous.
void attention_delta(const void* grad_output, const void* output, void* delta, std::int64_t rows,
                     std::int64_t value_dim, DType dtype, void* stream);

}  // namespace nnzoo::cuda
