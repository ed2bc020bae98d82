// The gradient of a convolution's weight as dot products along the planes: sums[o, k] = sum over images and positions
// of grad[o, position] * input[position + offset[k]]. Both planes are read where they lie; a GEMM would have to
// transpose them into panels, every input value once for each tap.
#pragma once

#include "ops/conv/conv_planes.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Sums that stay in registers, beside one vector of each row and one of the input.
struct CorrelationTile {
#if defined(__AVX512F__)
  static constexpr int rows = 4, columns = 6;
#elif defined(__AVX2__)
  static constexpr int rows = 3, columns = 4;
#else
  static constexpr int rows = 2, columns = 4;
#endif
};

template <class T>
class PlaneCorrelation {
  static constexpr int R = CorrelationTile::rows, C = CorrelationTile::columns;
  // A tile's rows of grad are read again for each of its columns: this many positions stay in the first-level cache.
  static constexpr std::int64_t positions_at_a_time = 8192 / static_cast<std::int64_t>(sizeof(T));

 public:
  // `length` positions of each of `images` images; sums [rows, columns], added to if `add`.
  PlaneCorrelation(const PlaneSet<T>& grad, const PlaneSet<T>& input, const std::int64_t* offset, std::int64_t rows,
                   std::int64_t columns, std::int64_t images, std::int64_t length)
      : grad_(grad),
        input_(input),
        offset_(offset),
        rows_(rows),
        columns_(columns),
        images_(images),
        length_(length),
        step_(equal_part(length > 0 ? length : 1, positions_at_a_time, Vec<T>::width)),
        images_step_(equal_part(images, positions_at_a_time / step_, 1)) {}

  void run(T* sums, bool add, int threads) const {
    const std::int64_t tiles = ceil_div(columns_, C), units = ceil_div(rows_, R) * tiles;
    if (images_ * length_ == 0 && !add) {
      for (std::int64_t i = 0; i < rows_ * columns_; ++i) sums[i] = T(0);
    }
    parallel_for(units, threads, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t image = 0; image < images_; image += images_step_) {
        for (std::int64_t at = 0; at < length_; at += step_) {
          for (std::int64_t unit = begin; unit < end; ++unit) {
            tile(unit / tiles * R, unit % tiles * C, image, at, sums, add || image > 0 || at > 0);
          }
        }
      }
    });
  }

 private:
  __attribute__((noinline)) void tile(std::int64_t row, std::int64_t column, std::int64_t image, std::int64_t at,
                                      T* sums, bool add) const {
    Vec<T> sum[R][C];
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
#pragma GCC unroll 6
      for (int j = 0; j < C; ++j) sum[i][j] = Vec<T>::zero();
    }
    const std::int64_t last = images_ - image < images_step_ ? images_ : image + images_step_;
    const std::int64_t count = length_ - at < step_ ? length_ - at : step_;
    for (; image < last; ++image) {
      // Rows and columns beyond the last repeat it; nobody stores their sums.
      const T *a[R], *b[C];
#pragma GCC unroll 4
      for (int i = 0; i < R; ++i) {
        const std::int64_t o = row + i < rows_ ? row + i : rows_ - 1;
        a[i] = grad_.data + image * grad_.image_stride + o * grad_.plane + at;
      }
#pragma GCC unroll 6
      for (int j = 0; j < C; ++j) {
        const std::int64_t k = column + j < columns_ ? column + j : columns_ - 1;
        b[j] = input_.data + image * input_.image_stride + offset_[k] + at;
      }
      const auto step = [&](auto load) __attribute__((always_inline)) {
        Vec<T> x[R];
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i) x[i] = load(a[i]);
#pragma GCC unroll 6
        for (int j = 0; j < C; ++j) {
          const Vec<T> y = load(b[j]);
#pragma GCC unroll 4
          for (int i = 0; i < R; ++i) sum[i][j] = fma(x[i], y, sum[i][j]);
        }
      };
      std::int64_t v = 0;
      for (; v + Vec<T>::width <= count; v += Vec<T>::width) {
        step([=](const T* p) { return Vec<T>::load(p + v); });
      }
      if (v < count) step([=](const T* p) { return Vec<T>::load(p + v, static_cast<int>(count - v)); });
    }
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
#pragma GCC unroll 6
      for (int j = 0; j < C; ++j) {
        if (row + i >= rows_ || column + j >= columns_) continue;
        T* const to = sums + (row + i) * columns_ + column + j;
        *to = reduce_add(sum[i][j]) + (add ? *to : T(0));
      }
    }
  }

  const PlaneSet<T>& grad_;
  const PlaneSet<T>& input_;
  const std::int64_t* const offset_;
  const std::int64_t rows_, columns_, images_, length_, step_, images_step_;
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
