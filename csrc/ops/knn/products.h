// The points of knn, packed for products.
#pragma once

#include "common/gemm.h"
#include "ops/knn/prepared.h"

namespace nnzoo {
namespace NNZOO_ISA {

// What finds candidates cheaply: pairs of bfloat16 where this ISA multiplies those, at twice the speed of float. Their
// rounding is 2^-7 of the squared lengths, which in many dimensions lets few more points through.
template <class T>
struct CoarseOf {
  using Type = T;
};
#if defined(__AVX512BF16__)
template <>
struct CoarseOf<float> {
  using Type = BFloat16Pair;
};
#endif
template <class T>
using Coarse = typename CoarseOf<T>::Type;
template <class T>
constexpr bool has_coarse = values_per_factor<Coarse<T>> == 2;

constexpr std::int64_t kLeastCoarseDim = 16;

template <class F>
struct Products {
  using T = Sum<F>;
  const Element<F>*x, *y;  // [num_x, dim] and [num_y, dim], moved
  F** packed;              // of each group's x
  T* low;                  // [num_x] makes a product a lower bound of a distance, but for the query's part of both
  Rounding<T> rounding;
};

// Points as factors are made from.
template <class E, class S>
const E* elements(const Points<S>& points, std::int64_t dim, int threads, Scratch& scratch) {
  using T = Compute<S>;
  if constexpr (sizeof(E) == sizeof(T)) {
    return points.moved;
  } else {
    E* const out = scratch.take<E>(points.count * dim);
    parallel_for(
        points.count * dim, threads,
        [&](std::int64_t begin, std::int64_t end) {
          for_each_vector<T>(end - begin, [&](std::int64_t i, int lanes) {
            store_lanes(load_lanes<T>(points.moved + begin + i, lanes), out + begin + i, lanes);
          });
        },
        1 << 14);
    return out;
  }
}

template <class F, class S>
Products<F> pack_points(const Knn& args, const Points<S>& x, const Points<S>& y, Scratch& scratch) {
  using T = Sum<F>;
  using E = Element<F>;
  const Rounding<T> rounding = Rounding<T>::of_sums(args.dim, sizeof(E) == 2 ? T(0x1.02p-7) : T(0));
  const Products<F> products{elements<E>(x, args.dim, args.threads, scratch),
                             elements<E>(y, args.dim, args.threads, scratch), scratch.take<F*>(args.num_groups),
                             scratch.take<T>(args.num_x), rounding};
  const auto size = [&](std::int64_t g) { return args.start_x[g + 1] - args.start_x[g]; };
  for (std::int64_t g = 0; g < args.num_groups; ++g) {
    products.packed[g] = scratch.take<F>(packed_size<F>(args.dim, size(g)));
  }
  const auto pack = [&](std::int64_t g, int threads) {
    const Strided<E> points{products.x + args.start_x[g] * args.dim, args.dim, 1};
    pack_b<F>(points, args.dim, size(g), products.packed[g], threads);
  };
  if (args.num_groups < args.threads) {
    for (std::int64_t g = 0; g < args.num_groups; ++g) pack(g, args.threads);
  } else {
    parallel_for_dynamic(args.num_groups, args.threads, [&](std::int64_t g) { pack(g, 1); });
  }
  for (std::int64_t i = 0; i < args.num_x; ++i) {
    products.low[i] = (args.cosine ? 0 : x.square[i]) - rounding.error(x.square[i]);
  }
  return products;
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
