// The roofs of this machine, for benchmarks: how fast it multiplies and adds in registers, how fast memory streams.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

// `iterations` rounds of independent multiply-adds on every thread, all operands in registers.
struct PeakFlops {
  double seed;              // a value that the compiler can't know
  std::int64_t iterations;  // rounds per thread
  DType dtype;              // float32, float64 or bfloat16 (float32 where this ISA has no products of it)
  int threads;
  double* flops;     // [threads] result: operations done by each thread, a multiply-add counting as two
  double* checksum;  // [threads] result: depends on every operation, so that none can be left out
};

// STREAM triad a = b + scale * c with stores that bypass the caches: 12 bytes move per element.
struct StreamTriad {
  float* a;        // [n]
  const float* b;  // [n]
  const float* c;  // [n]
  float scale;
  std::int64_t n;
  int threads;
};

NNZOO_KERNEL(peak_flops, PeakFlops)
NNZOO_KERNEL(stream_triad, StreamTriad)

}  // namespace nnzoo
