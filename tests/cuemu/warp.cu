// Warp collectives.
#include "common/launch.cuh"
#include "guarded.h"

using nnzoo::launch;

namespace {

constexpr unsigned kAll = 0xffffffffu;

// out: [4, 32]
__global__ void shuffle(const int* in, int* out, int operand, int width) {
  const int lane = threadIdx.x;
  out[lane] = __shfl_sync(kAll, in[lane], operand, width);
  out[32 + lane] = __shfl_up_sync(kAll, in[lane], operand, width);
  out[64 + lane] = __shfl_down_sync(kAll, in[lane], operand, width);
  out[96 + lane] = __shfl_xor_sync(kAll, in[lane], operand, width);
}

__global__ void shuffle_in_halves(double* out) {
  const int lane = threadIdx.x;
  if (lane < 16) {
    out[lane] = __shfl_xor_sync(0x0000ffffu, lane + 0.5, 1);
  } else {
    out[lane] = __shfl_xor_sync(0xffff0000u, lane - 0.5, 2);
  }
}

// out: [8, 32]
__global__ void vote(const int* in, unsigned* out) {
  const int lane = threadIdx.x;
  out[lane] = __ballot_sync(kAll, in[lane] > 3);
  out[32 + lane] = __any_sync(kAll, in[lane] > 8);
  out[64 + lane] = __all_sync(kAll, in[lane] >= 0);
  out[96 + lane] = __match_any_sync(kAll, in[lane]);
  out[128 + lane] = __reduce_add_sync(kAll, in[lane]);
  out[160 + lane] = __reduce_max_sync(kAll, in[lane]);
  out[192 + lane] = __syncthreads_count(in[lane] > 3);
  out[224 + lane] = __syncthreads_or(in[lane] > 8) * 2 + __syncthreads_and(in[lane] >= 0);
}

}  // namespace

EXPORT(run_shuffle)(const int* in, int* out, int operand, int width) {
  return guarded([&] { launch<shuffle>(1, 32, 0, nullptr, in, out, operand, width); });
}
EXPORT(run_shuffle_in_halves)(double* out) {
  return guarded([&] { launch<shuffle_in_halves>(1, 32, 0, nullptr, out); });
}
EXPORT(run_vote)(const int* in, unsigned* out) {
  return guarded([&] { launch<vote>(1, 32, 0, nullptr, in, out); });
}
