// Shifted planes: how convolution becomes a GEMM without an im2col matrix.
//
// Each channel of an image is copied once into a zero-padded plane, split by residue modulo the stride. In such a plane
// the values that kernel tap k meets, for all output pixels (d, h, w), lie at a constant offset:
//
//     plane[offset(k) + (d * height + h) * width + w]
//
// so that stride, padding and dilation are gone: each row of the (never written) im2col matrix is the plane itself,
// shifted. Where nothing is padded or strided, the input's own memory serves as the planes.
#pragma once

#include "common/gemm.h"
#include "ops/conv/conv.h"

namespace nnzoo {
namespace NNZOO_ISA {

NNZOO_INLINE std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return b == 1 ? a : a >= 0 ? a / b : -((-a + b - 1) / b);  // a division takes longer than a row of a small image
}

// One dimension of a plane: position i of phase j holds source element i * step + residue(j) - padding, 0 outside.
struct PlaneAxis {
  std::int64_t extent;  // of the source
  std::int64_t size;    // positions of one phase
  std::int64_t step, padding, dilation, phases;

  std::int64_t residue(std::int64_t phase) const { return phase == 0 ? 0 : phase * dilation % step; }
  bool is_source() const { return phases == 1 && step == 1 && padding == 0 && size == extent; }
};

// The axis on which `taps` taps, `dilation` apart, of `outputs` outputs, `step` apart, become shifts. Taps whose
// distance is a multiple of the step share a phase; their residues repeat after step / gcd(step, dilation) taps.
inline PlaneAxis conv_axis(std::int64_t extent, std::int64_t outputs, std::int64_t taps, std::int64_t step,
                           std::int64_t padding, std::int64_t dilation) {
  std::int64_t a = step, b = dilation;
  while (b) {
    const std::int64_t rest = a % b;
    a = b;
    b = rest;
  }
  const std::int64_t period = step / a;
  return {extent, outputs + (taps - 1) * dilation / step, step, padding, dilation, taps < period ? taps : period};
}

struct PlaneShape {
  PlaneAxis axis[3];

  std::int64_t phase_size() const { return axis[0].size * axis[1].size * axis[2].size; }
  std::int64_t size() const { return phase_size() * axis[0].phases * axis[1].phases * axis[2].phases; }
  // Where tap (a, b, c) of output pixel 0 lies.
  std::int64_t tap_offset(std::int64_t a, std::int64_t b, std::int64_t c) const {
    const std::int64_t tap[3] = {a, b, c};
    std::int64_t phase = 0, shift = 0;
    for (int i = 0; i < 3; ++i) {
      phase = phase * axis[i].phases + tap[i] % axis[i].phases;
      shift = shift * axis[i].size + tap[i] * axis[i].dilation / axis[i].step;
    }
    return phase * phase_size() + shift;
  }
  bool is_source() const { return axis[0].is_source() && axis[1].is_source() && axis[2].is_source(); }
};

// A tensor [batch, channels, D, H, W].
template <class S>
struct ImageTensor {
  const S* data;
  std::int64_t stride[5];
};

template <class S>
ImageTensor<S> image_tensor(const void* data, const std::int64_t (&stride)[5]) {
  return {static_cast<const S*>(data), {stride[0], stride[1], stride[2], stride[3], stride[4]}};
}

inline void copy_strides(const std::int64_t* from, std::int64_t (&to)[5]) {
  for (int i = 0; i < 5; ++i) to[i] = from[i];
}

// The planes of the input that all taps of a convolution meet as shifts.
inline PlaneShape conv_planes(const ConvShape& s) {
  PlaneShape shape;
  for (int i = 0; i < 3; ++i) {
    shape.axis[i] = conv_axis(s.input[i], s.output[i], s.kernel[i], s.stride[i], s.padding[i], s.dilation[i]);
  }
  return shape;
}

// offset[(c, kd, kh, kw)] for `channels` planes that lie `plane` apart.
inline void tap_offsets(const ConvShape& s, const PlaneShape& shape, std::int64_t channels, std::int64_t plane,
                        std::int64_t* offset) {
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t kd = 0; kd < s.kernel[0]; ++kd) {
      for (std::int64_t kh = 0; kh < s.kernel[1]; ++kh) {
        for (std::int64_t kw = 0; kw < s.kernel[2]; ++kw) *offset++ = c * plane + shape.tap_offset(kd, kh, kw);
      }
    }
  }
}

