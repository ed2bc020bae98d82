// conv: 1d, 2d and 3d convolution (cross-correlation, as in the field) and its gradients.
//
//   input    [batch, in_channels, D, H, W]                    any strides; channels-first and channels-last are fast
//   weight   [out_channels, in_channels / groups, kD, kH, kW] contiguous
//   bias     [out_channels]                                   contiguous; null: none
//   output   [batch, out_channels, oD, oH, oW]                any strides without overlap
//
//   preactivation                                             as output, and with its strides: the argument of the
//                                                             activation; null: not kept
//
//   output[n, o, p] = activation(bias[o] + sum over c, k of weight[o, c, k] *
//                                                           input[n, c, p * stride + k * dilation - padding])
//
// with positions outside the input read as 0. Lower dimensions come with leading sizes of 1. `padding` is the one
// before the first element; the one after the last follows from the output's size. All tensors have `dtype` (float32,
// bfloat16, float64); bfloat16 sums in float32. Outputs may be uninitialised and must not overlap an input. The result
// does not depend on the number of threads.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

struct ConvShape {
  std::int64_t batch, in_channels, out_channels, groups;
  std::int64_t input[3], kernel[3], output[3];
  std::int64_t stride[3], padding[3], dilation[3];
};

struct ConvForward {
  const void* input;
  const void* weight;
  const void* bias;
  void* output;
  void* preactivation;
  ConvShape shape;
  std::int64_t input_strides[5], output_strides[5];
  int activation;  // the codes of common/activation.h
  DType dtype;
  int threads;
};

// Each of grad_input (any strides without overlap), grad_weight and grad_bias (contiguous) is null if it isn't wanted.
// grad_output, the gradient of the activation's argument, may have any strides.
struct ConvBackward {
  const void* grad_output;
  const void* input;
  const void* weight;
  void* grad_input;
  void* grad_weight;
  void* grad_bias;
  ConvShape shape;
  std::int64_t grad_output_strides[5], input_strides[5], grad_input_strides[5];
  DType dtype;
  int threads;
};

// The gradient of the input alone, with a bias per channel of it added ([in_channels], contiguous; null: none): what a
// transposed convolution computes.
struct ConvGradInput {
  const void* grad_output;
  const void* weight;
  const void* bias;
  void* grad_input;
  ConvShape shape;
  std::int64_t grad_output_strides[5], grad_input_strides[5];
  DType dtype;
  int threads;
};

// The product path: implicit GEMM over shifted planes, depthwise convolution directly.
NNZOO_KERNEL(conv_forward, ConvForward)
NNZOO_KERNEL(conv_backward, ConvBackward)
NNZOO_KERNEL(conv_grad_input, ConvGradInput)

// The rung below it on the ladder: the im2col matrix of each image is written out, then multiplied. Channels-first,
// contiguous input and output; it keeps no pre-activation.
NNZOO_KERNEL(conv_forward_im2col, ConvForward)

}  // namespace nnzoo
