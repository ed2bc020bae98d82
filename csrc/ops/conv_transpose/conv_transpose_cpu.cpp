#include "ops/conv/conv_channel_sums.h"
#include "ops/conv_transpose/conv_transpose.h"

namespace nnzoo {
namespace NNZOO_ISA {

void conv_transpose_forward(const ConvTransposeForward& args) {
  ConvGradInput conv{};
  conv.grad_output = args.input;
  conv.weight = args.weight;
  conv.bias = args.bias;
  conv.grad_input = args.output;
  conv.shape = args.shape;
  copy_strides(args.input_strides, conv.grad_output_strides);
  copy_strides(args.output_strides, conv.grad_input_strides);
  conv.dtype = args.dtype;
  conv.threads = args.threads;
  conv_grad_input(conv);
}

void conv_transpose_backward(const ConvTransposeBackward& args) {
  if (args.grad_input) {
    ConvForward conv{};
    conv.input = args.grad_output;
    conv.weight = args.weight;
    conv.output = args.grad_input;
    conv.shape = args.shape;
    copy_strides(args.grad_output_strides, conv.input_strides);
    copy_strides(args.grad_input_strides, conv.output_strides);
    conv.dtype = args.dtype;
    conv.threads = args.threads;
    conv_forward(conv);
  }
  if (args.grad_weight) {
    ConvBackward conv{};
    conv.grad_output = args.input;
    conv.input = args.grad_output;
    conv.grad_weight = args.grad_weight;
    conv.shape = args.shape;
    copy_strides(args.input_strides, conv.grad_output_strides);
    copy_strides(args.grad_output_strides, conv.input_strides);
    conv.dtype = args.dtype;
    conv.threads = args.threads;
    conv_backward(conv);
  }
  if (args.grad_bias) {
    dispatch_dtype(args.dtype, [&](auto tag) {
      using S = typename decltype(tag)::Type;
      channel_sums(image_tensor<S>(args.grad_output, args.grad_output_strides), args.shape.batch,
                   args.shape.in_channels, args.shape.input, static_cast<S*>(args.grad_bias), args.threads);
    });
  }
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
