// Rows of A and columns of B as whole sets of micro-panels: products of blocks in cache, and a B packed once.
// Documented in gemm.h.
#pragma once

#include "common/gemm_blocking.h"
#include "common/gemm_pack.h"
#include "common/gemm_tile.h"
#include "common/parallel.h"

namespace nnzoo {
namespace NNZOO_ISA {

template <class T>
std::int64_t a_panels_size(std::int64_t rows, std::int64_t depth) {
  return round_up(rows, Tile<T>::rows) * factors<T>(depth);
}

template <class T>
std::int64_t b_panels_size(std::int64_t columns, std::int64_t depth) {
  return round_up(columns, Tile<T>::columns) * factors<T>(depth);
}

template <class T, class A>
void pack_a_panels(const A& a, std::int64_t row, std::int64_t rows, std::int64_t k, std::int64_t depth, T* out) {
  constexpr int R = Tile<T>::rows;
  for (std::int64_t i = 0; i < rows; i += R, out += factors<T>(depth) * R) {
    a.template pack<R>(row + i, static_cast<int>(rows - i < R ? rows - i : R), k, depth, out);
  }
}

template <class T, class B>
void pack_b_panels(const B& b, std::int64_t column, std::int64_t columns, std::int64_t k, std::int64_t depth, T* out) {
  constexpr int W = Tile<T>::columns;
  for (std::int64_t j = 0; j < columns; j += W, out += factors<T>(depth) * W) {
    b.template pack<W>(column + j, static_cast<int>(columns - j < W ? columns - j : W), k, depth, out);
  }
}

template <class T, class Epilogue>
void multiply_panels(std::int64_t rows, std::int64_t columns, std::int64_t depth, const T* a_panels, const T* b_panels,
                     const Epilogue& epilogue) {
  constexpr int W = Tile<T>::columns;
  for (std::int64_t j = 0; j < columns; j += W, b_panels += factors<T>(depth) * W) {
    const int count = static_cast<int>(columns - j < W ? columns - j : W);
    run_panel<T>(rows, depth, a_panels, EvenRows<T>{b_panels, W}, TilePlace{0, j, 0, count}, DepthStep{true, true},
                 Partial<Sum<T>>{nullptr, 0}, epilogue);
  }
}

template <class T>
struct PackedB {
  const T* data;
  std::int64_t depth, columns;

  const T* panel(std::int64_t index, std::int64_t k, std::int64_t depth_here) const {
    return data + b_panels_size<T>(columns, k) + index * Tile<T>::columns * factors<T>(depth_here);
  }
};

template <class T>
std::int64_t packed_size(std::int64_t depth, std::int64_t columns) {
  return round_up(columns, Tile<T>::columns) * factors<T>(depth);
}

template <class T, class B>
void pack_b(const B& b, std::int64_t depth, std::int64_t columns, T* out, int threads) {
  constexpr int W = Tile<T>::columns;
  const PackedB<T> layout{out, depth, columns};
  const std::int64_t step = depth_block<T>(depth), panels = ceil_div(columns, W);
  parallel_for(panels, threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = 0; k < depth; k += step) {
      const std::int64_t here = depth - k < step ? depth - k : step;
      const std::int64_t last = end * W < columns ? end * W : columns;
      pack_b_panels<T>(b, begin * W, last - begin * W, k, here, const_cast<T*>(layout.panel(begin, k, here)));
    }
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
