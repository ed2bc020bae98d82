// A register tile of features, and the messages that edges bring to it.
#pragma once

#include "common/simd.h"
#include "ops/gather_scatter/gather_scatter.h"

namespace nnzoo {
namespace NNZOO_ISA {

// `vectors` vectors of adjacent features; a partial tile is one vector whose first lanes count.
template <int vectors_, bool partial_>
struct TileShape {
  static constexpr int vectors = vectors_;
  static constexpr bool partial = partial_;
};

constexpr int kMostVectors = 8;

// Where a tile lies in a row: its first feature, the head that this belongs to, and the lanes of a partial tile.
struct FeaturePlace {
  std::int64_t feature, head;
  int lanes;
};

template <class T, class Shape>
struct FeatureTile {
  Vec<T> v[Shape::vectors];
};

template <class Shape, class T, class S>
NNZOO_INLINE Vec<T> load_vector(const S* p, const FeaturePlace& place) {
  if constexpr (Shape::partial) {
    return Vec<T>::load(p, place.lanes);
  } else {
    return Vec<T>::load(p);
  }
}

template <class Shape, class T, class S>
NNZOO_INLINE void store_vector(Vec<T> value, S* p, const FeaturePlace& place) {
  if constexpr (Shape::partial) {
    value.store(p, place.lanes);
  } else {
    value.store(p);
  }
}

template <class Shape, class T>
NNZOO_INLINE FeatureTile<T, Shape> filled(T value) {
  FeatureTile<T, Shape> tile;
#pragma GCC unroll 8
  for (int i = 0; i < Shape::vectors; ++i) tile.v[i] = Vec<T>::set(value);
  return tile;
}

template <class Shape, class T, class S>
NNZOO_INLINE FeatureTile<T, Shape> load_tile(const S* row, const FeaturePlace& place) {
  FeatureTile<T, Shape> tile;
#pragma GCC unroll 8
  for (int i = 0; i < Shape::vectors; ++i) {
    tile.v[i] = load_vector<Shape, T>(row + place.feature + i * Vec<T>::width, place);
  }
  return tile;
}

template <class Shape, class T, class S>
NNZOO_INLINE void store_tile(const FeatureTile<T, Shape>& tile, S* row, const FeaturePlace& place) {
#pragma GCC unroll 8
  for (int i = 0; i < Shape::vectors; ++i) {
    store_vector<Shape>(tile.v[i], row + place.feature + i * Vec<T>::width, place);
  }
}

// What is needed much later is fetched into L2, where more lines can be awaited than in L1; what is needed soon, from
// there into L1.
struct Far {
  static constexpr std::int64_t edges = 48;
  static NNZOO_INLINE void fetch(const void* address) { __builtin_prefetch(address, 0, 2); }
};
struct Near {
  static constexpr std::int64_t edges = 8;
  static NNZOO_INLINE void fetch(const void* address) { __builtin_prefetch(address, 0, 3); }
};

template <class Level, class Shape, class T, class S>
NNZOO_INLINE void prefetch_tile(const S* row, const FeaturePlace& place) {
  constexpr int line = 64 / sizeof(S);
#pragma GCC unroll 16
  for (int i = 0; i < Shape::vectors * Vec<T>::width; i += line) Level::fetch(row + place.feature + i);
}

// Calls `body(shape, place)` for the tiles that cut `features` features, made of heads of `span`; no tile crosses a
// head. `most` bounds the shapes that `body` is compiled for.
template <class T, int most = kMostVectors, class Body>
NNZOO_INLINE void for_each_tile(std::int64_t features, std::int64_t span, int most_vectors, const Body& body) {
  constexpr int width = Vec<T>::width;
  for (std::int64_t first = 0, head = 0; first < features; first += span, ++head) {
    std::int64_t done = 0;
    const auto run = [&](auto shape, int lanes) {
      body(shape, FeaturePlace{first + done, head, lanes});
      done += lanes;
    };
    if constexpr (most >= 8) {
      while (most_vectors >= 8 && span - done >= 8 * width) run(TileShape<8, false>(), 8 * width);
      while (most_vectors >= 4 && span - done >= 4 * width) run(TileShape<4, false>(), 4 * width);
      while (most_vectors >= 2 && span - done >= 2 * width) run(TileShape<2, false>(), 2 * width);
    }
    while (span - done >= width) run(TileShape<1, false>(), width);
    if (span > done) run(TileShape<1, true>(), static_cast<int>(span - done));
  }
}

// Whether for_each_tile makes one tile of `span` features.
template <class T>
NNZOO_INLINE bool is_one_tile(std::int64_t span, int most_vectors) {
  constexpr int width = Vec<T>::width;
  for (int vectors = 1; vectors <= most_vectors; vectors *= 2) {
    if (span == vectors * width) return true;
  }
  return span < width;
}

// The product, rounded. Compilers contract a product and a difference that follows into an FMA, and what should cancel
// against a message that was rounded leaves the rounding error.
template <class T>
NNZOO_INLINE Vec<T> rounded_product(Vec<T> a, Vec<T> b) {
  Vec<T> product = a * b;
#if defined(__SSE2__)
  asm("" : "+x"(product.v));
#else
  asm("" : "+m"(product));
#endif
  return product;
}

enum class WeightKind { none, per_head, per_feature };

template <WeightKind kind_>
struct WeightTag {
  static constexpr WeightKind kind = kind_;
};

// Weights [num_edges, heads] in the caller's order.
template <class S, WeightKind kind>
struct Weights {
  using T = Compute<S>;
  static constexpr bool present = kind != WeightKind::none;
  const S* data;
  std::int64_t heads;

