// Windows of two neighbours, two apart, which share no row: the 2 x 2 pooling of most networks, and that of any depth
// and height. What a vector of windows reads of a row are two loads and a shuffle; nothing is laid out in memory.
#pragma once

#include "common/scratch.h"
#include "common/windows.h"
#include "common/zip.h"

namespace nnzoo {
namespace NNZOO_ISA {

NNZOO_INLINE bool are_pairs(const Windows& windows) {
  for (int i = 0; i < 2; ++i) {
    if (windows.stride[i] <= (windows.kernel[i] - 1) * windows.dilation[i]) return false;
  }
  return windows.kernel[2] == 2 && windows.stride[2] == 2 && windows.dilation[2] == 1 && windows.padding[2] == 0 &&
         2 * windows.output[2] <= windows.input[2];
}

// The rows of an image that a row of such windows reads.
template <class S>
class PairRows {
  using T = Compute<S>;

 public:
  PairRows(const S* images, const Windows& windows, Scratch& scratch)
      : images_(images),
        windows_(windows),
        from_(scratch.take<const S*>(windows.kernel[0] * windows.kernel[1])),
        number_(scratch.take<T>(windows.kernel[0] * windows.kernel[1])) {}

  void move_to(const RowPlace& place) {
    const Range depths = taps_inside(windows_, 0, place.d), heights = taps_inside(windows_, 1, place.h);
    const S* const image = images_ + place.image * volume(windows_.input);
    count_ = 0;
    first_ = static_cast<T>(flat_position(windows_.kernel, depths.begin, heights.begin, 0));
    for (std::int64_t kd = depths.begin; kd < depths.end; ++kd) {
      for (std::int64_t kh = heights.begin; kh < heights.end; ++kh) {
        from_[count_] = image + flat_position(windows_.input, tap_position(windows_, 0, place.d, kd),
                                              tap_position(windows_, 1, place.h, kh), 0);
        number_[count_++] = static_cast<T>(flat_position(windows_.kernel, kd, kh, 0));
      }
    }
  }

  // The number of the first tap inside the image.
  T first() const { return first_; }

  // Calls tap(x, number) for the taps of windows i to i + some, in the order of their numbers.
  template <class Tap>
  NNZOO_INLINE void for_each(std::int64_t i, int some, const Tap& tap) const {
    for (std::int64_t row = 0; row < count_; ++row) {
      const VecPair<T> both = load_pairs<T>(from_[row] + 2 * i, some);
      tap(both.first, number_[row]);
      tap(both.second, number_[row] + T(1));
    }
  }

 private:
  const S* const images_;
  const Windows& windows_;
  const S** const from_;
  T* const number_;
  std::int64_t count_ = 0;
  T first_ = T(0);
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
