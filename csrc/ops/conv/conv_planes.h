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

NNZOO_INLINE std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// One dimension of a plane: position i of phase j holds source element i * step + residue(j) - padding, 0 outside.
struct PlaneAxis {
  std::int64_t extent;  // of the source
  std::int64_t size;    // positions of one phase
  std::int64_t step, padding, dilation, phases;

  std::int64_t residue(std::int64_t phase) const { return phase * dilation % step; }
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

// Fills the planes of channels [channel, channel + channels) of one image; they lie shape.size() apart from `out` on.
template <class S, class T>
void fill_planes(const ImageTensor<S>& source, std::int64_t image, std::int64_t channel, std::int64_t channels,
                 const PlaneShape& shape, T* out) {
  const PlaneAxis &D = shape.axis[0], &H = shape.axis[1], &W = shape.axis[2];
  const std::int64_t plane = shape.size();
  const S* const base = source.data + image * source.stride[0] + channel * source.stride[1];
  for (std::int64_t phase = 0; phase < D.phases * H.phases * W.phases; ++phase) {
    const std::int64_t rd = D.residue(phase / (H.phases * W.phases)) - D.padding;
    const std::int64_t rh = H.residue(phase / W.phases % H.phases) - H.padding;
    const std::int64_t rw = W.residue(phase % W.phases) - W.padding;
    // Positions [first, last) of a row lie inside the source.
    std::int64_t first = -floor_div(rw, W.step), last = floor_div(W.extent - 1 - rw, W.step) + 1;
    first = first < 0 ? 0 : first > W.size ? W.size : first;
    last = last < first ? first : last > W.size ? W.size : last;
    for (std::int64_t d = 0; d < D.size; ++d) {
      const std::int64_t sd = d * D.step + rd;
      for (std::int64_t h = 0; h < H.size; ++h, out += W.size) {
        const std::int64_t sh = h * H.step + rh;
        const bool inside = sd >= 0 && sd < D.extent && sh >= 0 && sh < H.extent && first < last;
        const std::int64_t begin = inside ? first : W.size, end = inside ? last : W.size;
        for (std::int64_t c = 0; c < channels; ++c) {
          zero_row(out + c * plane, begin);
          zero_row(out + c * plane + end, W.size - end);
        }
        if (!inside) continue;
        const S* const row =
            base + sd * source.stride[2] + sh * source.stride[3] + (begin * W.step + rw) * source.stride[4];
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
}

// The planes of some images: element (image, channel, position) at data[image * image_stride + channel * plane +
// position].
template <class T>
struct PlaneSet {
  const T* data;
  std::int64_t image_stride, plane;
  std::int64_t row_pitch, depth_pitch;  // from a pixel to the one below, and to the one behind
};

// Whether the tensor's own memory is its planes.
template <class T, class S>
bool serves_as_planes(const ImageTensor<S>& source, const PlaneShape& shape) {
  const PlaneAxis *H = &shape.axis[1], *W = &shape.axis[2];
  return sizeof(S) == sizeof(T) && shape.is_source() && source.stride[4] == 1 && source.stride[3] == W->size &&
         (shape.axis[0].size == 1 || source.stride[2] == H->size * W->size);
}

// The planes of all channels of images [image, image + images): the tensor itself, or copies in `buffer`, which holds
// images * channels * shape.size() elements.
template <class T, class S>
PlaneSet<T> make_planes(const ImageTensor<S>& source, std::int64_t image, std::int64_t images, std::int64_t channels,
                        const PlaneShape& shape, T* buffer, int threads) {
  const std::int64_t row_pitch = shape.axis[2].size, depth_pitch = shape.axis[1].size * row_pitch;
  if constexpr (sizeof(S) == sizeof(T)) {
    if (serves_as_planes<T>(source, shape)) {
      return {source.data + image * source.stride[0], source.stride[0], source.stride[1], row_pitch, depth_pitch};
    }
  }
  const std::int64_t plane = shape.size();
  const std::int64_t step = source.stride[1] == 1 ? 16 : 1, parts = ceil_div(channels, step);
  parallel_for(images * parts, threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t channel = i % parts * step;
      const std::int64_t count = channels - channel < step ? channels - channel : step;
      fill_planes(source, image + i / parts, channel, count, shape, buffer + (i / parts * channels + channel) * plane);
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

// The pixels of a product: [depth, height, width] per image.
struct PixelGrid {
  std::int64_t depth, height, width;

  std::int64_t count() const { return depth * height * width; }
};

// Planes as B of a GEMM: column = image * grid.count() + pixel, and row k of B is shifted by offset[k].
template <class S>
struct PlaneColumns {
  const S* data;
  std::int64_t image_stride, row_pitch, depth_pitch;
  const std::int64_t* offset;
  PixelGrid grid;

  PlaneColumns(const PlaneSet<S>& planes, std::int64_t channel, const std::int64_t* offset, const PixelGrid& grid)
      : data(planes.data + channel * planes.plane),
        image_stride(planes.image_stride),
        row_pitch(planes.row_pitch),
        depth_pitch(planes.depth_pitch),
        offset(offset),
        grid(grid) {
    // Rows that follow each other without a gap are one long row.
    if (grid.width == row_pitch || grid.height == 1) {
      if (grid.height > 1) this->grid = PixelGrid{grid.depth, 1, grid.width * grid.height};
      if (this->grid.width == depth_pitch) this->grid = PixelGrid{1, 1, this->grid.width * grid.depth};
    }
  }

  template <int width, class T>
  void pack(std::int64_t outer, int count, std::int64_t k0, std::int64_t depth, T* out) const {
    struct Run {
      const S* source;
      int lane, length;
    };
    Run runs[width];
    int used = 0;
    const std::int64_t pixels = grid.count();
    std::int64_t image = outer / pixels, pixel = outer % pixels;
    std::int64_t w = pixel % grid.width, h = pixel / grid.width % grid.height, d = pixel / grid.width / grid.height;
    for (int lane = 0; lane < count;) {
      const std::int64_t in_row = grid.width - w;
      const int length = in_row < count - lane ? static_cast<int>(in_row) : count - lane;
      runs[used++] = {data + image * image_stride + d * depth_pitch + h * row_pitch + w, lane, length};
      lane += length;
      w = 0;
      if (++h == grid.height) {
        h = 0;
        if (++d == grid.depth) {
          d = 0;
          ++image;
        }
      }
    }
    constexpr int lanes = Vec<T>::width;
    if (used == 1 && count == width && width % lanes == 0) {
      for (std::int64_t k = 0; k < depth; ++k)
        copy_padded<width>(runs[0].source + offset[k0 + k], width, out + k * width);
      return;
    }
    for (std::int64_t k = 0; k < depth; ++k) {
      const std::int64_t shift = offset[k0 + k];
      T* const row = out + k * width;
      // A run's last vector may be written in full, since what follows it is written later; not so in the last row.
      const bool exact = k + 1 == depth;
      for (int r = 0; r < used; ++r) {
        const S* source = runs[r].source + shift;
        T* to = row + runs[r].lane;
        int left = runs[r].length;
        for (; left >= lanes; left -= lanes, source += lanes, to += lanes) Vec<T>::load(source).store(to);
        if (left > 0) {
          const Vec<T> rest = Vec<T>::load(source, left);
          if (exact) {
            rest.store(to, left);
          } else {
            rest.store(to);
          }
        }
      }
      for (int i = count; i < width; ++i) row[i] = T(0);
    }
  }
};

// Planes as an operand whose depth runs over positions: outer element i is the plane shifted by offset[i], and the
// depth is image * length + position.
template <class S>
struct PlaneRows {
  const S* data;
  std::int64_t image_stride;
  const std::int64_t* offset;
  std::int64_t length;

  template <int width, class T>
  void pack(std::int64_t outer, int count, std::int64_t k0, std::int64_t depth, T* out) const {
    while (depth > 0) {
      const std::int64_t image = k0 / length, position = k0 % length;
      const std::int64_t here = length - position < depth ? length - position : depth;
      const S* const source = data + image * image_stride + position;
      pack_rows<width>([&](int i) { return source + offset[outer + i]; }, count, here, out);
      out += here * width;
      k0 += here;
      depth -= here;
    }
  }
};

// Writes C[channel, image * pixels + pixel] to a tensor, with a bias per channel.
template <class T, class S>
struct ImageStore {
  static constexpr bool from_registers = false, takes_tiles = true;
  S* data;
  std::int64_t image_stride, channel_stride;
  std::int64_t pixel_stride[3];
  PixelGrid grid;
  const S* bias;

  Partial<T> partial() const { return {nullptr, 0}; }

  void tile(const TilePlace& place, const T* sums, int stride) const {
    const std::int64_t pixels = grid.count();
    std::int64_t image = place.column / pixels, pixel = place.column % pixels;
    // Runs of pixels that are adjacent in memory: a whole image's, or those of a row.
    const bool rows_adjoin = pixel_stride[2] == 1 && (grid.height == 1 || pixel_stride[1] == grid.width) &&
                             (grid.depth == 1 || pixel_stride[0] == grid.width * grid.height);
    const std::int64_t run = rows_adjoin ? pixels : grid.width;
    for (int column = 0; column < place.columns;) {
      const std::int64_t in_run = run - pixel % run;
      const int count = in_run < place.columns - column ? static_cast<int>(in_run) : place.columns - column;
      const std::int64_t w = pixel % grid.width, h = pixel / grid.width % grid.height;
      const std::int64_t d = pixel / grid.width / grid.height;
      S* const first = data + image * image_stride + place.row * channel_stride + d * pixel_stride[0] +
                       h * pixel_stride[1] + w * pixel_stride[2];
      if (pixel_stride[2] == 1) {
        store_rows(sums + column, stride, place, count, first);
      } else {
        store_pixels(sums + column, stride, place, count, first);
      }
      column += count;
      pixel += count;
      if (pixel == pixels) {
        pixel = 0;
        ++image;
      }
    }
  }

 private:
  T bias_of(std::int64_t channel) const { return bias ? T(to_float(bias[channel])) : T(0); }

  // Pixels next to each other in memory.
  NNZOO_INLINE void store_rows(const T* sums, int stride, const TilePlace& place, int count, S* to) const {
    for (int i = 0; i < place.rows; ++i) {
      const Vec<T> shift = Vec<T>::set(bias_of(place.row + i));
      for_each_vector<T>(count, [&](std::int64_t j, int lanes) {
        (Vec<T>::load(sums + i * stride + j, lanes) + shift).store(to + i * channel_stride + j, lanes);
      });
    }
  }

  // Channels next to each other, or nothing is.
  NNZOO_INLINE void store_pixels(const T* sums, int stride, const TilePlace& place, int count, S* to) const {
    T shift[Tile<T>::rows];
    for (int i = 0; i < place.rows; ++i) shift[i] = bias_of(place.row + i);
    for (int j = 0; j < count; ++j) {
      S* const pixel = to + j * pixel_stride[2];
      for (int i = 0; i < place.rows; ++i) pixel[i * channel_stride] = from_float<S>(sums[i * stride + j] + shift[i]);
    }
  }
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
