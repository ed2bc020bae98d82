// How Python gives a convolution's shape and a tensor's strides to `*_bind.cpp`.
#pragma once

#include <pybind11/stl.h>

#include <array>

#include "common/bind.h"
#include "ops/conv/conv.h"

namespace nnzoo {

// (batch, in_channels, out_channels, groups), then three numbers each for input, kernel, output, stride, padding,
// dilation.
using ConvNumbers = std::array<std::int64_t, 22>;
using ConvStrides = std::array<std::int64_t, 5>;

inline ConvShape shape_of(const ConvNumbers& n) {
  ConvShape shape{n[0], n[1], n[2], n[3], {}, {}, {}, {}, {}, {}};
  for (int i = 0; i < 3; ++i) {
    shape.input[i] = n[4 + i];
    shape.kernel[i] = n[7 + i];
    shape.output[i] = n[10 + i];
    shape.stride[i] = n[13 + i];
    shape.padding[i] = n[16 + i];
    shape.dilation[i] = n[19 + i];
  }
  return shape;
}

inline void copy_strides(const ConvStrides& from, std::int64_t (&to)[5]) {
  for (int i = 0; i < 5; ++i) to[i] = from[i];
}

}  // namespace nnzoo
