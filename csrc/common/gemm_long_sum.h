// Products of few elements that are long sums, as the gradient of a narrow weight over many rows: C[M, N] alone gives
// threads too little to share, so they share the sum.
#pragma once

#include "common/gemm.h"

namespace nnzoo {
namespace NNZOO_ISA {

// How many parts a sum of K products is cut into. It depends on the shape alone, so that results are the same for any
// number of threads. 1: leave it to gemm.
NNZOO_INLINE std::int64_t long_sum_parts(std::int64_t M, std::int64_t N, std::int64_t K) {
  constexpr std::int64_t kMostElements = 1 << 15, kLeastDepth = 4096, kMostParts = 16;
  if (M * N > kMostElements || K < 2 * kLeastDepth) return 1;
  const std::int64_t parts = K / kLeastDepth;
  return parts < kMostParts ? parts : kMostParts;
}

// c [M, N], dense, = A @ B, for operands as gemm takes them.
template <class T, class S, class G, class X>
void gemm_long_sum(std::int64_t M, std::int64_t N, std::int64_t K, const Strided<G>& a, const Strided<X>& b, S* c,
                   int threads) {
  const std::int64_t parts = long_sum_parts(M, N, K);
  if (parts == 1) return gemm<T>(M, N, K, a, b, Store<Sum<T>, S>{c, N}, threads);
  // Even parts, so that pairs of factors stay pairs.
  const std::int64_t depth = round_up(ceil_div(K, parts), 2), size = round_up(M * N, 64 / std::int64_t(sizeof(Sum<T>)));
  Scratch scratch;
  Sum<T>* const sums = scratch.take<Sum<T>>(parts * size);
  parallel_for_dynamic(parts, threads, [&](std::int64_t part) {
    const std::int64_t k = part * depth, here = K - k < depth ? K - k : depth;
    gemm<T>(M, N, here, Strided<G>{a.at(0, k), a.outer_stride, a.depth_stride},
            Strided<X>{b.at(0, k), b.outer_stride, b.depth_stride}, Store<Sum<T>>{sums + part * size, N}, 1);
  });
  for_each_vector<Sum<T>>(M * N, [&](std::int64_t i, int count) {
    Vec<Sum<T>> sum = Vec<Sum<T>>::zero();
    for (std::int64_t part = 0; part < parts; ++part) sum += Vec<Sum<T>>::load(sums + part * size + i, count);
    sum.store(c + i, count);
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
