// How Python hands over the windows of a pooling.
#pragma once

#include <pybind11/stl.h>

#include <array>
#include <tuple>

#include "common/adaptive.h"
#include "common/bind.h"
#include "common/window_sums.h"

namespace nnzoo {

// Three numbers each for input, output, kernel, stride, padding and dilation.
using WindowNumbers = std::array<std::int64_t, 18>;

inline Windows windows_of(const WindowNumbers& n) {
  Windows windows{};
  for (int i = 0; i < 3; ++i) {
    windows.input[i] = n[i];
    windows.output[i] = n[3 + i];
    windows.kernel[i] = n[6 + i];
    windows.stride[i] = n[9 + i];
    windows.padding[i] = n[12 + i];
    windows.dilation[i] = n[15 + i];
  }
  return windows;
}

// Batch and channels, the windows, the divisor, count_include_pad and channels_last.
using SummedWindowNumbers = std::tuple<std::int64_t, std::int64_t, WindowNumbers, std::int64_t, bool, bool>;

inline SummedWindows summed_windows_of(const SummedWindowNumbers& numbers, int threads) {
  const auto& [batch, channels, windows, divisor, count_include_pad, channels_last] = numbers;
  return {batch, channels, windows_of(windows), divisor, count_include_pad, channels_last, usable_threads(threads)};
}

// Batch and channels, three numbers each for input and output, and channels_last.
using AdaptiveNumbers =
    std::tuple<std::int64_t, std::int64_t, std::array<std::int64_t, 3>, std::array<std::int64_t, 3>, bool>;

inline AdaptiveWindows adaptive_windows_of(const AdaptiveNumbers& numbers, int threads) {
  const auto& [batch, channels, input, output, channels_last] = numbers;
  return {batch,
          channels,
          {input[0], input[1], input[2]},
          {output[0], output[1], output[2]},
          channels_last,
          usable_threads(threads)};
}

}  // namespace nnzoo
