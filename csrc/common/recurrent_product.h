// The product of a recurrent step, state [n, depth] times weights: few rows, and the same weights at every step. So the
// weights are packed once a call into panels [depth][vectors][width] that stay in a core's second-level cache, and the
// state, which changes at every step, is read where it lies, one broadcast element at a time.
#pragma once

#include "common/gemm_blocking.h"
#include "common/gemm_pack.h"
#include "common/parallel.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Rows of state in a register tile beside at most 4 vectors of columns: 24 of 32 registers hold sums (AVX-512), 12 of
// 16 (AVX2), 8 of 16 (SSE2, whose product needs one more).
#if defined(__AVX512F__)
constexpr int tile_rows = 6;
#elif defined(__AVX2__)
constexpr int tile_rows = 3;
#else
constexpr int tile_rows = 2;
#endif

// out[i][v] = sum over k of a[i * a_stride + k] * panel[k][v]. Rows of `a` are whole factors F: behind an odd depth of
// bfloat16 lies a zero.
template <class F, int rows, int vectors>
__attribute__((noinline)) void multiply_rows(std::int64_t depth, const Element<F>* a, std::int64_t a_stride,
                                             const F* panel, Sum<F>* out) {
  using T = Sum<F>;
  constexpr int width = Vec<T>::width;
  Vec<T> sum[rows][vectors];
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sum[i][v] = Vec<T>::zero();
  }
  const std::int64_t end = factors<F>(depth) * values_per_factor<F>;
  for (std::int64_t k = 0; k < end; k += values_per_factor<F>, panel += vectors * width) {
    Vec<F> b[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) b[v] = Vec<F>::load(panel + v * width);
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i) {
      const Vec<F> x = Vec<F>::set(*reinterpret_cast<const F*>(a + i * a_stride + k));
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sum[i][v] = fma(x, b[v], sum[i][v]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sum[i][v].store(out + (i * vectors + v) * width);
  }
}

template <class F, int vectors, int rows = tile_rows>
NNZOO_INLINE void multiply_rows_of(int count, std::int64_t depth, const Element<F>* a, std::int64_t a_stride,
                                   const F* panel, Sum<F>* out) {
  if constexpr (rows > 1) {
    if (count < rows) return multiply_rows_of<F, vectors, rows - 1>(count, depth, a, a_stride, panel, out);
  }
  multiply_rows<F, rows, vectors>(depth, a, a_stride, panel, out);
}

// One panel's product with all `n` rows; `finish(row, sums)` gets each row's `vectors` * width sums. Rows are cut into
// tiles of nearly equal height, since a low last tile would wait for the panel rather than for its own arithmetic.
template <class F, int vectors, class Finish>
NNZOO_INLINE void multiply_panel(std::int64_t n, std::int64_t depth, const Element<F>* a, std::int64_t a_stride,
                                 const F* panel, const Finish& finish) {
  constexpr int columns = vectors * Vec<F>::width;
  alignas(64) Sum<F> tile[tile_rows * columns];
  const int tiles = static_cast<int>(ceil_div(n, tile_rows));
  for (int index = 0; index < tiles; ++index) {
    const Range rows = split_range(n, index, tiles);
    const int count = static_cast<int>(rows.end - rows.begin);
    multiply_rows_of<F, vectors>(count, depth, a + rows.begin * a_stride, a_stride, panel, tile);
    for (int i = 0; i < count; ++i) finish(rows.begin + i, tile + i * columns);
  }
}

// Weights as panels of so many vectors of columns: `fixed`, or, where that is 0, 1, 2 or 4.
template <class F, int fixed = 0>
struct ColumnPanels {
  static constexpr int width = Vec<F>::width;
  std::int64_t depth, columns, panels;
  int vectors;
  F* data = nullptr;

  ColumnPanels(std::int64_t depth, std::int64_t columns, int vectors)
      : depth(depth), columns(columns), panels(ceil_div(columns, vectors * width)), vectors(vectors) {}

  // Panels as wide as leaves every thread its share.
  static ColumnPanels for_threads(std::int64_t depth, std::int64_t columns, int threads) {
    int best = fixed ? fixed : 4;
    for (int each = 2; each >= 1 && !fixed; each /= 2) {
      if (vectors_per_thread(columns, each, threads) < vectors_per_thread(columns, best, threads)) best = each;
    }
    return {depth, columns, best};
  }

