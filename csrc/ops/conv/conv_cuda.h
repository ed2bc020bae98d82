// The CUDA kernels of `conv`. Arguments mean what they mean in conv.h (`threads` is not read); all pointers are to
// device memory, and fewer than 2^31 pixels and taps. Nothing is allocated, nothing waits, no atomics: results are the
// same in every run. float32 is multiplied as tf32 if `allow_tf32`.
#pragma once

#include "ops/conv/conv.h"

namespace nnzoo::cuda {

void conv_forward(const ConvForward& args, bool allow_tf32, void* stream);
void conv_backward(const ConvBackward& args, bool allow_tf32, void* stream);

}  // namespace nnzoo::cuda
