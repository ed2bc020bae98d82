// conv_transpose: 1d, 2d and 3d transposed convolution, the gradient of a convolution's input, and its own gradients.
//
//   input    [batch, in_channels, D, H, W]                     any strides; channels-first and channels-last are fast
//   weight   [in_channels, out_channels / groups, kD, kH, kW]  contiguous
//   bias     [out_channels]                                    contiguous; null: none
//   output   [batch, out_channels, oD, oH, oW]                 any strides without overlap
//
//   output[n, o, q] = bias[o] + sum over c, and over p, k with p * stride + k * dilation - padding = q,
//                     of weight[c, o, k] * input[n, c, p]
//
// `shape` is that of the convolution whose gradient this is, with the same weight: its input is the output here, its
// output the input. All tensors have `dtype` (float32, bfloat16, float64); bfloat16 sums in float32. Outputs may be
// uninitialised and must not overlap an input. The result does not depend on the number of threads.
#pragma once

#include "ops/conv/conv.h"

namespace nnzoo {

using ConvTransposeForward = ConvForward;

// Each of grad_input (any strides without overlap), grad_weight and grad_bias (contiguous) is null if it isn't wanted.
// grad_output may have any strides. input is read only for grad_weight, weight only for grad_input.
using ConvTransposeBackward = ConvBackward;

NNZOO_KERNEL(conv_transpose_forward, ConvTransposeForward)
NNZOO_KERNEL(conv_transpose_backward, ConvTransposeBackward)

}  // namespace nnzoo
