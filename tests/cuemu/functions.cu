// CUDA's functions of integers, floating-point numbers and 16-bit floating-point numbers, each applied to arrays.
#include <cassert>

#include "common/launch.cuh"
#include "guarded.h"

using nnzoo::launch;

namespace {

__device__ int thread_number() { return blockIdx.x * blockDim.x + threadIdx.x; }

// out: [32, count]
__global__ void integers(const unsigned* a, const unsigned* b, unsigned* out, int count) {
  const int i = thread_number();
  if (i >= count) return;
  const unsigned x = a[i];
  const unsigned y = b[i];
  const int sx = static_cast<int>(x);
  const int sy = static_cast<int>(y);
  const unsigned long long both = static_cast<unsigned long long>(x) << 32 | y;
  const unsigned results[] = {
      static_cast<unsigned>(__popc(x)),
      static_cast<unsigned>(__popcll(both)),
      static_cast<unsigned>(__clz(sx)),
      static_cast<unsigned>(__clzll(static_cast<long long>(both))),
      static_cast<unsigned>(__ffs(sx)),
      static_cast<unsigned>(__ffsll(static_cast<long long>(both))),
      __brev(x),
      static_cast<unsigned>(__brevll(both)),
      __byte_perm(x, y, 0x7a41),
      __funnelshift_l(x, y, 35),
      __funnelshift_lc(x, y, 35),
      __funnelshift_r(x, y, 4),
      __funnelshift_rc(x, y, 32),
      static_cast<unsigned>(__mul24(sx, sy)),
      __umul24(x, y),
      __umulhi(x, y),
      static_cast<unsigned>(__mulhi(sx, sy)),
      static_cast<unsigned>(__umul64hi(both, both)),
      static_cast<unsigned>(__mul64hi(static_cast<long long>(both), static_cast<long long>(both))),
      static_cast<unsigned>(__hadd(sx, sy)),
      static_cast<unsigned>(__rhadd(sx, sy)),
      __uhadd(x, y),
      __urhadd(x, y),
      __sad(sx, sy, 7),
      __usad(x, y, 7),
      static_cast<unsigned>(__dp4a(sx, sy, -5)),
      __dp4a(x, y, 5u),
      static_cast<unsigned>(__dp2a_lo(sx, sy, 5)),
      static_cast<unsigned>(__dp2a_hi(sx, sy, 5)),
      static_cast<unsigned>(min(sx, sy)),
      max(x, y),
      static_cast<unsigned>(max(sx, sy)),
  };
  for (int k = 0; k < 32; ++k) out[k * count + i] = results[k];
}

// out: [20, count]
__global__ void floats(const float* a, const float* b, float* out, int count) {
  const int i = thread_number();
  if (i >= count) return;
  const float x = a[i];
  const float y = b[i];
  float sine;
  float cosine;
  sincospif(x, &sine, &cosine);
  const float results[] = {
      __fmaf_rn(x, y, x),
      __fdividef(x, y),
      rsqrtf(fabsf(x)),
      __sinf(x),
      __expf(x),
      __saturatef(x),
      __fadd_rz(x, y),
      __fadd_ru(x, y),
      __fadd_rd(x, y),
      __fmul_rn(x, y),
      sine,
      cosine,
      normcdff(x),
      rcbrtf(y),
      __frcp_rn(y),
      __fsqrt_rn(fabsf(y)),
      __powf(fabsf(x), 1.5f),
      min(x, y),
      max(x, y),
      static_cast<float>(norm3d(x, y, 1.0)),
  };
  for (int k = 0; k < 20; ++k) out[k * count + i] = results[k];
}

// integers: [8, count], floating: [6, count]
__global__ void conversions(const double* in, long long* integers, double* floating, int count) {
  const int i = thread_number();
  if (i >= count) return;
  const double wide = in[i];
  const float x = static_cast<float>(wide);
  const long long from_floating[] = {
      __float2int_rn(x),  __float2int_rz(x),     __float2int_rd(x),    __float2int_ru(x),
      __float2uint_rz(x), __double2int_rn(wide), __double2ll_rz(wide), static_cast<long long>(__float2ull_rn(x)),
  };
  const long long bits = __double_as_longlong(wide);
  const double from_integer[] = {
      __ll2float_rn(bits),
      __ll2float_rz(bits),
      __double2float_ru(wide),
      __double2float_rd(wide),
      __hiloint2double(__double2hiint(wide), __double2loint(wide)),
      __longlong_as_double(bits),
  };
  for (int k = 0; k < 8; ++k) integers[k * count + i] = from_floating[k];
  for (int k = 0; k < 6; ++k) floating[k * count + i] = from_integer[k];
}

__device__ __half2 to_pair(float2 value, __half) { return __float22half2_rn(value); }
__device__ __nv_bfloat162 to_pair(float2 value, __nv_bfloat16) { return __float22bfloat162_rn(value); }
__device__ float2 from_pair(__half2 value) { return __half22float2(value); }
__device__ float2 from_pair(__nv_bfloat162 value) { return __bfloat1622float2(value); }
__device__ __half toward_zero(float value, __half) { return __float2half_rz(value); }
__device__ __nv_bfloat16 toward_zero(float value, __nv_bfloat16) { return __float2bfloat16_rz(value); }
__device__ __half upward(float value, __half) { return __float2half_ru(value); }
__device__ __nv_bfloat16 upward(float value, __nv_bfloat16) { return __float2bfloat16_ru(value); }

// a, b: [count, 2] of T; out: [24, count, 2] as float
template <class T, class Pair>
__global__ void pairs(const Pair* a, const Pair* b, float2* out, int count) {
  const int i = thread_number();
  if (i >= count) return;
  const Pair x = __ldg(&a[i]);
  const Pair y = __ldg(&b[i]);
  const T low = x.x;
  const T high = x.y;
  const float2 wide = from_pair(x);
  const Pair results[] = {
      __hadd2(x, y),
      __hsub2(x, y),
      __hmul2(x, y),
      __h2div(x, y),
      __hfma2(x, y, x),
      __hneg2(x),
      __habs2(x),
      __hmax2(x, y),
      __hmin2(x, y),
      __hlt2(x, y),
      __hadd2_sat(x, y),
      h2exp(x),
      h2sqrt(__habs2(x)),
      h2rcp(y),
      h2tanh(x),
      x + y * x,
      Pair(__hfma(low, high, low), __hmax(low, high)),
      Pair(static_cast<T>(float(__hgt(low, high))), __hdiv(low, high)),
      __lowhigh2highlow(x),
      to_pair(make_float2(wide.x + 1.0f, wide.y * 3.0f), T()),
      Pair(toward_zero(wide.x * 1.0001f, T()), upward(wide.x * 1.0001f, T())),
      Pair(hfloor(low), hrint(high)),
      __shfl_xor_sync(__activemask(), x, 0),
      Pair(__low2float(x), __high2float(x)),
  };
  for (int k = 0; k < 24; ++k) out[k * count + i] = from_pair(results[k]);
}

// The components of vectors of every type, and their sizes and alignments.
__global__ void vectors(double* out) {
  int at = 0;
#define VECTORS(name, type)                                                                                        \
  {                                                                                                                \
    const name##1 a = make_##name##1(1);                                                                           \
    const name##2 b = make_##name##2(2, 3);                                                                        \
    const name##3 c = make_##name##3(4, 5, 6);                                                                     \
    const name##4 d = make_##name##4(7, 8, 9, static_cast<type>(-1));                                              \
    out[at++] = static_cast<double>(a.x + b.x + b.y + c.x + c.y + c.z + d.x + d.y + d.z);                          \
    out[at++] = static_cast<double>(d.w);                                                                          \
    out[at++] = sizeof a + 100 * sizeof b + 10000 * sizeof c + 1000000 * sizeof d;                                 \
    out[at++] = alignof(name##1) + 100 * alignof(name##2) + 10000 * alignof(name##3) + 1000000 * alignof(name##4); \
  }
  VECTORS(char, signed char)
  VECTORS(uchar, unsigned char)
  VECTORS(short, short)
  VECTORS(ushort, unsigned short)
  VECTORS(int, int)
  VECTORS(uint, unsigned)
  VECTORS(longlong, long long)
  VECTORS(ulonglong, unsigned long long)
  VECTORS(float, float)
  VECTORS(double, double)
#undef VECTORS
}

__constant__ float coefficients[3] = {1.0f, 10.0f, 100.0f};
__device__ int launches;

__global__ void __launch_bounds__(128, 2) polynomial(const float* __restrict__ in, float* __restrict__ out) {
  if (threadIdx.x == 0) atomicAdd(&launches, 1);
  const float x = __ldcs(&in[threadIdx.x]);
  __stcs(&out[threadIdx.x], coefficients[0] + x * (coefficients[1] + x * coefficients[2]));
}

__global__ void read_launches(int* out) { *out = launches; }

__global__ void assert_small(const int* in) {
  const int value = in[threadIdx.x];
  assert(value < 10 && "too large");
}

// Time does not run backwards, and waiting for it lets the others run.
__global__ void wait_for_clock(int* out) {
  __shared__ int arrived;
  if (threadIdx.x == 0) arrived = 0;
  __syncthreads();
  const long long begin = clock64();
  if (threadIdx.x == 0) {
    long long now = begin;
    while (clock64() - begin < 2000000 || __ldcv(&arrived) < 31) {
      const long long later = clock64();
      if (later < now) return;
      now = later;
    }
    out[0] = arrived;
  } else {
    __nanosleep(1000);
    atomicAdd(&arrived, 1);
  }
}

}  // namespace

EXPORT(run_integers)(const unsigned* a, const unsigned* b, unsigned* out, int count) {
  return guarded([&] { launch<integers>((count + 127) / 128, 128, 0, nullptr, a, b, out, count); });
}
EXPORT(run_floats)(const float* a, const float* b, float* out, int count) {
  return guarded([&] { launch<floats>((count + 127) / 128, 128, 0, nullptr, a, b, out, count); });
}
EXPORT(run_conversions)(const double* in, long long* integers, double* floating, int count) {
  return guarded([&] { launch<conversions>((count + 127) / 128, 128, 0, nullptr, in, integers, floating, count); });
}
EXPORT(run_pairs)(const void* a, const void* b, float2* out, int count, int half) {
  return guarded([&] {
    const int blocks = (count + 127) / 128;
    if (half)
      launch<pairs<__half, __half2>>(blocks, 128, 0, nullptr, static_cast<const __half2*>(a),
                                     static_cast<const __half2*>(b), out, count);
    else
      launch<pairs<__nv_bfloat16, __nv_bfloat162>>(blocks, 128, 0, nullptr, static_cast<const __nv_bfloat162*>(a),
                                                   static_cast<const __nv_bfloat162*>(b), out, count);
  });
}
EXPORT(run_vectors)(double* out) {
  return guarded([&] { launch<vectors>(1, 1, 0, nullptr, out); });
}
EXPORT(run_polynomial)(const float* in, float* out, int* launches_so_far) {
  return guarded([&] {
    launch<polynomial>(1, 64, 0, nullptr, in, out);
    launch<read_launches>(1, 1, 0, nullptr, launches_so_far);
  });
}
EXPORT(run_assert_small)(const int* in) {
  return guarded([&] { launch<assert_small>(1, 64, 0, nullptr, in); });
}
EXPORT(run_wait_for_clock)(int* out) {
  return guarded([&] { launch<wait_for_clock>(1, 32, 0, nullptr, out); });
}
