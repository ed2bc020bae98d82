// Writing large results: past the caches, so that no line is read before all of it is written, and in blocks of rows,
// so that lines are whole.
#pragma once

#include <unistd.h>

#include "common/parallel.h"
#include "common/scratch.h"
#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Results of so many bytes are in no cache by the time that somebody reads them.
constexpr std::int64_t least_streamed = std::int64_t(16) << 20;

// p is aligned to the vector.
template <class T>
NNZOO_INLINE void stream(Vec<T> v, T* p) {
#if defined(__AVX512F__)
  _mm512_stream_ps(reinterpret_cast<float*>(p), bit_cast<__m512>(v));
#elif defined(__AVX2__)
  _mm256_stream_ps(reinterpret_cast<float*>(p), bit_cast<__m256>(v));
#elif defined(__SSE2__)
  _mm_stream_ps(reinterpret_cast<float*>(p), bit_cast<__m128>(v));
#else
  v.store(p);
#endif
}

// Half a vector's bytes; on other ISAs there is no such store.
NNZOO_INLINE void stream(Vec<float> v, BFloat16* p) {
#if defined(__AVX512F__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), v.narrow());
#elif defined(__AVX2__)
  _mm_stream_si128(reinterpret_cast<__m128i*>(p), v.narrow());
#else
  v.store(p);
#endif
}

// To be called behind the last `stream` of a thread, before others may read.
NNZOO_INLINE void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// Bytes of the last-level cache that the cores here can fill. A virtual machine may report the whole socket's, 335 MB
// seen by two cores: no more than 16 MB a core are believed, the most that a core of today's CPUs has to itself
// being 12.
inline std::int64_t last_level_cache() {
#if defined(_SC_LEVEL3_CACHE_SIZE)
  static const std::int64_t size = [] {
    const std::int64_t reported = sysconf(_SC_LEVEL3_CACHE_SIZE), cores = sysconf(_SC_NPROCESSORS_ONLN);
    const std::int64_t believed = cores * (std::int64_t(16) << 20);
    return cores > 0 && believed < reported ? believed : reported;
  }();
  if (size > 0) return size;
#endif
  return std::int64_t(32) << 20;
}

// Whether `results`, rows of `row` bytes, go past the caches in a call that touches `total` bytes of memory: where that
// is more than half of the last cache, which others share. Rows of whole lines only.
inline bool streams(const void* results, std::int64_t row, std::int64_t total) {
  constexpr std::uintptr_t line = 64;
  return 2 * total > last_level_cache() && row % std::int64_t(line) == 0 &&
         reinterpret_cast<std::uintptr_t>(results) % line == 0;
}

// A bool that is known where code is compiled.
template <bool flag>
struct Flag {
  static constexpr bool value = flag;
};

// The first `count` lanes to memory, `past` the caches if all are wanted.
template <bool past, class T, class S>
NNZOO_INLINE void store_result(Vec<T> v, S* p, int count) {
  if constexpr (past) {
    if (count == Vec<T>::width) return stream(v, p);
  }
  store_lanes(v, p, count);
}

// to[i] = value(i, count), a vector of which `count` lanes are used, for 0 <= i < n. Where `streamed`, values that are
// stored as they are go past the caches.
template <class T, class S, class Value>
NNZOO_INLINE void write_vectors(S* to, std::int64_t n, bool streamed, const Value& value) {
  constexpr std::int64_t width = Vec<T>::width;
  if constexpr (sizeof(S) == sizeof(T)) {
    if (streamed) {
      const std::int64_t past = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(to) / sizeof(T)) % width;
      std::int64_t i = past == 0 ? 0 : width - past < n ? width - past : n;
      if (i > 0) value(0, static_cast<int>(i)).store(to, static_cast<int>(i));
      for (; i + width <= n; i += width) stream(value(i, static_cast<int>(width)), to + i);
      if (i < n) value(i, static_cast<int>(n - i)).store(to + i, static_cast<int>(n - i));
      return;
    }
  }
  for_each_vector<T>(n, [&](std::int64_t i, int count) { store_lanes(value(i, count), to + i, count); });
}

// Writes `rows` of a matrix `to` with rows of `width`. make(line, previous) makes one after the other; `previous` is
// the line before, null at the beginning of a block. finish(i, made, count) turns elements made into those of `to`, i
// being where the first of them stands there.
template <class T, class S, class Make, class Finish>
void write_rows(S* to, std::int64_t width, Range rows, bool streamed, const Make& make, const Finish& finish) {
  constexpr std::int64_t block_size = 2048;
  Scratch scratch;
  const std::int64_t most = width < block_size ? block_size / width : 1;
  T* const block = scratch.take<T>(most * width);
  while (rows.begin < rows.end) {
    const std::int64_t left = rows.end - rows.begin, count = left < most ? left : most, at = rows.begin * width;
    for (std::int64_t i = 0; i < count; ++i) make(block + i * width, i > 0 ? block + (i - 1) * width : nullptr);
    write_vectors<T>(to + at, count * width, streamed,
                     [&](std::int64_t i, int some) { return finish(at + i, Vec<T>::load(block + i, some), some); });
    rows.begin += count;
  }
  if (streamed) stream_fence();
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
