// Products of blocks that stay in cache, as attention needs them: queries lie in vector lanes, so the left operand is
// only ever broadcast and is read where it lies, without packing.
#pragma once

#include "common/gemm.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Calls body(Lanes<v>()) with v = the number of vectors, 1..Tile<T>::vectors, that `count` elements need.
template <int v>
struct Lanes {
  static constexpr int vectors = v;
};

template <class T, class Body>
NNZOO_INLINE void dispatch_lanes(std::int64_t count, const Body& body) {
  if (count <= Vec<T>::width) return body(Lanes<1>());
  if constexpr (Tile<T>::vectors == 2) {
    return body(Lanes<2>());
  } else {
    static_assert(Tile<T>::vectors == 3, "a case for every number of vectors");
    return count <= 2 * Vec<T>::width ? body(Lanes<2>()) : body(Lanes<3>());
  }
}

// The left operand: element (row, step) lies at data[row * row_stride + step * step_stride].
template <class T>
struct Left {
  const T* data;
  std::int64_t row_stride, step_stride;
};

// Which of a block's products are wanted. Under a causal mask query lane q sees the block's keys 0..level + q, so
// beyond the diagonal whole vectors of lanes see nothing: their products are left out. `end(row, j)` is where vector j
// leaves the sum for the tile that begins with `row`; it never falls with j.
template <class T>
struct Stairs {
  static constexpr int width = Vec<T>::width;
  std::int64_t depth, level;
};

// Rows are keys, steps are features.
template <class T>
struct KeyRows : Stairs<T> {
  std::int64_t begin(std::int64_t) const { return 0; }
  std::int64_t end(std::int64_t row, int j) const {
    return row - this->level < (j + 1) * this->width ? this->depth : 0;
  }
};

// Steps are keys.
template <class T>
struct KeySteps : Stairs<T> {
  std::int64_t begin(std::int64_t) const { return 0; }
  std::int64_t end(std::int64_t, int j) const {
    const std::int64_t end = this->level + (j + 1) * this->width;
    return end < this->depth ? end : this->depth;
  }
};

// Rows are keys, steps are query lanes.
template <class T>
struct QuerySteps : Stairs<T> {
  std::int64_t begin(std::int64_t row) const { return row > this->level ? row - this->level : 0; }
  std::int64_t end(std::int64_t, int) const { return this->depth; }
};

// finish(row, count, sum) for each tile of `rows`: sum[i][j] holds row `row + i` < `row + count` and vector j of
// left @ right, where row k of `right` starts at right + k * right_stride. Rows beyond `count` repeat the last one.
template <class T, int vectors, class Steps, class Finish>
NNZOO_INLINE void block_product(std::int64_t rows, const Steps& steps, const Left<T>& left, const T* right,
                                std::int64_t right_stride, const Finish& finish) {
  constexpr int R = Tile<T>::rows, width = Vec<T>::width;
  for (std::int64_t row = 0; row < rows; row += R) {
    const int count = static_cast<int>(rows - row < R ? rows - row : R);
    const T* line[R];
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) line[i] = left.data + (row + (i < count ? i : count - 1)) * left.row_stride;
    Vec<T> sum[R][vectors];
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) sum[i][j] = Vec<T>::zero();
    }
    std::int64_t k = steps.begin(row), step = k * left.step_stride;
    const T* b = right + k * right_stride;
#pragma GCC unroll 4
    for (int first = 0; first < vectors; ++first) {
      const std::int64_t end = steps.end(row, first);
      for (; k < end; ++k, step += left.step_stride, b += right_stride) {
        Vec<T> lanes[vectors];
#pragma GCC unroll 4
        for (int j = first; j < vectors; ++j) lanes[j] = Vec<T>::load(b + j * width);
#pragma GCC unroll 8
        for (int i = 0; i < R; ++i) {
          const Vec<T> x = Vec<T>::set(line[i][step]);
#pragma GCC unroll 4
          for (int j = first; j < vectors; ++j) sum[i][j] = fma(x, lanes[j], sum[i][j]);
        }
      }
    }
    finish(row, count, sum);
  }
}

// c[row][lane] = left @ right, `c` having room for whole tiles: round_up(rows, Tile<T>::rows) rows of `vectors`
// vectors. Calls meanwhile() beside each tile.
template <class T, int vectors, class Meanwhile>
__attribute__((noinline)) void product(std::int64_t rows, const KeyRows<T>& steps, const Left<T>& left, const T* right,
                                       T* c, const Meanwhile& meanwhile) {
  constexpr int R = Tile<T>::rows, width = Vec<T>::width, W = vectors * width;
  block_product<T, vectors>(rows, steps, left, right, W, [=](std::int64_t row, int, Vec<T>(&sum)[R][vectors]) {
    meanwhile();
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) sum[i][j].store(c + (row + i) * W + j * width);
    }
  });
}

// c[row][lane] = c[row][lane] * factor[lane] + left @ right, with room for whole tiles as above.
template <class T, int vectors>
__attribute__((noinline)) void product_add(std::int64_t rows, const KeySteps<T>& steps, const Left<T>& left,
                                           const T* right, const Vec<T> (&factor)[vectors], T* c) {
  constexpr int R = Tile<T>::rows, width = Vec<T>::width, W = vectors * width;
  block_product<T, vectors>(rows, steps, left, right, W, [&](std::int64_t row, int, Vec<T>(&sum)[R][vectors]) {
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) {
        T* const to = c + (row + i) * W + j * width;
        fma(Vec<T>::load(to), factor[j], sum[i][j]).store(to);
      }
    }
  });
}

// The first `columns` lanes of c[row] += left @ right, for rows of any stride that end with their last column.
template <class T, int vectors>
__attribute__((noinline)) void product_add_rows(std::int64_t rows, std::int64_t columns, const QuerySteps<T>& steps,
                                                const Left<T>& left, const T* right, std::int64_t right_stride, T* c,
                                                std::int64_t c_stride) {
  constexpr int R = Tile<T>::rows, width = Vec<T>::width;
  block_product<T, vectors>(rows, steps, left, right, right_stride, [=](std::int64_t row, int count, auto& sum) {
    const bool whole = count == R && columns == vectors * width;
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) {
        T* const to = c + (row + i) * c_stride + j * width;
        const int lanes = static_cast<int>(columns) - j * width;
        if (whole || (i < count && lanes >= width)) {
          (Vec<T>::load(to) + sum[i][j]).store(to);
        } else if (i < count && lanes > 0) {
          (Vec<T>::load(to, lanes) + sum[i][j]).store(to, lanes);
        }
      }
    }
  });
}

// out[column][row] = in[row][column].
template <class T>
void transpose(const T* in, std::int64_t in_stride, std::int64_t rows, std::int64_t columns, T* out,
               std::int64_t out_stride) {
  constexpr int block = sizeof(T) == 4 ? 4 : 2;
  std::int64_t i = 0;
  for (; i + block <= rows; i += block) {
    const T* const from = in + i * in_stride;
    std::int64_t j = 0;
    for (; j + block <= columns; j += block) {
      if constexpr (block == 4) {
        transpose4(from + j, from + in_stride + j, from + 2 * in_stride + j, from + 3 * in_stride + j,
                   out + j * out_stride + i, out_stride);
      } else {
        transpose2(from + j, from + in_stride + j, out + j * out_stride + i, out_stride);
      }
    }
    for (; j < columns; ++j) {
      for (int r = 0; r < block; ++r) out[j * out_stride + i + r] = from[r * in_stride + j];
    }
  }
  for (; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) out[j * out_stride + i] = in[i * in_stride + j];
  }
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
