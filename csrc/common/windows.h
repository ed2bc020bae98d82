// Windows that slide over the space of an image, for pooling: sizes in the order depth, height, width (1 where an image
// has fewer dimensions). Tap k of output position o lies at input position o * stride - padding + k * dilation, and
// counts only if that is inside.
#pragma once

#include <cstdint>

namespace nnzoo {

struct Windows {
  std::int64_t input[3], output[3], kernel[3], stride[3], padding[3], dilation[3];
};

}  // namespace nnzoo

#if defined(NNZOO_ISA)
#include "common/parallel.h"

namespace nnzoo {
namespace NNZOO_ISA {

// a / b, rounded up, of a >= 0; most windows have b = 1.
NNZOO_INLINE std::int64_t steps(std::int64_t a, std::int64_t b) { return b == 1 ? a : (a + b - 1) / b; }

// The taps of a window that lie inside the image, along one dimension: [begin, end).
NNZOO_INLINE Range taps_inside(const Windows& windows, int dimension, std::int64_t output) {
  const std::int64_t start = output * windows.stride[dimension] - windows.padding[dimension];
  const std::int64_t gap = windows.dilation[dimension], left = windows.input[dimension] - start;
  const std::int64_t begin = start < 0 ? steps(-start, gap) : 0;
  std::int64_t end = left > 0 ? steps(left, gap) : 0;
  if (end > windows.kernel[dimension]) end = windows.kernel[dimension];
  return {begin, end < begin ? begin : end};
}

// Where tap k of output position o lies along one dimension; may be outside.
NNZOO_INLINE std::int64_t tap_position(const Windows& windows, int dimension, std::int64_t o, std::int64_t k) {
  return o * windows.stride[dimension] - windows.padding[dimension] + k * windows.dilation[dimension];
}

NNZOO_INLINE std::int64_t volume(const std::int64_t (&size)[3]) { return size[0] * size[1] * size[2]; }

// The flat position of an input element or of an output element.
NNZOO_INLINE std::int64_t flat_position(const std::int64_t (&size)[3], std::int64_t d, std::int64_t h, std::int64_t w) {
  return (d * size[1] + h) * size[2] + w;
}

// A row (image, d, h) of a tensor whose space is `size`, and the next.
struct RowPlace {
  std::int64_t image, d, h;

  RowPlace(const std::int64_t (&size)[3], std::int64_t row)
      : image(row / size[1] / size[0]), d(row / size[1] % size[0]), h(row % size[1]), size_(size) {}

  void next() {
    if (++h < size_[1]) return;
    h = 0;
    if (++d < size_[0]) return;
    d = 0;
    ++image;
  }

 private:
  const std::int64_t (&size_)[3];
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
#endif
