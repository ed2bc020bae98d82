// Sums over a dimension, in a fixed order whatever the number of threads.
#pragma once

#include "common/parallel.h"
#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

// out[j] = sum over i of x[i * stride + j], i < rows, j < columns. Blocks of 256 rows are summed first, which bounds
// the rounding error of long columns.
template <class T, class G, class S>
void column_sums(std::int64_t rows, std::int64_t columns, const G* x, std::int64_t stride, S* out, int threads) {
  constexpr int width = Vec<T>::width, vectors = 4;
  constexpr std::int64_t block = 256;
  const std::int64_t strip = width * vectors;
  parallel_for((columns + strip - 1) / strip, threads,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t j = begin * strip; j < end * strip && j < columns; j += strip) {
                   const std::int64_t left = columns - j;
                   Vec<T> total[vectors];
                   for (int v = 0; v < vectors; ++v) total[v] = Vec<T>::zero();
                   for (std::int64_t i0 = 0; i0 < rows; i0 += block) {
                     const std::int64_t i1 = i0 + block < rows ? i0 + block : rows;
                     Vec<T> sum[vectors];
                     for (int v = 0; v < vectors; ++v) sum[v] = Vec<T>::zero();
                     if (left >= strip) {
                       for (std::int64_t i = i0; i < i1; ++i) {
                         const G* row = x + i * stride + j;
#pragma GCC unroll 4
                         for (int v = 0; v < vectors; ++v) sum[v] += Vec<T>::load(row + v * width);
                       }
                     } else {
                       for (std::int64_t i = i0; i < i1; ++i) {
                         const G* row = x + i * stride + j;
                         for (int v = 0; v * width < left; ++v) {
                           const std::int64_t lanes = left - v * width;
                           sum[v] += Vec<T>::load(row + v * width, static_cast<int>(lanes < width ? lanes : width));
                         }
                       }
                     }
                     for (int v = 0; v < vectors; ++v) total[v] += sum[v];
                   }
                   for (int v = 0; v * width < left && v < vectors; ++v) {
                     const std::int64_t lanes = left - v * width;
                     total[v].store(out + j + v * width, static_cast<int>(lanes < width ? lanes : width));
                   }
                 }
               },
               1 + (std::int64_t(1) << 15) / (strip * (rows > 0 ? rows : 1)));
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
