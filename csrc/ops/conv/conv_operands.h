// Shifted planes as operands of the GEMM core, and the epilogue that writes its tiles to images.
#pragma once

#include "common/activation.h"
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

// Planes as B read in place. What is contiguous in a plane, output rows with the padding between them, is a run, and
// each begins a new panel: column = run * padded length + position. Padding costs products that nobody stores, but
// nothing is packed.
template <class S>
struct PlaneRuns {
  const S* data;
  std::int64_t image_stride, row_pitch, depth_pitch;
  const std::int64_t* offset;
  PixelGrid grid;
  std::int64_t runs, length, padded;  // runs per image; positions of one, also as whole panels

  PlaneRuns(const PlaneSet<S>& planes, std::int64_t channel, const std::int64_t* offset, const PixelGrid& grid)
      : data(planes.data + channel * planes.plane),
        image_stride(planes.image_stride),
        row_pitch(planes.row_pitch),
        depth_pitch(planes.depth_pitch),
        offset(offset),
        grid(grid),
        runs(grid.depth),
        length((grid.height - 1) * planes.row_pitch + grid.width) {
    if (grid.depth == 1 || (grid.width == row_pitch && grid.width * grid.height == depth_pitch)) {
      length += (runs - 1) * depth_pitch;
      runs = 1;
    }
    padded = round_up(length, Tile<S>::columns);
  }

  std::int64_t columns_per_image() const { return runs * padded; }

  int columns(std::int64_t column) const { return static_cast<int>(length - column % padded); }

  const S* at(std::int64_t column) const {
    const std::int64_t run = column / padded;
    return data + run / runs * image_stride + run % runs * depth_pitch + column % padded;
  }

  ShiftedRows<S> rows(std::int64_t column, std::int64_t k) const { return {at(column), offset + k}; }

  template <int width, class T>
  void pack(std::int64_t outer, int count, std::int64_t k0, std::int64_t depth, T* out) const {
    const S* const base = at(outer);
    pack_steps<width>([=](std::int64_t k) { return base + offset[k0 + k]; }, count, depth, out);
  }
};

template <class S>
struct OperandTraits<PlaneRuns<S>> {
  static constexpr bool packed = false, strided = false, in_place = true;
};

// How the columns of a product become pixels: image * runs + run, each `padded` columns long, holds rows of pixels
// `pitch` apart from row run * rows on.
struct ColumnLayout {
  std::int64_t runs, padded, pitch, rows;

  static ColumnLayout pixels(const PixelGrid& grid) { return {1, grid.count(), grid.width, grid.depth * grid.height}; }

  template <class S>
  static ColumnLayout of(const PlaneRuns<S>& planes) {
    const PixelGrid& grid = planes.grid;
    return {planes.runs, planes.padded, planes.row_pitch, grid.depth / planes.runs * grid.height};
  }
};

// Pixels of one row next to each other, and where their columns begin in a tile.
struct PixelRun {
  int lane, count;
  std::int64_t image, row, w;  // row: depth * height + h
};

// Calls body(PixelRun) for the pixels among columns [column, column + columns), rows being `width` pixels long. Columns
// between two rows hold nothing.
template <class Body>
NNZOO_INLINE void for_each_pixel_run(const ColumnLayout& layout, std::int64_t width, std::int64_t column, int columns,
                                     const Body& body) {
  std::int64_t run = column / layout.padded, position = column % layout.padded;
  for (int lane = 0; lane < columns;) {
    const std::int64_t row = run % layout.runs * layout.rows + position / layout.pitch, w = position % layout.pitch;
    const std::int64_t left = columns - lane, in_row = width - w,
                       step = layout.pitch - w < left ? layout.pitch - w : left;
    if (in_row > 0) {
      body(PixelRun{lane, static_cast<int>(in_row < left ? in_row : left), run / layout.runs, row, w});
    }
    lane += static_cast<int>(step);
    position += step;
    if (position == layout.padded) {
      position = 0;
      ++run;
    }
  }
}

// Whether a product with `rows` rows should read planes in place: where the products that padding wastes cost less than
// packing would, and A stays in cache over the whole depth. A packed value is used once for each of the rows, and
// packing it takes about as long as seven of its multiply-adds.
template <class F, class S>
bool reads_in_place(const PlaneRuns<S>& planes, std::int64_t rows, std::int64_t depth) {
  const std::int64_t pixels = planes.grid.count(), wasted = planes.runs * planes.length - pixels;
  return values_per_factor<F> == 1 && pixels > 0 && wasted * rows < 7 * pixels &&
         (depth <= depth_block<F>(depth) || fits_whole_depth<F>(rows, depth));
}

