// The points of knn as the product wants them: moved to the middle of their group and scaled, with squared lengths.
#pragma once

#include "common/parallel.h"
#include "common/scratch.h"
#include "common/simd.h"
#include "ops/knn/knn.h"

namespace nnzoo {
namespace NNZOO_ISA {

template <class S>
struct Points {
  const S* rows;              // [count, dim]
  const std::int64_t* start;  // [groups + 1]
  std::int64_t count;
  Compute<S>* moved;   // [count, dim]
  Compute<S>* square;  // [count] squared lengths, 1 for cosine
};

// One group: what its coordinates are multiplied by, and the point that became the origin.
struct Frame {
  double scale;
  double* middle;  // [dim]
};

// The rounding of a distance is at most error(x) + error(y), with error(x) = relative * (|x|^2 + least). The first part
// is that of both points' coordinates, of a sum of `dim` products (of factors that are rounded by themselves, if they
// are), and of the squares and sums around it, with some to spare, the second that of values which are too small to be
// rounded relatively.
template <class T>
struct Rounding {
  T relative;

  static Rounding of_sums(std::int64_t dim, T of_factors) {
    return {(sizeof(T) == 4 ? T(0x1p-24) : T(0x1p-53)) * static_cast<T>(dim + 32) + of_factors};
  }
  NNZOO_INLINE T error(T square) const {
    constexpr T least = sizeof(T) == 4 ? T(0x1p-100) : T(0x1p-960);
    return relative * (square + least);
  }
};

// The largest |value|, or a NaN if one isn't finite.
template <class S>
double largest_value(const S* values, std::int64_t count) {
  using T = Compute<S>;
  Vec<T> largest = Vec<T>::zero();
  bool finite = true;
  const Vec<T> infinity = Vec<T>::set(T(__builtin_inf()));
  for_each_vector<T>(count, [&](std::int64_t i, int lanes) {
    const Vec<T> value = abs(load_lanes<T>(values + i, lanes));
    finite = finite && all(value < infinity);
    largest = max(value, largest);
  });
  return finite ? static_cast<double>(reduce_max(largest)) : __builtin_nan("");
}

template <class S>
std::int64_t first_infinite_row(const Points<S>& points, std::int64_t dim) {
  for (std::int64_t row = 0; row < points.count; ++row) {
    if (largest_value(points.rows + row * dim, dim) != largest_value(points.rows + row * dim, dim)) return row;
  }
  return -1;
}

// The value that stands at place `place` when `values` are sorted; they are rearranged.
template <class T>
T value_at(T* values, std::int64_t count, std::int64_t place) {
  std::int64_t low = 0, high = count - 1;
  while (low < high) {
    const T middle = values[(low + high) / 2];
    std::int64_t i = low, j = high;
    while (i <= j) {
      while (values[i] < middle) ++i;
      while (middle < values[j]) --j;
      if (i <= j) {
        const T swapped = values[i];
        values[i++] = values[j];
        values[j--] = swapped;
      }
    }
    if (place <= j) {
      high = j;
    } else if (place >= i) {
      low = i;
    } else {
      break;
    }
  }
  return values[place];
}

// Rows of x that say where the middle is. It is a median, which a few points far away don't move, and only has to be
// near most points.
constexpr std::int64_t kRowsForMiddle = 255;

// False if a coordinate isn't finite.
template <class S>
bool find_frame(const Points<S>& x, const Points<S>& y, std::int64_t group, std::int64_t dim, bool cosine,
                Frame& frame) {
  const auto largest_of = [&](const Points<S>& points) {
    const std::int64_t first = points.start[group];
    return largest_value(points.rows + first * dim, (points.start[group + 1] - first) * dim);
  };
  const double in_x = largest_of(x), in_y = largest_of(y), largest = in_x > in_y ? in_x : in_y;
  if (in_x != in_x || in_y != in_y) return false;
  int exponent = 0;
  __builtin_frexp(largest, &exponent);
  frame.scale = __builtin_ldexp(1.0, exponent < -1000 ? 1000 : -exponent);
  for (std::int64_t d = 0; d < dim; ++d) frame.middle[d] = 0;
  const std::int64_t first = x.start[group], size = x.start[group + 1] - first;
  if (cosine || size == 0) return true;
  const std::int64_t step = 1 + (size - 1) / kRowsForMiddle, rows = 1 + (size - 1) / step;
  for (std::int64_t d = 0; d < dim; ++d) {
    double values[kRowsForMiddle];
    for (std::int64_t i = 0; i < rows; ++i) {
      values[i] = static_cast<double>(to_float(x.rows[(first + i * step) * dim + d]));
    }
    frame.middle[d] = frame.scale * value_at(values, rows, rows / 2);
  }
  return true;
}

// moved = factor * (scale * row - middle), of length `factor` for cosine
template <class S>
void move_row(const Points<S>& points, std::int64_t row, std::int64_t dim, const Frame& frame, bool cosine,
              double factor) {
  using T = Compute<S>;
  const S* const from = points.rows + row * dim;
  T* const to = points.moved + row * dim;
  double square = 0;
  for (std::int64_t d = 0; d < dim; ++d) {
    const double value = frame.scale * static_cast<double>(to_float(from[d])) - frame.middle[d];
    square += value * value;
    to[d] = static_cast<T>(factor * value);
  }
  points.square[row] = static_cast<T>(cosine ? 1 : square);
  if (!cosine) return;
  const double length = __builtin_sqrt(square), inverse = length > 0 ? factor / length : 0;
  for (std::int64_t d = 0; d < dim; ++d) {
    to[d] = static_cast<T>(inverse * frame.scale * static_cast<double>(to_float(from[d])));
  }
}

template <class S>
void move_points(const Points<S>& points, const Frame* frames, std::int64_t groups, std::int64_t dim, bool cosine,
                 double factor, int threads) {
  parallel_for(
      points.count, threads,
      [&](std::int64_t begin, std::int64_t end) {
        std::int64_t group = 0;
        for (std::int64_t row = begin; row < end; ++row) {
          while (group + 1 < groups && points.start[group + 1] <= row) ++group;
          move_row(points, row, dim, frames[group], cosine, factor);
        }
      },
      1 + (std::int64_t(1) << 14) / (dim + 1));
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