// Fills one row of a plane for `channels` channels that lie next to each other in `row` (element w of channel c at
// row[w * step + c]) and `plane` apart in `out`.
template <class S, class T>
void transpose_row(const S* row, std::int64_t step, std::int64_t count, std::int64_t channels, std::int64_t plane,
                   T* out) {
  constexpr int block = sizeof(T) == 4 ? 4 : 2;
  for (std::int64_t w0 = 0; w0 < count; w0 += 16) {
    const std::int64_t w1 = w0 + 16 < count ? w0 + 16 : count;
    std::int64_t c = 0;
    for (; c + block <= channels; c += block) {
      std::int64_t w = w0;
      for (; w + block <= w1; w += block) {
        const S* r = row + w * step + c;
        if constexpr (block == 4) {
          transpose4(r, r + step, r + 2 * step, r + 3 * step, out + c * plane + w, plane);
        } else {
          transpose2(r, r + step, out + c * plane + w, plane);
        }
      }
      for (; w < w1; ++w) {
        for (int i = 0; i < block; ++i) out[(c + i) * plane + w] = to_float(row[w * step + c + i]);
      }
    }
    for (; c < channels; ++c) {
      for (std::int64_t w = w0; w < w1; ++w) out[c * plane + w] = to_float(row[w * step + c]);
    }
  }
}

// Copies every step-th element.
template <class S, class T>
NNZOO_INLINE void copy_row(const S* row, std::int64_t step, std::int64_t count, T* out) {
  if (step == 1) {
    for_each_vector<T>(count, [&](std::int64_t i, int lanes) { Vec<T>::load(row + i, lanes).store(out + i, lanes); });
  } else if (step == 2) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = to_float(row[2 * i]);
  } else {
    for (std::int64_t i = 0; i < count; ++i) out[i] = to_float(row[i * step]);
  }
}

template <class T>
NNZOO_INLINE void zero_row(T* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = T(0);
}

// Fills one phase, whose position (0, 0, 0) holds source element `at`, of the planes of `channels` channels from `base`
// on; they lie `plane` apart from `out` on. Without `borders` what lies outside the source keeps its zeros.
template <class S, class T>
void fill_phase(const ImageTensor<S>& source, const S* base, std::int64_t channels, const PlaneShape& shape,
                const std::int64_t (&at)[3], T* out, std::int64_t plane, bool borders) {
  const PlaneAxis &D = shape.axis[0], &H = shape.axis[1], &W = shape.axis[2];
  // Positions [first, last) of a row lie inside the source.
  std::int64_t first = -floor_div(at[2], W.step), last = floor_div(W.extent - 1 - at[2], W.step) + 1;
  first = first < 0 ? 0 : first > W.size ? W.size : first;
  last = last < first ? first : last > W.size ? W.size : last;
  for (std::int64_t d = 0; d < D.size; ++d) {
    const std::int64_t sd = d * D.step + at[0];
    for (std::int64_t h = 0; h < H.size; ++h, out += W.size) {
      const std::int64_t sh = h * H.step + at[1];
      const bool inside = sd >= 0 && sd < D.extent && sh >= 0 && sh < H.extent && first < last;
      const std::int64_t begin = inside ? first : W.size, end = inside ? last : W.size;
      for (std::int64_t c = 0; borders && c < channels; ++c) {
        zero_row(out + c * plane, begin);
        zero_row(out + c * plane + end, W.size - end);
      }
      if (!inside) continue;
      const S* const row =
          base + sd * source.stride[2] + sh * source.stride[3] + (begin * W.step + at[2]) * source.stride[4];
      const std::int64_t step = W.step * source.stride[4];
      if (source.stride[1] == 1 && channels > 1) {
        transpose_row(row, step, end - begin, channels, plane, out + begin);
      } else {
        for (std::int64_t c = 0; c < channels; ++c) {
          copy_row(row + c * source.stride[1], step, end - begin, out + c * plane + begin);
        }
      }
    }
  }
}

