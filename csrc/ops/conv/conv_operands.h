// Shifted planes as operands of the GEMM core, and the epilogue that writes its tiles to images.
#pragma once

#include "ops/conv/conv_planes.h"

namespace nnzoo {
namespace NNZOO_ISA {

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
