// C = alpha * A * B + beta * C on Tensor Cores, half in and float out. M, N and K are multiples of 16.
#include <cuda_fp16.h>
#include <mma.h>

using namespace nvcuda;

const int WMMA = 16;
const int WARPS = 4;  // tiles of C in a block, one below the other; they share the tile of B

__global__ void wmmaGemm(const half* A, const half* B, float* C, int M, int N, int K, float alpha, float beta) {
  __shared__ half tileB[WMMA * WMMA];

  int warpId = threadIdx.x / warpSize;
  int row = (blockIdx.y * WARPS + warpId) * WMMA;
  int col = blockIdx.x * WMMA;
  bool inside = row < M;

  wmma::fragment<wmma::matrix_a, WMMA, WMMA, WMMA, half, wmma::row_major> a_frag;
  wmma::fragment<wmma::matrix_b, WMMA, WMMA, WMMA, half, wmma::row_major> b_frag;
  wmma::fragment<wmma::accumulator, WMMA, WMMA, WMMA, float> acc_frag;
  wmma::fragment<wmma::accumulator, WMMA, WMMA, WMMA, float> c_frag;
  wmma::fill_fragment(acc_frag, 0.0f);

  for (int k = 0; k < K; k += WMMA) {
    for (int i = threadIdx.x; i < WMMA * WMMA; i += blockDim.x) tileB[i] = B[(k + i / WMMA) * N + col + i % WMMA];
    __syncthreads();  // the tile is there
    if (inside) {
      wmma::load_matrix_sync(a_frag, A + row * K + k, K);
      wmma::load_matrix_sync(b_frag, tileB, WMMA);
      wmma::mma_sync(acc_frag, a_frag, b_frag, acc_frag);
    }
    __syncthreads();  // before the next one
  }

  if (inside) {
    wmma::load_matrix_sync(c_frag, C + row * N + col, N, wmma::mem_row_major);
    for (int i = 0; i < c_frag.num_elements; i++) c_frag.x[i] = alpha * acc_frag.x[i] + beta * c_frag.x[i];
    wmma::store_matrix_sync(C + row * N + col, c_frag, N, wmma::mem_row_major);
  }
}
