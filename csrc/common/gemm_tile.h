// The register tile of the GEMM core: its shape per ISA, the loop over K, and what happens to a finished tile.
#pragma once

#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

// A tile of C is `rows` x `columns`; its sums stay in registers while K runs. The shapes leave registers for one vector
// row of B and a broadcast element of A: 24 + 3 of 32 (AVX-512), 12 + 3 of 16 (AVX2), 8 + 3 of 16 (SSE2, whose product
// needs one more).
template <class T>
struct Tile {
#if defined(__AVX512F__)
  static constexpr int rows = 8, vectors = 3;
#elif defined(__AVX2__)
  static constexpr int rows = 6, vectors = 2;
#else
  static constexpr int rows = 4, vectors = 2;
#endif
  static constexpr int columns = vectors * Vec<T>::width;
};

// Where sums of type T may be kept between two blocks of K: element (row, column) lies at data[row * stride + column].
template <class T>
struct Partial {
  T* data;
  std::int64_t stride;
};

// One tile's place in C; `rows` and `columns` count the elements that exist.
struct TilePlace {
  std::int64_t row, column;
  int rows, columns;
};

// Which block of K this is: the first one starts from zero, the last one hands its sums to the epilogue.
struct DepthStep {
  bool first, last;
};

// The rows of B that a tile walks along, a `stride` apart: a micro-panel, or a matrix in place.
template <class S>
struct EvenRows {
  using Value = S;
  const S* row;
  std::int64_t stride;

  NNZOO_INLINE const S* next() {
    const S* const now = row;
    row += stride;
    return now;
  }
};

template <class S>
EvenRows(const S*, std::int64_t) -> EvenRows<S>;

// Rows of B in place, each at an offset of its own.
template <class S>
struct ShiftedRows {
  using Value = S;
  const S* base;
  const std::int64_t* offset;

  NNZOO_INLINE const S* next() { return base + *offset++; }
};

// sum[i][j] += a[k][i] * b[k][j] over k. `a` is a micro-panel [factors(depth)][Tile::rows]; a row of `b` holds factors,
// or single values, of which two rows make one of pairs.
template <class T, int rows, int vectors, class Rows>
NNZOO_INLINE void multiply_tile(std::int64_t depth, const T* a, Rows b, Vec<Sum<T>> (&sum)[rows][vectors]) {
  constexpr int width = Vec<T>::width;
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) sum[i][j] = Vec<Sum<T>>::zero();
  }
  const auto step = [&](const auto& load) __attribute__((always_inline)) {
    Vec<T> row[vectors];
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) row[j] = load(j * width);
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i) {
      const Vec<T> x = Vec<T>::set(a[i]);
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) sum[i][j] = fma(x, row[j], sum[i][j]);
    }
    a += Tile<T>::rows;
  };
  if constexpr (sizeof(typename Rows::Value) < sizeof(T) && values_per_factor<T> == 2) {
    for (std::int64_t k = 0; k + 2 <= depth; k += 2) {
      const auto *even = b.next(), *odd = b.next();
      step([=](int j) { return Vec<T>::interleave(even + j, odd + j); });
    }
    if (depth % 2) {
      const auto* even = b.next();
      step([=](int j) { return Vec<T>::interleave(even + j); });
    }
  } else {
    for (std::int64_t k = factors<T>(depth); k > 0; --k) {
      const auto* row = b.next();
      step([=](int j) { return Vec<T>::load(row + j); });
    }
  }
}

// Calls body(i, j, count) for every vector of a tile that holds an element of C.
template <class T, int rows, int vectors, class Body>
NNZOO_INLINE void for_each_tile_vector(const TilePlace& place, const Body& body) {
  constexpr int width = Vec<T>::width;
  if (place.rows == rows && place.columns == vectors * width) {
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) body(i, j, width);
    }
    return;
  }
#pragma GCC unroll 8
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) {
      const int left = place.columns - j * width;
      if (i < place.rows && left > 0) body(i, j, left < width ? left : width);
    }
  }
}

