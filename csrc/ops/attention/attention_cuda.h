// The CUDA kernels of `attention`. Arguments mean what they mean in attention.h (`threads`, `parts` and `workspace` are
// not read); all pointers are to device memory. Nothing is allocated, nothing waits, and there are no atomics: results
// are the same in every run. Sizes of queries, keys and values are at most kMostDim (half of it for float64).
#pragma once

#include "ops/attention/attention.h"

namespace nnzoo::cuda {

constexpr std::int64_t kMostDim = 256;

// How the ladder climbs: a thread per query, multiply-adds on tiles in shared memory, tensor cores, the next tile
// copied meanwhile, and in forward the bulk copies and warpgroups of Hopper. float32 and float64 stay on the second
// rung, what can't be copied 16 bytes at a time on the third, and other GPUs, or what no tensor map describes, on the
// fourth.
enum class Rung : int { naive = 0, tiled = 1, tensor = 2, pipelined = 3, hopper = 4 };

// `statistics`, delta and backward of one call come from one rung's kernels: those from `tensor` on
// count as one.
void attention_forward(const AttentionForward& args, Rung rung, void* stream);

// What a query's gradients of the weights have subtracted, their mean, in two parts. `delta`: [2, B, H, L] of the
// compute type, rowsum(grad_output * output) and what corrects it: 0, except near a weight close to 1, where the
// gradients differ from the mean by less than the output's rounding. The gradients in `args` are not read.
void attention_delta(const AttentionBackward& args, void* delta, Rung rung, void* stream);

// Reads `delta` as attention_delta left it.
void attention_backward(const AttentionBackward& args, const void* delta, Rung rung, void* stream);

// The same. `grad_mask` need not be zeroed. `mask_size` are the mask's own sizes, 1 where it is broadcast.
void attention_mask_backward(const AttentionMaskBackward& args, const std::int64_t (&mask_size)[4], const void* delta,
                             Rung rung, void* stream);

// What those above call: the first rung, and backward for bf16 and fp16 from the third on.
namespace naive {
void attention_forward(const AttentionForward& args, void* stream);
void attention_delta(const AttentionBackward& args, void* delta, void* stream);
void attention_backward(const AttentionBackward& args, const void* delta, void* stream);
void attention_mask_backward(const AttentionMaskBackward& args, const std::int64_t (&mask_size)[4], const void* delta,
                             void* stream);
}  // namespace naive

inline bool runs_on_tensor_cores(DType dtype, Rung rung) {
  return rung >= Rung::tensor && (dtype == DType::bfloat16 || dtype == DType::float16);
}
namespace tensor {
void attention_delta(const AttentionBackward& args, void* delta, Rung rung, void* stream);
void attention_backward(const AttentionBackward& args, const void* delta, Rung rung, void* stream);
void attention_mask_backward(const AttentionMaskBackward& args, const std::int64_t (&mask_size)[4], const void* delta,
                             Rung rung, void* stream);
}  // namespace tensor

// False, and nothing done, where it can't run: the rung below it can.
namespace hopper {
bool attention_forward(const AttentionForward& args, void* stream);
}  // namespace hopper

}  // namespace nnzoo::cuda
