// Products with few rows and a B whose columns are contiguous (a weight [N, K] used as weight^T): dot products that
// read B once where it lies. Packing would transpose it for the sake of a handful of rows.
#pragma once

#include "common/gemm_pack.h"
#include "common/gemm_tile.h"
#include "common/parallel.h"
#include "common/scratch.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Sums live in registers as [rows][columns] vectors along K; more columns than rows, so that B's streams hide latency.
template <class T>
struct DotTile {
#if defined(__AVX512F__)
  static constexpr int rows = 4;
#else
  static constexpr int rows = 2;
#endif
  static constexpr int columns = Vec<T>::width < 4 ? Vec<T>::width : 4;
};

// out[i * out_stride + j] = a[i] . b[j] for `rows` rows of A and DotTile::columns columns of B, K long.
template <class T, int rows, class S>
NNZOO_INLINE void dot_tile(std::int64_t K, const Element<T>* a, std::int64_t a_stride, const S* b,
                           std::int64_t b_stride, Sum<T>* out, std::int64_t out_stride) {
  constexpr int columns = DotTile<T>::columns, values = values_per_factor<T> * Vec<T>::width;
  Vec<Sum<T>> sum[rows][columns];
#pragma GCC unroll 4
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < columns; ++j) sum[i][j] = Vec<Sum<T>>::zero();
  }
  const auto step = [&](std::int64_t k, auto load) {
    Vec<T> column[columns];
#pragma GCC unroll 4
    for (int j = 0; j < columns; ++j) column[j] = load(b + j * b_stride + k);
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) {
      const Vec<T> x = load(a + i * a_stride + k);
#pragma GCC unroll 4
      for (int j = 0; j < columns; ++j) sum[i][j] = fma(x, column[j], sum[i][j]);
    }
  };
  std::int64_t k = 0;
  for (; k + values <= K; k += values) step(k, [](const auto* p) { return Vec<T>::load(p); });
  if (k < K) {
    const int left = static_cast<int>(K - k);
    step(k, [=](const auto* p) { return Vec<T>::load(p, left); });
  }
#pragma GCC unroll 4
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < columns; ++j) out[i * out_stride + j] = reduce_add(sum[i][j]);
  }
}

template <class T, class S>
NNZOO_INLINE void dot_rows(std::int64_t rows, std::int64_t K, const Element<T>* a, std::int64_t a_stride, const S* b,
                           std::int64_t b_stride, Sum<T>* out, std::int64_t out_stride) {
  constexpr int R = DotTile<T>::rows;
  std::int64_t i = 0;
  for (; i + R <= rows; i += R) {
    dot_tile<T, R>(K, a + i * a_stride, a_stride, b, b_stride, out + i * out_stride, out_stride);
  }
  for (; i < rows; ++i) dot_tile<T, 1>(K, a + i * a_stride, a_stride, b, b_stride, out + i * out_stride, out_stride);
}

template <class A, class To>
void copy_row(const Strided<A>& a, std::int64_t row, std::int64_t K, To* to) {
  using T = Compute<To>;
  if (a.depth_stride == 1) {
    for_each_vector<T>(K, [&](std::int64_t k, int count) { Vec<T>::load(a.at(row, k), count).store(to + k, count); });
  } else {
    for (std::int64_t k = 0; k < K; ++k) to[k] = from_float<To>(to_float(*a.at(row, k)));
  }
}

// C = A @ B with M at most `few_rows`; A's rows are first copied to be contiguous and of type Element<T>.
template <class T, class A, class S, class Epilogue>
void gemm_few_rows(std::int64_t M, std::int64_t N, std::int64_t K, const Strided<A>& a, const Strided<S>& b,
                   const Epilogue& epilogue, int threads) {
  constexpr int width = Vec<T>::width, columns = DotTile<T>::columns;
  Scratch scratch;
  Element<T>* const rows = scratch.take<Element<T>>(M * K + 1);
  for (std::int64_t i = 0; i < M; ++i) copy_row(a, i, K, rows + i * K);
  // A thread is worth its start from about 32 KiB of B on.
  const std::int64_t groups = (N + width - 1) / width;
  const std::int64_t grain = 1 + (std::int64_t(1) << 13) / (width * (K > 0 ? K : 1));
  parallel_for(
      groups, threads,
      [&](std::int64_t begin, std::int64_t end) {
        Scratch mine;
        Sum<T>* const sums = mine.take<Sum<T>>(M * width);
        for (std::int64_t group = begin; group < end; ++group) {
          const std::int64_t first = group * width;
          const int count = static_cast<int>(N - first < width ? N - first : width);
          int j = 0;
          for (; j + columns <= count; j += columns) {
            dot_rows<T>(M, K, rows, K, b.at(first + j, 0), b.outer_stride, sums + j, width);
          }
          for (; j < count; ++j) {
            // A stride of zero repeats the last column; the extra sums land in lanes that nobody reads.
            Sum<T> repeated[columns];
            for (std::int64_t i = 0; i < M; ++i) {
              dot_tile<T, 1>(K, rows + i * K, K, b.at(first + j, 0), 0, repeated, columns);
              sums[i * width + j] = repeated[0];
            }
          }
          for (std::int64_t i = 0; i < M; ++i) epilogue(i, first, count, Vec<Sum<T>>::load(sums + i * width));
        }
      },
      grain);
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
