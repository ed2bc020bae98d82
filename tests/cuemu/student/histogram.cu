#include <cuda_runtime.h>

#define NUM_BINS 64

__global__ void histogram(const unsigned char* data, int size, unsigned int* bins) {
  __shared__ unsigned int localBins[NUM_BINS];
  for (int b = threadIdx.x; b < NUM_BINS; b += blockDim.x) localBins[b] = 0;
  __syncthreads();

  int stride = blockDim.x * gridDim.x;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < size; i += stride) {
    atomicAdd(&localBins[data[i] / 4], 1);
  }
  __syncthreads();

  for (int b = threadIdx.x; b < NUM_BINS; b += blockDim.x) {
    atomicAdd(&bins[b], localBins[b]);
  }
}
