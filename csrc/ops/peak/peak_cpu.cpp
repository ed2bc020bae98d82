#include "common/parallel.h"
#include "common/simd.h"
#include "ops/peak/peak.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// More than latency times issue rate of any of today's cores (4 cycles, 2 a cycle), few enough for 16 registers.
constexpr int kChains = 12;

template <class F>
double multiply_add(Sum<F> seed, std::int64_t iterations) {
  using T = Sum<F>;
  Vec<T> chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = Vec<T>::set(seed + T(i));
  // Each chain converges to 1: no overflow, no subnormals.
  const Vec<T> factor = Vec<T>::set(T(0.5) + seed * T(1e-3)), addend = Vec<T>::set(T(0.5));
  const auto next = [=](Vec<T> chain) {
    if constexpr (values_per_factor<F> == 1) {
      return fma(chain, factor, addend);
    } else {
      const BFloat16 value = from_float<BFloat16>(seed * T(1e-3));
      return fma(Vec<F>::set({value, value}), Vec<F>::set({value, value}), chain);
    }
  };
  for (std::int64_t round = 0; round < iterations; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) chains[i] = next(chains[i]);
  }
  for (int i = 1; i < kChains; ++i) chains[0] += chains[i];
  T lanes[Vec<T>::width];
  chains[0].store(lanes);
  return static_cast<double>(lanes[0]);
}

template <class F>
void run(const PeakFlops& args) {
  parallel_team(args.threads, [&](int thread, int) {
    args.checksum[thread] = multiply_add<F>(static_cast<Sum<F>>(args.seed), args.iterations);
    const double products = values_per_factor<F> * kChains * Vec<F>::width;
    args.flops[thread] = 2.0 * products * static_cast<double>(args.iterations);
  });
}

NNZOO_INLINE void store_past_caches(float* p, Vec<float> x) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, x.v);
#elif defined(__AVX2__)
  _mm256_stream_ps(p, x.v);
#elif defined(__SSE2__)
  _mm_stream_ps(p, x.v);
#else
  x.store(p);
#endif
}

}  // namespace

void peak_flops(const PeakFlops& args) {
  dispatch_dtype(args.dtype, [&](auto tag) { run<Factor<typename decltype(tag)::Type>>(args); });
}

void stream_triad(const StreamTriad& args) {
  constexpr int width = Vec<float>::width;
  const Vec<float> scale = Vec<float>::set(args.scale);
  parallel_for(args.n / width, args.threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * width; i < end * width; i += width) {
      store_past_caches(args.a + i, fma(Vec<float>::load(args.c + i), scale, Vec<float>::load(args.b + i)));
    }
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
