// Launches: grids, blocks, schedules, dynamic shared memory.
#include "common/launch.cuh"
#include "guarded.h"

using nnzoo::launch;

namespace {

__global__ void count_threads(int* visits, int* order, int* next) {
  const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const int self = block * static_cast<int>(blockDim.x * blockDim.y * blockDim.z) + thread;
  atomicAdd(&visits[self], 1);
  order[atomicAdd(next, 1)] = self;
}

__global__ void copy_shared_as_found(float* out) { out[threadIdx.x] = nnzoo::dynamic_shared<float>()[threadIdx.x]; }

__global__ void do_nothing() {}

}  // namespace

EXPORT(run_count_threads)(int* visits, int* order, int* next) {
  return guarded([&] { launch<count_threads>(dim3(2, 3, 2), dim3(3, 5, 4), 0, nullptr, visits, order, next); });
}
EXPORT(run_nothing)(unsigned grid, unsigned block, size_t shared_bytes) {
  return guarded([&] { launch<do_nothing>(grid, block, shared_bytes, nullptr); });
}
EXPORT(run_copy_shared_as_found)(float* out) {
  return guarded([&] { launch<copy_shared_as_found>(1, 64, 64 * sizeof(float), nullptr, out); });
}