  std::int64_t size() const { return panels * vectors * width * factors<F>(depth); }
  const F* panel(std::int64_t index) const { return data + index * vectors * width * factors<F>(depth); }

  // `b` is an operand of gemm_pack.h, depth x columns.
  template <class B>
  void pack(const B& b, F* memory, int threads) {
    data = memory;
    parallel_for(panels, threads, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t p = begin; p < end; ++p) {
        with_vectors([&](auto each) { pack_panel<each.value>(b, p); });
      }
    });
  }

  // This thread's share of a [n, depth] @ weights; finish(row, first column, vectors, sums) gets each row of a panel.
  template <class Finish>
  NNZOO_INLINE void multiply_rows_of_panels(std::int64_t n, const Element<F>* a, std::int64_t a_stride, int thread,
                                            int threads, const Finish& finish) const {
    const Range share = split_range(panels, thread, threads);
    for (std::int64_t p = share.begin; p < share.end; ++p) {
      with_vectors([&](auto each) {
        multiply_panel<F, each.value>(n, depth, a, a_stride, panel(p), [&](std::int64_t row, const Sum<F>* sums) {
          finish(row, p * each.value * width, each, sums);
        });
      });
    }
  }

  // The same; finish(row, column, count, sum) gets every vector of the result.
  template <class Finish>
  void multiply(std::int64_t n, const Element<F>* a, std::int64_t a_stride, int thread, int threads,
                const Finish& finish) const {
    multiply_rows_of_panels(n, a, a_stride, thread, threads,
                            [&](std::int64_t row, std::int64_t column, auto each, const Sum<F>* sums) {
                              for (int v = 0; v < each.value && column < columns; ++v, column += width) {
                                const int count = static_cast<int>(columns - column < width ? columns - column : width);
                                finish(row, column, count, Vec<Sum<F>>::load(sums + v * width));
                              }
                            });
  }

  // The columns whose products `multiply` computes on this thread.
  Range columns_of(int thread, int threads) const {
    const Range share = split_range(panels, thread, threads);
    const std::int64_t step = vectors * width, begin = share.begin * step, end = share.end * step;
    return {begin < columns ? begin : columns, end < columns ? end : columns};
  }

 private:
  template <int n>
  struct Constant {
    static constexpr int value = n;
  };

  static std::int64_t vectors_per_thread(std::int64_t columns, int vectors, int threads) {
    return ceil_div(ceil_div(columns, vectors * width), threads) * vectors;
  }

  template <class Body>
  NNZOO_INLINE void with_vectors(const Body& body) const {
    if constexpr (fixed > 0) {
      body(Constant<fixed>());
    } else {
      if (vectors == 4) body(Constant<4>());
      if (vectors == 2) body(Constant<2>());
      if (vectors == 1) body(Constant<1>());
    }
  }

  template <int each, class B>
  void pack_panel(const B& b, std::int64_t p) {
    const std::int64_t column = p * each * width, left = columns - column;
    const int count = static_cast<int>(left < each * width ? left : each * width);
    b.template pack<each * width>(column, count, 0, depth, data + p * each * width * factors<F>(depth));
  }
};

// w_hh's rows in the order that puts a vector of hidden units beside its other gates, so that one thread's tile holds
// all that the cell needs: an operand of gemm_pack.h with gates * width columns for each vector. Lanes beyond the last
// unit repeat it; nobody reads their sums.
template <class T, class S, int gates>
struct GateColumns {
  static constexpr int width = Vec<T>::width;
  const S* w_hh;
  std::int64_t hidden, depth;

  const S* column(std::int64_t index) const {
    const std::int64_t gate = index / width % gates, unit = index / (gates * width) * width + index % width;
    return w_hh + (gate * hidden + (unit < hidden ? unit : hidden - 1)) * depth;
  }

  template <int most, class To>
  void pack(std::int64_t outer, int count, std::int64_t, std::int64_t, To* out) const {
    pack_rows<most>([=](int i) { return column(outer + i); }, count, depth, out);
  }
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
