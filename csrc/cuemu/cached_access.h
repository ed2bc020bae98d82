// Loads and stores with a cache hint (CUDA programming guide, "Load Functions Using Cache Hints"). There is no cache to
// hint at; those that bypass it are what a thread waits for another one with, so they let others run.
#pragma once

#include "cuemu/runtime.h"

#define CUEMU_LOAD(name)                     \
  template <class T>                         \
  __forceinline__ T name(const T* address) { \
    return *address;                         \
  }
CUEMU_LOAD(__ldg)
CUEMU_LOAD(__ldca)
CUEMU_LOAD(__ldcs)
CUEMU_LOAD(__ldlu)
#undef CUEMU_LOAD

// A flag that another thread sets: a checker takes volatile loads for what they are.
#define CUEMU_FRESH_NUMBER(name, type)                                                     \
  __forceinline__ type name(const type* address, cuemu::Site site = cuemu::Site::here()) { \
    cuemu::may_spin(site);                                                                 \
    return *const_cast<const volatile type*>(address);                                     \
  }
// The fence keeps the compiler from reusing what it has read before.
#define CUEMU_FRESH_LOAD(name)                                                       \
  template <class T>                                                                 \
  __forceinline__ T name(const T* address, cuemu::Site site = cuemu::Site::here()) { \
    cuemu::may_spin(site);                                                           \
    __atomic_signal_fence(__ATOMIC_SEQ_CST);                                         \
    return *address;                                                                 \
  }                                                                                  \
  CUEMU_FRESH_NUMBER(name, int)                                                      \
  CUEMU_FRESH_NUMBER(name, unsigned)                                                 \
  CUEMU_FRESH_NUMBER(name, long long)                                                \
  CUEMU_FRESH_NUMBER(name, unsigned long long)
CUEMU_FRESH_LOAD(__ldcg)
CUEMU_FRESH_LOAD(__ldcv)
#undef CUEMU_FRESH_LOAD
#undef CUEMU_FRESH_NUMBER

#define CUEMU_STORE(name)                          \
  template <class T>                               \
  __forceinline__ void name(T* address, T value) { \
    *address = value;                              \
  }
CUEMU_STORE(__stwb)
CUEMU_STORE(__stcg)
CUEMU_STORE(__stcs)
CUEMU_STORE(__stwt)
#undef CUEMU_STORE
