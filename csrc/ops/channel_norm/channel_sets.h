// How the sets of channel_norm lie in memory, and their sums where channels are adjacent.
#pragma once

#include "common/moments.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "ops/channel_norm/channel_norm.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Planes of S values each, in the order in which a set's are added up. Plane p of a set has a channel of its own in a
// group, and is that of image p where sets are over the batch.
struct Sets {
  ChannelShape shape;
  std::int64_t count, planes, values;  // sets; planes and values of a set

  explicit Sets(const ChannelShape& s)
      : shape(s),
        count(s.over_batch ? s.C : s.N * s.G),
        planes(s.over_batch ? s.N : s.C / (s.G > 0 ? s.G : 1)),
        values(planes * s.S) {}

  NNZOO_INLINE std::int64_t channel(std::int64_t set, std::int64_t plane) const {
    return shape.over_batch ? set : set % shape.G * planes + plane;
  }
  // The number of the plane among all N * C.
  NNZOO_INLINE std::int64_t plane(std::int64_t set, std::int64_t plane) const {
    return shape.over_batch ? plane * shape.C + set : set * planes + plane;
  }
  NNZOO_INLINE std::int64_t set_of(std::int64_t image, std::int64_t channel) const {
    return shape.over_batch ? channel : image * shape.G + channel / planes;
  }

  // From a plane of a set to the same one of the set visited next: fetched while results are written from cache, so
  // that memory has something to do.
  std::int64_t to_next() const { return shape.over_batch ? shape.S : values; }

  // Values that lie side by side: a plane, or a chunk of a group, whose planes do so too.
  struct Piece {
    std::int64_t begin, size;
  };
  std::int64_t pieces() const { return shape.over_batch ? planes : (values + moments_chunk - 1) / moments_chunk; }
  NNZOO_INLINE Piece piece(std::int64_t set, std::int64_t p) const {
    if (shape.over_batch) return {plane(set, p) * shape.S, shape.S};
    const std::int64_t first = p * moments_chunk, left = values - first;
    return {set * values + first, left < moments_chunk ? left : moments_chunk};
  }

  // Runs `sum(set, p)` for p in 0..parts of each set, `finish(set)` when a set's are done and then `write(set, plane)`
  // for all planes. Enough sets go to the threads whole, so that `write` finds its planes in cache.
  template <class Sum, class Finish, class Write>
  void visit(int threads, std::int64_t parts, const Sum& sum, const Finish& finish, const Write& write) const {
    if (count >= 4 * threads && !shape.two_sweeps) {
      return parallel_for(
          count, threads,
          [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t set = begin; set < end; ++set) {
              for (std::int64_t p = 0; p < parts; ++p) sum(set, p);
              finish(set);
              for (std::int64_t p = 0; p < planes; ++p) write(set, p);
            }
          },
          grain(values));
    }
    const auto each = [&](std::int64_t n, const auto& body) {
      parallel_for(
          count * n, threads,
          [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end; ++i) body(i / n, i % n);
          },
          grain(values / (n > 0 ? n : 1)));
    };
    each(parts, sum);
    for (std::int64_t set = 0; set < count; ++set) finish(set);
    each(planes, write);
  }

  // Items of so many values below which a second thread isn't worth waking.
  static std::int64_t grain(std::int64_t size) { return 1 + (1 << 14) / (size > 0 ? size : 1); }
};

// Channels-last: rows of C adjacent channels. Those of an image, or of the whole batch, are summed in parts whose
// number depends on the rows alone, in blocks of rows that stay in cache.
struct RowParts {
  static constexpr std::int64_t most = 32;
  // Rows that are added up in the type of computation, one after the other, while the next ones are fetched.
  static constexpr std::int64_t run = 32;
  std::int64_t images, rows, block, parts;

  explicit RowParts(const ChannelShape& s)
      : images(s.over_batch ? 1 : s.N),
        rows(s.over_batch ? s.N * s.S : s.S),
        block(s.C > 0 && 8192 / s.C > 8 ? 8192 / s.C : 8) {
    const std::int64_t blocks = (rows + block - 1) / block;
    parts = blocks < most ? blocks : most;
    if (parts < 1) parts = 1;
  }

  // `body(image, part, begin, end)`: rows begin..end of the part, counted from the first image's first row.
  template <class Body>
  void each(int threads, std::int64_t columns, const Body& body) const {
    parallel_for(
        images * parts, threads,
        [&](std::int64_t first, std::int64_t last) {
          for (std::int64_t i = first; i < last; ++i) {
            const Range range = split_range(rows, static_cast<int>(i % parts), static_cast<int>(parts));
            const std::int64_t start = i / parts * rows;
            body(i / parts, i % parts, start + range.begin, start + range.end);
          }
        },
        1 + (1 << 14) / (1 + rows / parts * columns));
  }
};

// out[k * columns + j] = sum over the rows begin..end of term(row, j, count)[k], vectors of the columns j to j + count
// - 1.
template <class T, int outputs, class Term>
NNZOO_INLINE void column_block(std::int64_t begin, std::int64_t end, std::int64_t columns, T* out, const Term& term) {
  constexpr int width = Vec<T>::width, strip = 4;
  std::int64_t j = 0;
  for (; j + strip * width <= columns; j += strip * width) {
    Vec<T> sum[strip][outputs];
    for (int v = 0; v < strip; ++v) {
      for (int k = 0; k < outputs; ++k) sum[v][k] = Vec<T>::zero();
    }
    for (std::int64_t row = begin; row < end; ++row) {
#pragma GCC unroll 4
      for (int v = 0; v < strip; ++v) term(row, j + v * width, width, sum[v]);
    }
    for (int v = 0; v < strip; ++v) {
      for (int k = 0; k < outputs; ++k) sum[v][k].store(out + k * columns + j + v * width);
    }
  }
  for (; j < columns; j += width) {
    const int count = static_cast<int>(columns - j < width ? columns - j : width);
    Vec<T> sum[outputs];
    for (int k = 0; k < outputs; ++k) sum[k] = Vec<T>::zero();
    for (std::int64_t row = begin; row < end; ++row) term(row, j, count, sum);
    for (int k = 0; k < outputs; ++k) store_lanes(sum[k], out + k * columns + j, count);
  }
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
