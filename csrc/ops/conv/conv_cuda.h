// The CUDA kernels of `conv`, rung by rung. Arguments mean what they mean in conv.h (`threads` is not read); all
// pointers are to device memory. Nothing is allocated, nothing waits, no atomics: results are the same in every run.
// float32 is multiplied as tf32 if `allow_tf32`.
#pragma once

#include "ops/conv/conv.h"

namespace nnzoo::cuda {

// A thread per element of the result.
void conv_forward_naive(const ConvForward& args, void* stream);
void conv_backward_naive(const ConvBackward& args, void* stream);

// Tiles of 64 x 64 in shared memory. Fewer than 2^31 pixels and taps.
void conv_forward_tiled(const ConvForward& args, bool allow_tf32, void* stream);
void conv_backward_tiled(const ConvBackward& args, bool allow_tf32, void* stream);

// The kernels of the last rung read images and weights whose channels are adjacent, those of a group in whole units of
// 16 bytes (or of 4 elements of 2 bytes), zeros filling the last one. `units`, of a group, says how many; each unit is
// aligned to its size. An image has fewer than 2^31 places, a group fewer than 2^31 (tap, channel).

// to[n, g, place, c] = from[n, g, c, place], 0 for channels <= c < padded. `from_strides`: n, g, c and space;
// `to_strides`: n, g, place.
struct ConvLayout {
  const void* from;
  void* to;
  std::int64_t batch, groups, channels, padded;
  std::int64_t size[3];
  std::int64_t from_strides[6];
  std::int64_t to_strides[3];
  DType dtype;
};
void conv_lay(const ConvLayout& args, void* stream);

// Forward: `image` is the input, `weight` [groups, out_channels / groups, taps, units * unit], `result` the output.
// Back: `image` is the output's gradient, `weight` [groups, in_channels / groups, taps, units * unit], `result` the
// gradient of the input. `image_strides`: batch and space. `bias` may be null. `before` receives the argument of the
// activation, a code of common/activation.cuh, with the strides of the result; it may be null.
struct ConvProduct {
  const void* image;
  const void* weight;
  const void* bias;
  void* result;
  void* before;
  ConvShape shape;
  std::int64_t units, unit;
  std::int64_t image_strides[4];
  std::int64_t result_strides[5];
  bool back;
  int activation;
  DType dtype;
};
void conv_product(const ConvProduct& args, bool allow_tf32, void* stream);

// The same for images with adjacent places, though any will do; `weight` as in ConvProduct, its units of 16 bytes. What
// a tile reads must fit in shared memory.
struct ConvDirect {
  const void* image;
  const void* weight;
  const void* bias;
  void* result;
  void* before;
  ConvShape shape;
  std::int64_t units;
  std::int64_t image_strides[5], result_strides[5];
  bool back;
  int activation;
  DType dtype;
};
bool conv_direct_fits(const ConvDirect& args);
void conv_direct(const ConvDirect& args, bool allow_tf32, void* stream);

// partial: [parts, groups, out_channels / groups, taps, units * unit] of the type that sums have; each part sums
// `part_pixels` pixels, the last one what is left. `grad_channels`, of a group, are a multiple of 16 bytes.
struct ConvWeightProduct {
  const void* grad;
  const void* image;
  void* partial;
  ConvShape shape;
  std::int64_t grad_channels, units, unit;
  std::int64_t grad_strides[4], image_strides[4];
  std::int64_t parts, part_pixels;
  DType dtype;
};
void conv_weight_product(const ConvWeightProduct& args, bool allow_tf32, void* stream);

// partial: [parts, channels], as above for the sums of grad: [pixels, channels], channels in whole packs.
struct ConvBiasParts {
  const void* grad;
  void* partial;
  std::int64_t batch, channels;
  std::int64_t size[3], grad_strides[4];
  std::int64_t parts, part_pixels;
  DType dtype;
};
void conv_bias_parts(const ConvBiasParts& args, void* stream);

// result[row, c, tap] = sum over parts of partial[part, row, tap, c]; partial has `padded` channels, result `channels`.
struct ConvPartSums {
  const void* partial;
  void* result;
  std::int64_t parts, rows, taps, padded, channels;
  DType dtype;
};
void conv_sum_parts(const ConvPartSums& args, void* stream);

// Depthwise: groups == in_channels. As in ConvProduct, with all strides of both images.
struct ConvDepthwise {
  const void* image;
  const void* weight;
  const void* bias;
  void* result;
  void* before;
  ConvShape shape;
  std::int64_t image_strides[5], result_strides[5];
  bool back;
  int activation;
  DType dtype;
};

// Images with adjacent places, though any will do; `weight` as in conv.h. What a tile reads must fit in shared memory.
bool conv_depthwise_planes_fit(const ConvShape& shape, bool back, DType dtype);
void conv_depthwise_planes(const ConvDepthwise& args, void* stream);

// Images with adjacent channels, as many out as in and a multiple of 16 bytes, and fewer than 2^31 places in the batch;
// `weight`: [taps, channels].
void conv_depthwise_packs(const ConvDepthwise& args, void* stream);

// Both images laid out as one group of `grad_channels`, an input channel repeated for each output channel that reads
// it. partial: [parts, taps, grad_channels]. `units` and `unit` are not read.
void conv_depthwise_weight(const ConvWeightProduct& args, void* stream);

}  // namespace nnzoo::cuda
