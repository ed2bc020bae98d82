// Planted bugs around nvcuda::wmma. Matrices of float32 for tf32, whose accumulator is [16, 16].
#include <mma.h>

#include "case.h"

using namespace nvcuda;

namespace {

using Sums = wmma::fragment<wmma::accumulator, 16, 16, 8, float>;
using Left = wmma::fragment<wmma::matrix_a, 16, 16, 8, wmma::precision::tf32, wmma::row_major>;
using Right = wmma::fragment<wmma::matrix_b, 16, 16, 8, wmma::precision::tf32, wmma::row_major>;

template <bool right>
__global__ void fragment_of_an_unfinished_tile(const float* in, float* out) {
  __shared__ __align__(32) float tile[16 * 8];
  for (int i = threadIdx.x; i < 16 * 8; i += 64) tile[i] = in[i];  // race
  if (right) __syncthreads();
  Left a;
  Right b;
  Sums sums;
  wmma::fill_fragment(sums, 0.0f);
  wmma::load_matrix_sync(a, tile, 8);  // race
  wmma::load_matrix_sync(b, in + 128, 16);
  wmma::mma_sync(sums, a, b, sums);
  wmma::store_matrix_sync(out + threadIdx.x / 32 * 256, sums, 16, wmma::mem_row_major);
}
CASE(fragment_of_an_unfinished_tile, 1, 64, 0)

// 1024 numbers are 40 rows of 24, not three tiles of 16 rows.
template <bool right>
__global__ void tile_beyond_the_end(const float* in, float* out) {
  const int row = blockIdx.x * 16;
  Sums sums;
  wmma::fill_fragment(sums, 0.0f);
  if (!right || row + 16 <= 40) wmma::load_matrix_sync(sums, in + row * 24, 24, wmma::mem_row_major);  // out_of_bounds
  wmma::store_matrix_sync(out + row * 16, sums, 16, wmma::mem_row_major);
}
CASE(tile_beyond_the_end, 3, 32, 0)

template <bool right>
__global__ void fragment_at_an_odd_address(const float* in, float* out) {
  Sums sums;
  wmma::load_matrix_sync(sums, in + (right ? 8 : 4), 16, wmma::mem_row_major);  // misaligned
  wmma::store_matrix_sync(out, sums, 16, wmma::mem_row_major);
}
CASE(fragment_at_an_odd_address, 1, 32, 0)

template <bool right>
__global__ void fragment_of_half_a_warp(const float* in, float* out) {
  if (!right && threadIdx.x >= 16) return;
  Sums sums;
  wmma::load_matrix_sync(sums, in, 16, wmma::mem_row_major);  // exited_lane
  wmma::store_matrix_sync(out, sums, 16, wmma::mem_row_major);
}
CASE(fragment_of_half_a_warp, 1, 32, 0)

template <bool right>
__global__ void sums_that_nobody_clears(const float* in, float* out) {
  Left a;
  Right b;
  Sums sums;
  wmma::load_matrix_sync(a, in, 8);
  wmma::load_matrix_sync(b, in, 16);
  if (right) {
    wmma::fill_fragment(sums, 0.0f);
  } else {
    wmma::load_matrix_sync(sums, out, 16, wmma::mem_row_major);  // uninitialized
  }
  wmma::mma_sync(sums, a, b, sums);
  wmma::store_matrix_sync(out, sums, 16, wmma::mem_row_major);
}
CASE(sums_that_nobody_clears, 1, 32, 0)

}  // namespace
