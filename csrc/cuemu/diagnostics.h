// `printf`, `assert`, `__trap`, and the clock.
#pragma once

#include <assert.h>
#include <stdio.h>
#include <time.h>

#include "cuemu/assertion.h"
#include "cuemu/runtime.h"

[[noreturn]] inline void __trap(cuemu::Site site = cuemu::Site::here()) { cuemu::fail("__trap was called", site); }

// Nanoseconds of this machine: it never runs backwards, and says nothing about a GPU's time.
inline long long clock64(cuemu::Site site = cuemu::Site::here()) {
  cuemu::may_spin(site);
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ll + now.tv_nsec;
}

// The thread lets others run, however short the time.
inline void __nanosleep(unsigned /*nanoseconds*/, cuemu::Site site = cuemu::Site::here()) { cuemu::spin(site); }
