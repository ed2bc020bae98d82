// The gradient of a convolution's input where the windows lie side by side and fill the image, as in the embedding of
// patches and, transposed, in U-Net's upsampling. A pixel meets one tap, so all taps are one product, in which the
// weight and grad_output are read as they lie and no value is packed for more than one tap:
//
//     grad_input[channel, pixel of (p, tap)] = sum over o of weight[o, channel, tap] * grad_output[o, p]
#pragma once

#include "common/zip.h"
#include "ops/conv/conv_operands.h"

namespace nnzoo {
namespace NNZOO_ISA {

inline bool windows_fill_image(const ConvShape& s) {
  for (int i = 0; i < 3; ++i) {
    if (s.stride[i] != s.kernel[i] || s.padding[i] != 0 || s.input[i] != s.output[i] * s.stride[i]) return false;
    if (s.dilation[i] != 1 && s.kernel[i] != 1) return false;
  }
  return s.kernel[0] * s.kernel[1] * s.kernel[2] > 1;
}

// grad_output as planes without padding.
inline PlaneShape patch_planes(const ConvShape& s) {
  PlaneShape shape;
  for (int i = 0; i < 3; ++i) shape.axis[i] = {s.output[i], s.output[i], 1, 0, 1, 1};
  return shape;
}

// Writes C[(channel, tap), column] to an image, with a bias per channel.
template <class T, class S>
struct PatchStore {
  static constexpr bool from_registers = false, takes_tiles = true;
  S* data;
  std::int64_t image_stride, channel_stride;
  std::int64_t pixel_stride[3], kernel[3];
  PixelGrid grid;  // of grad_output
  ColumnLayout layout;
  const S* bias;

  Partial<T> partial() const { return {nullptr, 0}; }

  void tile(const TilePlace& place, const T* sums, int stride) const {
    const bool adjoin = kernel[2] == 2 && pixel_stride[2] == 1;
    for_each_pixel_run(layout, grid.width, place.column, place.columns, [&](const PixelRun& run) {
      const std::int64_t d = run.row / grid.height, h = run.row % grid.height;
      S* const patch = data + run.image * image_stride + d * kernel[0] * pixel_stride[0] +
                       h * kernel[1] * pixel_stride[1] + run.w * kernel[2] * pixel_stride[2];
      for (int i = 0; i < place.rows; ++i) {
        const T* const row = sums + i * stride + run.lane;
        const std::int64_t tap = (place.row + i) % taps(), channel = (place.row + i) / taps();
        const T shift = bias ? T(to_float(bias[channel])) : T(0);
        S* const to = patch + channel * channel_stride + position(tap);
        if (adjoin && tap % 2 == 0 && i + 1 < place.rows) {
          store_both(row, row + stride, run.count, shift, to);
          ++i;
        } else {
          const std::int64_t step = kernel[2] * pixel_stride[2];
          for (int j = 0; j < run.count; ++j) to[j * step] = from_float<S>(row[j] + shift);
        }
      }
    });
  }

 private:
  std::int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }

  // Where a tap lies in a patch.
  NNZOO_INLINE std::int64_t position(std::int64_t tap) const {
    return tap / kernel[2] / kernel[1] * pixel_stride[0] + tap / kernel[2] % kernel[1] * pixel_stride[1] +
           tap % kernel[2] * pixel_stride[2];
  }

  // Two taps that are neighbours, of patches that are.
  static NNZOO_INLINE void store_both(const T* first, const T* second, int count, T bias, S* to) {
    const Vec<T> shift = Vec<T>::set(bias);
    for_each_vector<T>(count, [&](std::int64_t j, int some) {
      store_pairs(zip(Vec<T>::load(first + j, some) + shift, Vec<T>::load(second + j, some) + shift), to + 2 * j, some);
    });
  }
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