// Writes C[channel, column] to a tensor, with a bias per channel, through an activation whose argument goes to `kept`,
// if that is wanted: another tensor with the same strides. Columns between two rows of pixels hold nothing.
template <class T, class S>
struct ImageStore {
  static constexpr bool from_registers = false, takes_tiles = true;
  S* data;
  std::int64_t image_stride, channel_stride;
  std::int64_t pixel_stride[3];
  PixelGrid grid;
  ColumnLayout layout;
  const S* bias;
  S* kept = nullptr;
  Activation activation = Activation::none;

  Partial<T> partial() const { return {nullptr, 0}; }

  void tile(const TilePlace& place, const T* sums, int stride) const {
    if (activation == Activation::none) return write(place, sums, stride, bias, data);
    alignas(64) T values[Tile<T>::rows * Tile<T>::columns];
    for (int i = 0; i < place.rows; ++i) {
      const Vec<T> shift = Vec<T>::set(bias_of(bias, place.row + i));
      for (int j = 0; j < place.columns; j += Vec<T>::width)
        (Vec<T>::load(sums + i * stride + j) + shift).store(values + i * stride + j);
    }
    if (kept) write(place, values, stride, nullptr, kept);
    for (int i = 0; i < place.rows; ++i) activate_all(activation, values + i * stride, place.columns);
    write(place, values, stride, nullptr, data);
  }

 private:
  void write(const TilePlace& place, const T* sums, int stride, const S* bias, S* tensor) const {
    // Rows that adjoin, in the product and in memory, are one.
    const bool adjoin = layout.pitch == grid.width && pixel_stride[2] == 1 &&
                        (grid.height == 1 || pixel_stride[1] == grid.width) &&
                        (grid.depth == 1 || pixel_stride[0] == grid.width * grid.height);
    const std::int64_t width = adjoin ? layout.padded : grid.width, pitch = adjoin ? layout.padded : layout.pitch;
    ColumnLayout rows = layout;
    rows.pitch = pitch;
    for_each_pixel_run(rows, width, place.column, place.columns, [&](const PixelRun& run) {
      const std::int64_t d = run.row / grid.height, h = run.row % grid.height;
      S* const first = tensor + run.image * image_stride + place.row * channel_stride + d * pixel_stride[0] +
                       h * pixel_stride[1] + run.w * pixel_stride[2];
      if (pixel_stride[2] == 1) {
        store_rows(sums + run.lane, stride, place, run.count, bias, first);
      } else {
        store_pixels(sums + run.lane, stride, place, run.count, bias, first);
      }
    });
  }

  static T bias_of(const S* bias, std::int64_t channel) { return bias ? T(to_float(bias[channel])) : T(0); }

  // Pixels next to each other in memory.
  NNZOO_INLINE void store_rows(const T* sums, int stride, const TilePlace& place, int count, const S* bias,
                               S* to) const {
    for (int i = 0; i < place.rows; ++i) {
      const Vec<T> shift = Vec<T>::set(bias_of(bias, place.row + i));
      for_each_vector<T>(count, [&](std::int64_t j, int lanes) {
        (Vec<T>::load(sums + i * stride + j, lanes) + shift).store(to + i * channel_stride + j, lanes);
      });
    }
  }

  // Channels next to each other, or nothing is.
  NNZOO_INLINE void store_pixels(const T* sums, int stride, const TilePlace& place, int count, const S* bias,
                                 S* to) const {
    T shift[Tile<T>::rows];
    for (int i = 0; i < place.rows; ++i) shift[i] = bias_of(bias, place.row + i);
    for (int j = 0; j < count; ++j) {
      S* const pixel = to + j * pixel_stride[2];
      for (int i = 0; i < place.rows; ++i) pixel[i * channel_stride] = from_float<S>(sums[i * stride + j] + shift[i]);
    }
  }
};

// Calls multiply(columns, each, layout) with the better of the two ways to use planes as B: columns(channel) is the
// operand from that channel on, `each` its columns for one image.
template <class F, class S, class Multiply>
void multiply_planes(const PlaneSet<S>& planes, const std::int64_t* offset, const PixelGrid& grid, std::int64_t rows,
                     std::int64_t depth, const Multiply& multiply) {
  const PlaneRuns<S> runs(planes, 0, offset, grid);
  if (reads_in_place<F>(runs, rows, depth)) {
    multiply([&](std::int64_t channel) { return PlaneRuns<S>(planes, channel, offset, grid); },
             runs.columns_per_image(), ColumnLayout::of(runs));
  } else {
    multiply([&](std::int64_t channel) { return PlaneColumns<S>(planes, channel, offset, grid); }, grid.count(),
             ColumnLayout::pixels(grid));
  }
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
