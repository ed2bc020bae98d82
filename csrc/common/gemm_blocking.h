// Block sizes of the GEMM core, from the cache sizes of this machine.
#pragma once

#include <unistd.h>

#include "common/gemm_tile.h"

namespace nnzoo {
namespace NNZOO_ISA {

struct CacheSizes {
  std::int64_t level2, level3;
};

inline CacheSizes read_cache_sizes() {
  std::int64_t level2 = 0, level3 = 0;
#if defined(_SC_LEVEL2_CACHE_SIZE)
  level2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
  level3 = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
  // Containers and other systems may report nothing.
  return {level2 > 0 ? level2 : std::int64_t(512) << 10, level3 > 0 ? level3 : std::int64_t(8) << 20};
}

inline const CacheSizes& cache_sizes() {
  static const CacheSizes sizes = read_cache_sizes();
  return sizes;
}

NNZOO_INLINE std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
NNZOO_INLINE std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

// `total` cut into the fewest equal parts of at most `limit`, each a multiple of `step`.
NNZOO_INLINE std::int64_t equal_part(std::int64_t total, std::int64_t limit, std::int64_t step) {
  const std::int64_t parts = ceil_div(total, limit < step ? step : limit);
  return round_up(ceil_div(total, parts > 0 ? parts : 1), step);
}

// Bytes of one row of A or column of B in a panel of this depth.
template <class T>
std::int64_t factor_bytes(std::int64_t depth) {
  return factors<T>(depth) * static_cast<std::int64_t>(sizeof(T));
}

// The depth of a block of K: long enough that the sums' way to memory and back costs nothing (16 to 48 multiply-adds a
// loaded element), short enough that a panel of B and the block of A share the second-level cache. It depends on K
// alone, so that a packed operand fits every product that uses it, and sums are split alike for any thread count.
template <class T>
std::int64_t depth_block(std::int64_t depth) {
  return equal_part(depth > 0 ? depth : 1, values_per_factor<T> * 2048 / static_cast<std::int64_t>(sizeof(T)), 8);
}

// Whether `rows` of A stay in the second-level cache over the whole depth, beside a block of B's panel.
template <class T>
bool fits_whole_depth(std::int64_t rows, std::int64_t depth) {
  return round_up(rows, Tile<T>::rows) * factor_bytes<T>(depth) <= cache_sizes().level2 / 4 * 3;
}

// Rows of A that a thread packs at a time: half of the second-level cache.
template <class T>
std::int64_t row_block(std::int64_t rows, std::int64_t depth) {
  const std::int64_t limit = cache_sizes().level2 / 2 / factor_bytes<T>(depth);
  return equal_part(rows, limit / Tile<T>::rows * Tile<T>::rows, Tile<T>::rows);
}

// Columns of B that the threads pack together: a quarter of the last-level cache, 8 MiB at most.
template <class T>
std::int64_t column_block(std::int64_t columns, std::int64_t depth) {
  std::int64_t bytes = cache_sizes().level3 / 4;
  if (bytes > (std::int64_t(8) << 20)) bytes = std::int64_t(8) << 20;
  const std::int64_t limit = bytes / factor_bytes<T>(depth);
  return equal_part(columns, limit / Tile<T>::columns * Tile<T>::columns, Tile<T>::columns);
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
