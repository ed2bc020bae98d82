// 16-bit floating-point types.
#include "common/launch.cuh"
#include "guarded.h"

using nnzoo::launch;

namespace {

__global__ void convert(const float* in, unsigned short* halves, unsigned short* bfloats, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  halves[i] = __half_as_ushort(__float2half(in[i]));
  bfloats[i] = __bfloat16_as_ushort(__float2bfloat16(in[i]));
}

// out: [2, 65536], every half and every bfloat16 as float
__global__ void widen(float* out) {
  const unsigned bits = blockIdx.x * blockDim.x + threadIdx.x;
  out[bits] = __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
  out[65536 + bits] = __bfloat162float(__ushort_as_bfloat16(static_cast<unsigned short>(bits)));
}

}  // namespace

EXPORT(run_convert)(const float* in, unsigned short* halves, unsigned short* bfloats, int count) {
  return guarded([&] { launch<convert>((count + 255) / 256, 256, 0, nullptr, in, halves, bfloats, count); });
}
EXPORT(run_widen)(float* out) {
  return guarded([&] { launch<widen>(256, 256, 0, nullptr, out); });
}