  // The factors of vector `i` of a tile.
  template <class Shape>
  NNZOO_INLINE Vec<T> at(std::int32_t edge, const FeaturePlace& place, int i) const {
    const S* const row = data + edge * heads;
    if constexpr (kind == WeightKind::per_feature) {
      return load_vector<Shape, T>(row + place.feature + i * Vec<T>::width, place);
    } else {
      return Vec<T>::set(T(to_float(row[place.head])));
    }
  }

  template <class Level>
  NNZOO_INLINE void prefetch(std::int32_t edge, const FeaturePlace& place) const {
    if constexpr (present) {
      Level::fetch(data + edge * heads + (kind == WeightKind::per_feature ? place.feature : place.head));
    } else {
      (void)edge, (void)place;
    }
  }

  // The message of one vector, as it would be stored: max and min compare these.
  template <class Shape>
  NNZOO_INLINE Vec<T> message(Vec<T> x, std::int32_t edge, const FeaturePlace& place, int i) const {
    if constexpr (!present) {
      return x;
    } else {
      const Vec<T> product = rounded_product(x, at<Shape>(edge, place, i));
      if constexpr (sizeof(S) == sizeof(T)) {
        return product;
      } else {
        S stored[Vec<T>::width];
        product.store(stored);
        return Vec<T>::load(stored);
      }
    }
  }
};

// The mean of the messages that `walk(visit)` shows to `visit(i, message)`, taken of their distances to the first:
// equal messages have exactly themselves for their mean.
template <class T, class Shape, class Walk>
NNZOO_INLINE FeatureTile<T, Shape> shifted_mean(T size, const Walk& walk) {
  FeatureTile<T, Shape> first = filled<Shape>(T(0)), mean = first;
  int seen = 0;
  walk([&](int i, Vec<T> message) {
    if (seen < Shape::vectors) first.v[i] = message, ++seen;
    mean.v[i] += message - first.v[i];
  });
  for (int i = 0; i < Shape::vectors; ++i) mean.v[i] = first.v[i] + mean.v[i] / Vec<T>::set(size);
  return mean;
}

// Calls `function(WeightTag)` and tells it the features of a head: all of them where heads don't matter to the loop.
template <class Function>
NNZOO_INLINE void dispatch_weights(const void* weight, std::int64_t features, std::int64_t heads, const Function& run) {
  if (!weight) return run(WeightTag<WeightKind::none>(), features);
  if (heads == features && heads > 1) return run(WeightTag<WeightKind::per_feature>(), features);
  run(WeightTag<WeightKind::per_head>(), features / heads);
}

// g++ takes a function that only prefetches for one without effect, and drops calls that it didn't inline at once.
#define NNZOO_PREFETCHING __attribute__((always_inline))

}  // namespace NNZOO_ISA
}  // namespace nnzoo
