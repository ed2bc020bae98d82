#include "common/parallel.h"
#include "common/simd.h"
#include "ops/peak/peak.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// More than latency times issue rate of any of today's cores (4 cycles, 2 a cycle), few enough for 16 registers.
constexpr int kChains = 12;

template <class T>
double multiply_add(T seed, std::int64_t iterations) {
  Vec<T> chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = Vec<T>::set(seed + T(i));
  // Each chain converges to 1: no overflow, no subnormals.
  const Vec<T> factor = Vec<T>::set(T(0.5) + seed * T(1e-3)), addend = Vec<T>::set(T(0.5));
  for (std::int64_t round = 0; round < iterations; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) chains[i] = fma(chains[i], factor, addend);
  }
  for (int i = 1; i < kChains; ++i) chains[0] += chains[i];
  T lanes[Vec<T>::width];
  chains[0].store(lanes);
  return static_cast<double>(lanes[0]);
}

template <class T>
void run(const PeakFlops& args) {
  parallel_team(args.threads, [&](int thread, int) {
    args.checksum[thread] = multiply_add<T>(static_cast<T>(args.seed), args.iterations);
    args.flops[thread] = 2.0 * kChains * Vec<T>::width * static_cast<double>(args.iterations);
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

void peak_flops(const PeakFlops& args) { args.dtype == DType::float64 ? run<double>(args) : run<float>(args); }

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
