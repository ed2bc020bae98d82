// The words that CUDA adds to C++: qualifiers, vector types, and the variables that tell a thread who it is.
//
// One OS thread runs one block at a time and its fibers are the block's CUDA threads, so a `__shared__` variable is
// simply one copy per OS thread, and blocks run in parallel on several OS threads. Like all kernel-facing headers of
// the emulator this one uses no standard-library templates: a checker that instruments the kernel must find only the
// kernel in there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __constant__
#ifdef __SANITIZE_THREAD__  // checked: `used`, or a read of what nobody writes would be folded away unseen
#define __shared__ static thread_local __attribute__((used))
#else
#define __shared__ static thread_local
#endif
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__  // empty: the standard library writes __attribute__((__noinline__))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __builtin_align__(bytes) __attribute__((aligned(bytes)))
#define __managed__

#define CUEMU_VECTOR_TYPES(type, name)                                                   \
  struct name##1 { type x; };                                                            \
  struct alignas(2 * sizeof(type)) name##2 { type x, y; };                               \
  struct name##3 { type x, y, z; };                                                      \
  struct alignas(sizeof(type) < 8 ? 4 * sizeof(type) : 16) name##4 { type x, y, z, w; }; \
  inline name##1 make_##name##1(type x) { return {x}; }                                  \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }                       \
  inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }            \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

CUEMU_VECTOR_TYPES(signed char, char)
CUEMU_VECTOR_TYPES(unsigned char, uchar)
CUEMU_VECTOR_TYPES(short, short)
CUEMU_VECTOR_TYPES(unsigned short, ushort)
CUEMU_VECTOR_TYPES(int, int)
CUEMU_VECTOR_TYPES(unsigned, uint)
CUEMU_VECTOR_TYPES(long, long)
CUEMU_VECTOR_TYPES(unsigned long, ulong)
CUEMU_VECTOR_TYPES(long long, longlong)
CUEMU_VECTOR_TYPES(unsigned long long, ulonglong)
CUEMU_VECTOR_TYPES(float, float)
CUEMU_VECTOR_TYPES(double, double)
#undef CUEMU_VECTOR_TYPES

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

// `__thread` rather than `thread_local`: no initialisation wrapper around every use. Never initial-exec: a shared
// library that is loaded late may find no room in the static TLS block.
extern __thread uint3 threadIdx;
extern __thread uint3 blockIdx;
extern __thread dim3 blockDim;
extern __thread dim3 gridDim;
constexpr int warpSize = 32;
