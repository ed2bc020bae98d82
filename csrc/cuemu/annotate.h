// For the few legal patterns that the checker can't understand by itself. Under nvcc, and without a checker, these say
// nothing.
//
//     *flag = 1;                    // a plain store that publishes what came before it
//     CUEMU_RELEASES(flag);
//
//     if (*flag == 1) {
//       CUEMU_ACQUIRES(flag);       // from here on, what came before the release is seen
//
//     CUEMU_RACE_IS_MEANT(&best, sizeof best);   // whoever wins: races on these bytes are no finding
//
// Fences with atomics or volatile flags, `mbarrier`, and barriers of all kinds need no annotation.
#pragma once

#if defined(NNZOO_CUEMU) && defined(__SANITIZE_THREAD__)
#include "cuemu/runtime.h"
#define CUEMU_RELEASES(address) cuemu::tell_release(address)
#define CUEMU_ACQUIRES(address) cuemu::tell_acquire(address)
#define CUEMU_RACE_IS_MEANT(address, bytes) cuemu::tell_meant_race(address, bytes)
#else
#define CUEMU_RELEASES(address) static_cast<void>(address)
#define CUEMU_ACQUIRES(address) static_cast<void>(address)
#define CUEMU_RACE_IS_MEANT(address, bytes) static_cast<void>(address)
#endif
