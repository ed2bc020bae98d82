// How Python hands over the windows of a pooling.
#pragma once

#include <pybind11/stl.h>

#include <array>

#include "common/bind.h"
#include "common/windows.h"

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

}  // namespace nnzoo
