// Atomics.
#include "common/launch.cuh"
#include "guarded.h"

using nnzoo::launch;

namespace {

template <class T>
__global__ void add_all(const T* in, T* total) {
  atomicAdd(total, in[blockIdx.x * blockDim.x + threadIdx.x]);
}

// All threads of a warp read before any writes: what an unprotected read-modify-write may do at any time.
__global__ void add_without_atomic(const float* in, float* total) {
  const float old = *total;
  __syncwarp();
  *total = old + in[threadIdx.x];
}

// out: max, min, and, or, xor, last exchanged plus all returned, compare-and-swap maximum, wrapped increment
__global__ void other_atomics(const int* in, int* out) {
  const int value = in[blockIdx.x * blockDim.x + threadIdx.x];
  atomicMax(&out[0], value);
  atomicMin(&out[1], value);
  atomicAnd(&out[2], value);
  atomicOr(&out[3], value);
  atomicXor(&out[4], value);
  atomicAdd(&out[5], atomicExch(&out[6], value));
  int seen = out[7];
  while (seen < value) {
    const int old = atomicCAS(&out[7], seen, value);
    if (old == seen) break;
    seen = old;
  }
  atomicInc(reinterpret_cast<unsigned*>(&out[8]), 9);
}

}  // namespace

EXPORT(run_add_int)(const int* in, int* total) {
  return guarded([&] { launch<add_all<int>>(32, 64, 0, nullptr, in, total); });
}
EXPORT(run_add_long)(const unsigned long long* in, unsigned long long* total) {
  return guarded([&] { launch<add_all<unsigned long long>>(32, 64, 0, nullptr, in, total); });
}
EXPORT(run_add_float)(const float* in, float* total) {
  return guarded([&] { launch<add_all<float>>(32, 64, 0, nullptr, in, total); });
}
EXPORT(run_add_double)(const double* in, double* total) {
  return guarded([&] { launch<add_all<double>>(32, 64, 0, nullptr, in, total); });
}
EXPORT(run_add_half)(const __half* in, __half* total) {
  return guarded([&] { launch<add_all<__half>>(32, 64, 0, nullptr, in, total); });
}
EXPORT(run_add_bfloat16)(const __nv_bfloat16* in, __nv_bfloat16* total) {
  return guarded([&] { launch<add_all<__nv_bfloat16>>(1, 64, 0, nullptr, in, total); });
}
EXPORT(run_add_without_atomic)(const float* in, float* total) {
  return guarded([&] { launch<add_without_atomic>(1, 32, 0, nullptr, in, total); });
}
EXPORT(run_other_atomics)(const int* in, int* out) {
  return guarded([&] { launch<other_atomics>(8, 64, 0, nullptr, in, out); });
}