// Whether an epilogue takes a whole tile at a time: it says so with a member `takes_tiles`.
template <class Epilogue>
constexpr auto takes_tiles(int) -> decltype(Epilogue::takes_tiles) {
  return Epilogue::takes_tiles;
}
template <class Epilogue>
constexpr bool takes_tiles(...) {
  return false;
}

// Computes one tile over one block of K and passes it on: to `partial`, or to the epilogue in the last block.
template <class T, int rows, int vectors, class Rows, class Epilogue>
__attribute__((noinline)) void run_tile(std::int64_t depth, const T* a, const Rows& b, const TilePlace& place,
                                        DepthStep step, const Partial<Sum<T>>& partial, const Epilogue& epilogue) {
  constexpr int width = Vec<T>::width;
  Sum<T>* const kept = partial.data + place.row * partial.stride + place.column;
  if (!step.first) {
    for (int i = 0; i < place.rows; ++i) {
      for (int j = 0; j < vectors; ++j) prefetch(kept + i * partial.stride + j * width);
    }
  }
  Vec<Sum<T>> sum[rows][vectors];
  multiply_tile<T, rows, vectors>(depth, a, b, sum);
  if (!step.first) {
    for_each_tile_vector<T, rows, vectors>(place, [&](int i, int j, int count) {
      sum[i][j] += Vec<Sum<T>>::load(kept + i * partial.stride + j * width, count);
    });
  }
  if (!step.last) {
    for_each_tile_vector<T, rows, vectors>(
        place, [&](int i, int j, int count) { sum[i][j].store(kept + i * partial.stride + j * width, count); });
  } else if constexpr (Epilogue::from_registers) {
    for_each_tile_vector<T, rows, vectors>(
        place, [&](int i, int j, int count) { epilogue(place.row + i, place.column + j * width, count, sum[i][j]); });
  } else {
    // A long epilogue is compiled once, in a loop over the tile in L1, instead of once for each of its registers.
    alignas(64) Sum<T> tile[rows][vectors * width];
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) sum[i][j].store(&tile[i][j * width]);
    }
    if constexpr (takes_tiles<Epilogue>(0)) {
      epilogue.tile(place, &tile[0][0], vectors * width);
    } else {
      for (int i = 0; i < place.rows; ++i) {
        for (int j = 0; j * width < place.columns; ++j) {
          const int left = place.columns - j * width;
          epilogue(place.row + i, place.column + j * width, left < width ? left : width,
                   Vec<Sum<T>>::load(&tile[i][j * width]));
        }
      }
    }
  }
}

// The tiles of one column panel of B: rows 0..rows of C from place.row on, with A's micro-panels one behind another,
// factors(depth) * Tile::rows elements each. `place.columns` is at most Tile::columns. The last rows and the last panel
// get smaller tiles, so that padding costs little.
template <class T, class Rows, class Epilogue>
NNZOO_INLINE void run_panel(std::int64_t rows, std::int64_t depth, const T* a_panels, const Rows& b, TilePlace place,
                            DepthStep step, const Partial<Sum<T>>& partial, const Epilogue& epilogue) {
  constexpr int R = Tile<T>::rows, V = Tile<T>::vectors;
  const int vectors = (place.columns + Vec<T>::width - 1) / Vec<T>::width;
  const T* a = a_panels;
  for (std::int64_t done = 0; done < rows; done += R, place.row += R, a += factors<T>(depth) * R) {
    const std::int64_t left = rows - done;
    place.rows = left < R ? static_cast<int>(left) : R;
    if (vectors == 1) {
      run_tile<T, R, 1>(depth, a, b, place, step, partial, epilogue);
    } else if (vectors < V) {
      run_tile<T, R, V - 1>(depth, a, b, place, step, partial, epilogue);
    } else if (place.rows == 1) {
      run_tile<T, 1, V>(depth, a, b, place, step, partial, epilogue);
    } else if (place.rows <= R / 2) {
      run_tile<T, R / 2, V>(depth, a, b, place, step, partial, epilogue);
    } else {
      run_tile<T, R, V>(depth, a, b, place, step, partial, epilogue);
    }
  }
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
