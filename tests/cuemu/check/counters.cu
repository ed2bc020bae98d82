// One access pattern each, whose sectors and bank conflicts are known on paper. `in` and `out` hold 1024 numbers.
#include <mma.h>

#include "common/launch.cuh"
#include "guarded.h"

using nnzoo::launch;
using namespace nvcuda;

namespace {

__global__ void load_global(const float* in, float* out, int stride, int offset) {
  const float value = in[threadIdx.x * stride + offset];
  if (value < 0) out[0] = value;
}

template <class T>
__global__ void load_global_as(const T* in, T* out) {
  out[threadIdx.x] = in[threadIdx.x];
}

__global__ void load_shared(float* out, int stride) {
  __shared__ float values[1024];
  for (int i = threadIdx.x; i < 1024; i += 32) values[i] = i;
  __syncwarp();
  const float value = values[threadIdx.x * stride];
  if (value < 0) out[0] = value;
}

template <class T>
__global__ void load_shared_as(float* out, int stride) {
  __shared__ __align__(16) float values[1024];
  for (int i = threadIdx.x; i < 1024; i += 32) values[i] = i;
  __syncwarp();
  const T value = reinterpret_cast<const T*>(values)[threadIdx.x * stride];
  if (*reinterpret_cast<const char*>(&value) == 77) out[0] = 1;
}

// pitch 0: rows of 32 whose columns are swapped by exclusive or.
template <int pitch>
__global__ void transpose(const float* in, float* out) {
  __shared__ float tile[32][pitch ? pitch : 32];
  const int x = threadIdx.x;
  const int y = threadIdx.y;
  tile[y][pitch ? x : x ^ y] = in[y * 32 + x];
  __syncthreads();
  out[y * 32 + x] = tile[x][pitch ? y : x ^ y];
}

__global__ void transpose_without_tile(const float* in, float* out) {
  out[threadIdx.x * 32 + threadIdx.y] = in[threadIdx.y * 32 + threadIdx.x];
}

__global__ void matmul(const float* a, const float* b, float* c, int n) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  const int row = blockIdx.y * blockDim.y + threadIdx.y;
  float sum = 0;
  for (int k = 0; k < n; ++k) sum += a[row * n + k] * b[k * n + column];
  c[row * n + column] = sum;
}

__global__ void every_second_lane(const float* in, float* out) {
  if (threadIdx.x % 2) out[threadIdx.x] = in[threadIdx.x];
}

__global__ void add_atomically(float* out) {
  if (threadIdx.x == 0) out[0] = 0;
  __syncthreads();
  atomicAdd(out, 1.0f);
}

// Half a KB on its way through shared memory, in rows of `pitch`.
template <int pitch>
__global__ void move_fragment(const float* in, float* out) {
  __shared__ __align__(32) __half tile[16 * pitch];
  wmma::fragment<wmma::accumulator, 16, 16, 16, __half> part;
  wmma::load_matrix_sync(part, reinterpret_cast<const __half*>(in), 16, wmma::mem_row_major);
  wmma::store_matrix_sync(tile, part, pitch, wmma::mem_row_major);
  __syncwarp();
  wmma::load_matrix_sync(part, tile, pitch, wmma::mem_row_major);
  wmma::store_matrix_sync(reinterpret_cast<__half*>(out), part, 32, wmma::mem_row_major);
}

}  // namespace

EXPORT(count_load_global)(const float* in, float* out, int stride, int offset) {
  return guarded([&] { launch<load_global>(1, 32, 0, nullptr, in, out, stride, offset); });
}

EXPORT(count_load_global_as)(const void* in, void* out, int bytes) {
  return guarded([&] {
    auto run = [&](auto type) {
      using T = decltype(type);
      launch<load_global_as<T>>(1, 32, 0, nullptr, static_cast<const T*>(in), static_cast<T*>(out));
    };
    if (bytes == 1) run(static_cast<unsigned char>(0));
    if (bytes == 2) run(__half());
    if (bytes == 8) run(float2());
    if (bytes == 12) run(float3());
    if (bytes == 16) run(float4());
  });
}

EXPORT(count_load_shared)(float* out, int stride) {
  return guarded([&] { launch<load_shared>(1, 32, 0, nullptr, out, stride); });
}

EXPORT(count_load_shared_as)(float* out, int bytes, int stride) {
  return guarded([&] {
    if (bytes == 2) launch<load_shared_as<__half>>(1, 32, 0, nullptr, out, stride);
    if (bytes == 8) launch<load_shared_as<double>>(1, 32, 0, nullptr, out, stride);
    if (bytes == 16) launch<load_shared_as<float4>>(1, 32, 0, nullptr, out, stride);
  });
}

EXPORT(count_transpose)(const float* in, float* out, int pitch) {
  return guarded([&] {
    const dim3 block(32, 32);
    if (pitch == 32) launch<transpose<32>>(1, block, 0, nullptr, in, out);
    if (pitch == 33) launch<transpose<33>>(1, block, 0, nullptr, in, out);
    if (pitch == 34) launch<transpose<34>>(1, block, 0, nullptr, in, out);
    if (pitch == 0) launch<transpose<0>>(1, block, 0, nullptr, in, out);
    if (pitch == -1) launch<transpose_without_tile>(1, block, 0, nullptr, in, out);
  });
}

EXPORT(count_matmul)(const float* a, const float* b, float* c, int n) {
  return guarded([&] { launch<matmul>(dim3(n / 32, n / 8), dim3(32, 8), 0, nullptr, a, b, c, n); });
}

EXPORT(count_every_second_lane)(const float* in, float* out, int threads) {
  return guarded([&] { launch<every_second_lane>(1, threads, 0, nullptr, in, out); });
}

EXPORT(count_atomics)(float* out) {
  return guarded([&] { launch<add_atomically>(1, 64, 0, nullptr, out); });
}

EXPORT(count_move_fragment)(const float* in, float* out, int pitch) {
  return guarded([&] {
    if (pitch == 64)
      launch<move_fragment<64>>(1, 32, 0, nullptr, in, out);
    else
      launch<move_fragment<72>>(1, 32, 0, nullptr, in, out);
  });
}
