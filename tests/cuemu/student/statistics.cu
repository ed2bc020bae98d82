// Sum, number of positive values and maximum of an array, with atomics only
#include <cuda_runtime.h>

__global__ void statistics(const int* values, int n, unsigned long long* sum, int* positive, int* maximum) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    int v = values[i];
    atomicMax(maximum, v);
    if (v > 0) {
      atomicAdd(positive, 1);
      atomicAdd(sum, (unsigned long long)v);
    }
  }
}
