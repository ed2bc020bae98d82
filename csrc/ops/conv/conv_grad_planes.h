// The gradient of a convolution's input as convolutions of grad_output.
//
// Input positions that agree modulo the stride (a residue class) meet the same taps. Element r + s * j of an axis meets
// tap k iff s divides r + padding - k * dilation, at output position j + (r + padding - k * dilation) / s. So each
// class is a convolution with stride 1 of grad_output by those taps, and again every tap is a constant shift in a
// padded plane.
#pragma once

#include "ops/conv/conv_operands.h"

namespace nnzoo {
namespace NNZOO_ISA {

// The planes of grad_output that serve all classes.
inline PlaneShape grad_planes(const ConvShape& s) {
  PlaneShape shape;
  for (int i = 0; i < 3; ++i) {
    const std::int64_t first = floor_div(s.padding[i] - (s.kernel[i] - 1) * s.dilation[i], s.stride[i]);
    const std::int64_t last = floor_div(s.stride[i] - 1 + s.padding[i], s.stride[i]);
    const std::int64_t positions = ceil_div(s.input[i], s.stride[i]) + last - first;
    shape.axis[i] = {s.output[i], positions, 1, -first, 1, 1};
  }
  return shape;
}

// One residue class: which pixels, which taps, and where their values lie.
struct GradClass {
  std::int64_t residue[3];
  PixelGrid grid;       // its pixels
  std::int64_t taps;    // how many taps it meets
  std::int64_t* tap;    // [taps] their index in the kernel
  std::int64_t* shift;  // [taps] their offset in grad_output's plane
};

// Calls body(GradClass) for each class that has pixels.
template <class Body>
void for_each_grad_class(const ConvShape& s, const PlaneShape& shape, const Body& body) {
  Scratch scratch;
  const std::int64_t all = s.kernel[0] * s.kernel[1] * s.kernel[2];
  GradClass c{{0, 0, 0}, {0, 0, 0}, 0, scratch.take<std::int64_t>(all), scratch.take<std::int64_t>(all)};
  std::int64_t* const r = c.residue;
  for (r[0] = 0; r[0] < s.stride[0] && r[0] < s.input[0]; ++r[0]) {
    for (r[1] = 0; r[1] < s.stride[1] && r[1] < s.input[1]; ++r[1]) {
      for (r[2] = 0; r[2] < s.stride[2] && r[2] < s.input[2]; ++r[2]) {
        c.grid = {ceil_div(s.input[0] - r[0], s.stride[0]), ceil_div(s.input[1] - r[1], s.stride[1]),
                  ceil_div(s.input[2] - r[2], s.stride[2])};
        c.taps = 0;
        for (std::int64_t k = 0; k < all; ++k) {
          const std::int64_t tap[3] = {k / s.kernel[2] / s.kernel[1], k / s.kernel[2] % s.kernel[1], k % s.kernel[2]};
          std::int64_t shift = 0;
          bool meets = true;
          for (int i = 0; i < 3; ++i) {
            const std::int64_t distance = r[i] + s.padding[i] - tap[i] * s.dilation[i];
            meets = meets && distance % s.stride[i] == 0;
            shift = shift * shape.axis[i].size + floor_div(distance, s.stride[i]) + shape.axis[i].padding;
          }
          if (!meets) continue;
          c.tap[c.taps] = k;
          c.shift[c.taps++] = shift;
        }
        body(c);
      }
    }
  }
}

// A [in_channels of a group, (out_channel, tap)]: the weight with its channels exchanged, taps picked from a class.
template <class S>
struct TransposedWeight {
  const S* weight;  // [out, in, all_taps]
  std::int64_t in, all_taps;
  const std::int64_t* tap;
  std::int64_t taps;

  template <int width, class T>
  void pack(std::int64_t outer, int count, std::int64_t k0, std::int64_t depth, T* out) const {
    if (taps == 0) return;  // a class that meets no tap: its gradient is 0
    std::int64_t o = k0 / taps, t = k0 % taps;
    for (std::int64_t k = 0; k < depth; ++k, out += width) {
      const S* const from = weight + (o * in + outer) * all_taps + tap[t];
      for (int i = 0; i < width; ++i) out[i] = i < count ? T(to_float(from[i * all_taps])) : T(0);
      if (++t == taps) {
        t = 0;
        ++o;
      }
    }
  }
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
