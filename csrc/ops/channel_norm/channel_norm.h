// channel_norm: channels normalised, over the batch or in groups. The engine of batch_norm and group_norm.
//
//   input, output  [N, C, S], or [N, S, C] where `channels_last`; S is the number of positions
//   output = (input - mean) * rstd * weight + bias, rstd = 1 / sqrt(mean of (input - mean)^2 + eps)
//
// Values with a common mean and rstd are a set: those of a channel (`over_batch`: C sets, and G is C), or those of one
// of the G groups of adjacent channels of an image (N * G sets, images first). `mean` and `rstd` [sets] are T, double
// for float64, else float: written, or read where `given`. Tensors are contiguous; input and output are S of `dtype`
// (float32, bfloat16, float64), weight and bias [C] of `parameter_dtype`, null: 1 and 0. Outputs may be uninitialised
// and must not overlap an input. The result does not depend on the number of threads.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

struct ChannelShape {
  std::int64_t N, C, S, G;
  bool over_batch, channels_last;
  bool two_sweeps;  // statistics of everything first, also where a set could be visited once: a rung of the ladder
};

struct ChannelNormForward {
  const void* input;
  const void* weight;
  const void* bias;
  void* output;
  void* mean;
  void* rstd;
  void* variance;  // T [sets]: of a sample, divided by count - 1; null: not wanted
  ChannelShape shape;
  double eps;
  bool given;
  DType dtype, parameter_dtype;
  int threads;
};

// grad_mean and grad_variance T [sets] come from elsewhere to mean and variance; null: nothing does. Each of
// grad_input, grad_weight and grad_bias is null if it isn't wanted.
struct ChannelNormBackward {
  const void* grad_output;
  const void* grad_mean;
  const void* grad_variance;
  const void* input;
  const void* weight;
  const void* mean;
  const void* rstd;
  void* grad_input;
  void* grad_weight;
  void* grad_bias;
  ChannelShape shape;
  bool given;
  DType dtype, parameter_dtype;
  int threads;
};

NNZOO_KERNEL(channel_norm_forward, ChannelNormForward)
NNZOO_KERNEL(channel_norm_backward, ChannelNormBackward)

}  // namespace nnzoo
