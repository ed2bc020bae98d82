// The C library's header defines its macro anew each time, so this one follows it with the emulator's.
#include_next <assert.h>

#include "cuemu/assertion.h"
