// Pairs of vectors to and from vectors of pairs: what a stride of 2 asks for.
#pragma once

#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

template <class T>
struct VecPair {
  Vec<T> first, second;
};

// {a0 a1 a2 ...}, {... an} -> {a0 a2 ...}, {a1 a3 ...}
template <class T>
NNZOO_INLINE VecPair<T> unzip(Vec<T> a, Vec<T> b);

// {a0 a1 ...}, {b0 b1 ...} -> {a0 b0 a1 b1 ...}, {... an bn}
template <class T>
NNZOO_INLINE VecPair<T> zip(Vec<T> a, Vec<T> b);

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector) && defined(__SSE2__)
#define NNZOO_SHUFFLES
#endif
#endif

#if defined(NNZOO_SHUFFLES)

#define NNZOO_SHUFFLE(...) {__builtin_shufflevector(a.v, b.v, __VA_ARGS__)}
template <class T>
NNZOO_INLINE VecPair<T> unzip(Vec<T> a, Vec<T> b) {
  if constexpr (Vec<T>::width == 16) {
    return {NNZOO_SHUFFLE(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
            NNZOO_SHUFFLE(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)};
  } else if constexpr (Vec<T>::width == 8) {
    return {NNZOO_SHUFFLE(0, 2, 4, 6, 8, 10, 12, 14), NNZOO_SHUFFLE(1, 3, 5, 7, 9, 11, 13, 15)};
  } else if constexpr (Vec<T>::width == 4) {
    return {NNZOO_SHUFFLE(0, 2, 4, 6), NNZOO_SHUFFLE(1, 3, 5, 7)};
  } else {
    return {NNZOO_SHUFFLE(0, 2), NNZOO_SHUFFLE(1, 3)};
  }
}

template <class T>
NNZOO_INLINE VecPair<T> zip(Vec<T> a, Vec<T> b) {
  if constexpr (Vec<T>::width == 16) {
    return {NNZOO_SHUFFLE(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
            NNZOO_SHUFFLE(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)};
  } else if constexpr (Vec<T>::width == 8) {
    return {NNZOO_SHUFFLE(0, 8, 1, 9, 2, 10, 3, 11), NNZOO_SHUFFLE(4, 12, 5, 13, 6, 14, 7, 15)};
  } else if constexpr (Vec<T>::width == 4) {
    return {NNZOO_SHUFFLE(0, 4, 1, 5), NNZOO_SHUFFLE(2, 6, 3, 7)};
  } else {
    return {NNZOO_SHUFFLE(0, 2), NNZOO_SHUFFLE(1, 3)};
  }
}
#undef NNZOO_SHUFFLE
#undef NNZOO_SHUFFLES

#else

template <class T>
NNZOO_INLINE VecPair<T> unzip(Vec<T> a, Vec<T> b) {
  constexpr int width = Vec<T>::width;
  T pairs[2 * width], first[width], second[width];
  a.store(pairs);
  b.store(pairs + width);
  for (int i = 0; i < width; ++i) {
    first[i] = pairs[2 * i];
    second[i] = pairs[2 * i + 1];
  }
  return {Vec<T>::load(first), Vec<T>::load(second)};
}

template <class T>
NNZOO_INLINE VecPair<T> zip(Vec<T> a, Vec<T> b) {
  constexpr int width = Vec<T>::width;
  T pairs[2 * width], first[width], second[width];
  a.store(first);
  b.store(second);
  for (int i = 0; i < width; ++i) {
    pairs[2 * i] = first[i];
    pairs[2 * i + 1] = second[i];
  }
  return {Vec<T>::load(pairs), Vec<T>::load(pairs + width)};
}

#endif

// How many of `count` pairs' values the first of two vectors holds.
NNZOO_INLINE int low_lanes(int count, int width) { return 2 * count < width ? 2 * count : width; }

// The first and the second values of `count` pairs.
template <class T, class S>
NNZOO_INLINE VecPair<T> load_pairs(const S* from, int count) {
  constexpr int width = Vec<T>::width;
  const int low = low_lanes(count, width), high = 2 * count - low;
  return unzip(Vec<T>::load(from, low), high > 0 ? Vec<T>::load(from + width, high) : Vec<T>::zero());
}

// even[i] = from[2 * i], odd[i] = from[2 * i + 1]
template <class T, class S>
NNZOO_INLINE void unzip(const S* from, std::int64_t pairs, T* even, T* odd) {
  for_each_vector<T>(pairs, [&](std::int64_t i, int count) {
    const VecPair<T> both = load_pairs<T>(from + 2 * i, count);
    both.first.store(even + i, count);
    both.second.store(odd + i, count);
  });
}

// Writes `count` pairs that were zipped.
template <class T, class S>
NNZOO_INLINE void store_pairs(const VecPair<T>& zipped, S* to, int count) {
  const int low = low_lanes(count, Vec<T>::width), high = 2 * count - low;
  zipped.first.store(to, low);
  if (high > 0) zipped.second.store(to + Vec<T>::width, high);
}

// to[2 * i] = even[i], to[2 * i + 1] = odd[i]
template <class T, class S>
NNZOO_INLINE void zip(const T* even, const T* odd, std::int64_t pairs, S* to) {
  for_each_vector<T>(pairs, [&](std::int64_t i, int count) {
    store_pairs(zip(Vec<T>::load(even + i, count), Vec<T>::load(odd + i, count)), to + 2 * i, count);
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