// Fills the planes of channels [channel, channel + channels) of one image; they lie `plane` apart from `out` on.
// Without `borders` what lies outside the source keeps its zeros, which are the same for every channel.
template <class S, class T>
void fill_planes(const ImageTensor<S>& source, std::int64_t image, std::int64_t channel, std::int64_t channels,
                 const PlaneShape& shape, T* out, std::int64_t plane, bool borders = true) {
  const PlaneAxis &D = shape.axis[0], &H = shape.axis[1], &W = shape.axis[2];
  const S* const base = source.data + image * source.stride[0] + channel * source.stride[1];
  for (std::int64_t d = 0; d < D.phases; ++d) {
    for (std::int64_t h = 0; h < H.phases; ++h) {
      for (std::int64_t w = 0; w < W.phases; ++w, out += shape.phase_size()) {
        const std::int64_t at[3] = {D.residue(d) - D.padding, H.residue(h) - H.padding, W.residue(w) - W.padding};
        fill_phase(source, base, channels, shape, at, out, plane, borders);
      }
    }
  }
}

// The planes of some images: element (image, channel, position) at data[image * image_stride + channel * plane +
// position].
template <class T>
struct PlaneSet {
  const T* data;
  std::int64_t image_stride, plane;
  std::int64_t row_pitch, depth_pitch;  // from a pixel to the one below, and to the one behind
};

// From one plane to the next: whole vectors, so that all begin aligned.
template <class T>
std::int64_t plane_size(const PlaneShape& shape) {
  return round_up(shape.size(), Vec<T>::width);
}

// Whether the tensor's own memory is its planes.
template <class T, class S>
bool serves_as_planes(const ImageTensor<S>& source, const PlaneShape& shape) {
  const PlaneAxis *H = &shape.axis[1], *W = &shape.axis[2];
  return sizeof(S) == sizeof(T) && shape.is_source() && source.stride[4] == 1 && source.stride[3] == W->size &&
         (shape.axis[0].size == 1 || source.stride[2] == H->size * W->size);
}

// The planes of all channels of images [image, image + images): the tensor itself, or copies in `buffer`, which holds
// images * channels * plane_size<T>(shape) elements.
template <class T, class S>
PlaneSet<T> make_planes(const ImageTensor<S>& source, std::int64_t image, std::int64_t images, std::int64_t channels,
                        const PlaneShape& shape, T* buffer, int threads) {
  const std::int64_t row_pitch = shape.axis[2].size, depth_pitch = shape.axis[1].size * row_pitch;
  if constexpr (sizeof(S) == sizeof(T)) {
    if (serves_as_planes<T>(source, shape)) {
      return {source.data + image * source.stride[0], source.stride[0], source.stride[1], row_pitch, depth_pitch};
    }
  }
  const std::int64_t plane = plane_size<T>(shape);
  const std::int64_t step = source.stride[1] == 1 ? 16 : 1, parts = ceil_div(channels, step);
  parallel_for(images * parts, threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t channel = i % parts * step;
      const std::int64_t count = channels - channel < step ? channels - channel : step;
      fill_planes(source, image + i / parts, channel, count, shape, buffer + (i / parts * channels + channel) * plane,
                  plane);
    }
  });
  return {buffer, channels * plane, plane, row_pitch, depth_pitch};
}

// How many images' planes, `elements` each, are made at a time: what half of the last-level cache holds.
template <class T>
std::int64_t images_at_a_time(std::int64_t batch, std::int64_t elements) {
  const std::int64_t fit =
      cache_sizes().level3 / 2 / static_cast<std::int64_t>(sizeof(T)) / (elements > 0 ? elements : 1);
  return fit < 1 ? 1 : equal_part(batch, fit, 1);
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
