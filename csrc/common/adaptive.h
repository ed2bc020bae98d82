// Windows that divide an image as evenly as whole numbers can, for adaptive pooling: window o of O along a dimension of
// size I is [floor(o I / O), ceil((o + 1) I / O)). Neighbours overlap by one element where O doesn't divide I, by more
// where O is larger than I.
#pragma once

#include "common/windows.h"

namespace nnzoo {

// Images [batch, channels, D, H, W], or [batch, D, H, W, channels] where channels_last; input and output are their
// spaces, 1 where an image has fewer dimensions.
struct AdaptiveWindows {
  std::int64_t batch, channels;
  std::int64_t input[3], output[3];
  bool channels_last;
  int threads;
};

}  // namespace nnzoo

#if defined(NNZOO_ISA)
#include "common/scratch.h"
#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

constexpr std::int64_t least_adaptive_work = 1 << 15;

NNZOO_INLINE std::int64_t length(Range range) { return range.end - range.begin; }

NNZOO_INLINE Range elements_of_window(const AdaptiveWindows& windows, int dimension, std::int64_t o) {
  const std::int64_t input = windows.input[dimension], output = windows.output[dimension];
  return {o * input / output, ((o + 1) * input + output - 1) / output};
}

NNZOO_INLINE Range windows_of_element(const AdaptiveWindows& windows, int dimension, std::int64_t i) {
  const std::int64_t input = windows.input[dimension], output = windows.output[dimension];
  return {i * output / input, ((i + 1) * output + input - 1) / input};
}

NNZOO_INLINE std::int64_t images_of(const AdaptiveWindows& windows) {
  return windows.channels_last ? windows.batch : windows.batch * windows.channels;
}

NNZOO_INLINE bool is_global(const AdaptiveWindows& windows) { return volume(windows.output) == 1; }

// The elements of a window.
struct Box {
  Range d, h, w;

  Box(const AdaptiveWindows& windows, std::int64_t od, std::int64_t oh, std::int64_t ow)
      : d(elements_of_window(windows, 0, od)),
        h(elements_of_window(windows, 1, oh)),
        w(elements_of_window(windows, 2, ow)) {}

  std::int64_t rows() const { return length(d) * length(h); }
  std::int64_t elements() const { return rows() * length(w); }
};

// Calls row(d, h) for the rows of a box, in order.
template <class Row>
NNZOO_INLINE void for_each_row(const Box& box, const Row& row) {
  for (std::int64_t d = box.d.begin; d < box.d.end; ++d) {
    for (std::int64_t h = box.h.begin; h < box.h.end; ++h) row(d, h);
  }
}

template <int>
struct Vectors {};

// Runs block(image, box, output, channel, Vectors<n>, lanes) over the windows of channels-last images in blocks of n
// vectors of channels, of which a single one may use some of its lanes; `output` counts windows, image by image.
template <class T, class Block>
void for_each_channel_block(const AdaptiveWindows& windows, const Block& block) {
  constexpr std::int64_t vectors = 4, width = Vec<T>::width;
  const std::int64_t channels = windows.channels, blocks = (channels + vectors * width - 1) / (vectors * width);
  const std::int64_t outputs = windows.batch * volume(windows.output);
  const std::int64_t work = vectors * width * (1 + volume(windows.input) / volume(windows.output));
  parallel_for(
      outputs * blocks, windows.threads,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t unit = begin; unit < end; ++unit) {
          const std::int64_t output = unit / blocks, row = output / windows.output[2];
          const RowPlace place(windows.output, row);
          const Box box(windows, place.d, place.h, output - row * windows.output[2]);
          std::int64_t channel = unit % blocks * vectors * width;
          if (channel + vectors * width <= channels) {
            block(place.image, box, output, channel, Vectors<vectors>(), static_cast<int>(width));
            continue;
          }
          for (; channel < channels; channel += width) {
            const std::int64_t left = channels - channel;
            block(place.image, box, output, channel, Vectors<1>(), static_cast<int>(left < width ? left : width));
          }
        }
      },
      1 + least_adaptive_work / work);
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
#endif
