// CUDA C++ with two compilers: under nvcc this is the real thing, under g++ every CUDA thread becomes a fiber on the
// CPU.
//
//     #include "cuemu/cuda.h"
//
// is all that a `.cu` file needs; build it with `nvcc` or with `g++ -x c++ -DNNZOO_CUEMU -Wno-unknown-pragmas` and link
// csrc/cuemu/*.cpp. What the emulator does not know does not compile. README.md tells how it works.
#pragma once

#include "cuemu/annotate.h"

#ifdef NNZOO_CUEMU
#include "cuemu/async_copy.h"
#include "cuemu/atomics.h"
#include "cuemu/barrier.h"
#include "cuemu/bulk_copy.h"
#include "cuemu/cached_access.h"
#include "cuemu/cluster.h"
#include "cuemu/conversions.h"
#include "cuemu/diagnostics.h"
#include "cuemu/host_api.h"
#include "cuemu/host_launch.h"
#include "cuemu/integer_intrinsics.h"
#include "cuemu/language.h"
#include "cuemu/launch.h"
#include "cuemu/math_intrinsics.h"
#include "cuemu/matrix.h"
#include "cuemu/mbarrier.h"
#include "cuemu/reduced_intrinsics.h"
#include "cuemu/reduced_precision.h"
#include "cuemu/warp.h"
#include "cuemu/wgmma.h"
// The host's assembler would take some PTX for instructions of its own.
#define asm                                           \
  static_assert(false, "inline PTX is not emulated"); \
  inline_PTX_is_not_emulated
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif
