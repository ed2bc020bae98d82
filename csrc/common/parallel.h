// Loops over OpenMP threads. The thread count always comes from the caller (Python passes torch's), never from OpenMP's
// own default. A loop on one thread opens no parallel region, so that kernels may be called inside a caller's loop.
#pragma once

#include <cstdint>

#include "common/dtype.h"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace nnzoo {
namespace NNZOO_ISA {

struct Range {
  std::int64_t begin, end;
};

// Part `index` of `parts` nearly equal contiguous parts of 0..n.
NNZOO_INLINE Range split_range(std::int64_t n, int index, int parts) {
  const std::int64_t size = n / parts, extra = n % parts;
  const std::int64_t begin = index * size + (index < extra ? index : extra);
  return {begin, begin + size + (index < extra ? 1 : 0)};
}

NNZOO_INLINE int clamp_threads(int threads, std::int64_t work) {
  if (work < threads) threads = static_cast<int>(work);
  return threads < 1 ? 1 : threads;
}

// Runs `body(thread, count)` once on each thread of a team. `count` is the size that the team really has.
template <class Body>
NNZOO_INLINE void parallel_team(int threads, const Body& body) {
#ifdef _OPENMP
  if (threads > 1) {
#pragma omp parallel num_threads(threads)
    body(omp_get_thread_num(), omp_get_num_threads());
    return;
  }
#endif
  body(0, 1);
}

// Waits for the whole team; every thread of a parallel_team must reach it.
NNZOO_INLINE void team_barrier(int count) {
#ifdef _OPENMP
  if (count > 1) {
#pragma omp barrier
  }
#else
  (void)count;
#endif
}

// Static: `body(begin, end)` once per thread on a contiguous part of 0..n; `grain` is the least work worth a thread.
template <class Body>
NNZOO_INLINE void parallel_for(std::int64_t n, int threads, const Body& body, std::int64_t grain = 1) {
  if (n <= 0) return;
  parallel_team(clamp_threads(threads, (n + grain - 1) / grain), [&](int thread, int count) {
    const Range range = split_range(n, thread, count);
    if (range.begin < range.end) body(range.begin, range.end);
  });
}

// Dynamic: `body(i)` for each i of 0..n, handed out one by one in increasing order; for items of uneven cost.
template <class Body>
NNZOO_INLINE void parallel_for_dynamic(std::int64_t n, int threads, const Body& body) {
  if (n <= 0) return;
  std::int64_t next = 0;
  parallel_team(clamp_threads(threads, n), [&](int, int) {
    for (;;) {
      const std::int64_t i = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED);
      if (i >= n) return;
      body(i);
    }
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
