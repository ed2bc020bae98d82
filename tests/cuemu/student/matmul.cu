/* Tiled matrix multiplication, C = A * B.
   A is M x K, B is K x N, all row-major. */
#include <cuda_runtime.h>
#include <device_launch_parameters.h>

#include "matrix.h"

#define TILE_WIDTH 16

__global__ void MatrixMulKernel(float* A, float* B, float* C, int M, int N, int K) {
  __shared__ float Mds[TILE_WIDTH][TILE_WIDTH];
  __shared__ float Nds[TILE_WIDTH][TILE_WIDTH];

  int tx = threadIdx.x, ty = threadIdx.y;
  int Row = blockIdx.y * TILE_WIDTH + ty;
  int Col = blockIdx.x * TILE_WIDTH + tx;

  float Pvalue = 0;
  // Loop over the tiles of A and B
  for (int ph = 0; ph < DIV_UP(K, TILE_WIDTH); ++ph) {
    if (Row < M && ph * TILE_WIDTH + tx < K)
      Mds[ty][tx] = A[Row * K + ph * TILE_WIDTH + tx];
    else
      Mds[ty][tx] = 0.0f;
    if (ph * TILE_WIDTH + ty < K && Col < N)
      Nds[ty][tx] = B[(ph * TILE_WIDTH + ty) * N + Col];
    else
      Nds[ty][tx] = 0.0f;
    __syncthreads();  // tiles are loaded

    for (int k = 0; k < TILE_WIDTH; ++k) {
      Pvalue += Mds[ty][k] * Nds[k][tx];
    }
    __syncthreads();  // tiles are used up
  }
  if (Row < M && Col < N) C[Row * N + Col] = Pvalue;
}

void matmul(float* A, float* B, float* C, int M, int N, int K) {
  dim3 dimGrid(DIV_UP(N, TILE_WIDTH), DIV_UP(M, TILE_WIDTH), 1);
  dim3 dimBlock(TILE_WIDTH, TILE_WIDTH, 1);
  MatrixMulKernel<<<dimGrid, dimBlock>>>(A, B, C, M, N, K);
}
