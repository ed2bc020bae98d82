// The checker's interface, in C so that anything can load it (ctypes, dlopen). README.md tells what it finds and gives
// the fields of the report.
//
//     cuemu_check_begin();
//     float* x = cuemu_check_allocate(bytes, 1, "x");   // or cuemu_check_buffer(x, bytes, 1, "x") for memory of yours
//     ... launch kernels ...
//     puts(cuemu_check_end());
//
// One session at a time. While one is open, launches run on the calling thread only, and a launch that goes wrong in a
// way that the report names ends early instead of throwing.
#pragma once

#include <stddef.h>

#define CUEMU_CHECK_API extern "C" __attribute__((visibility("default")))

// Opens a session: forgets all buffers and frees all memory of the one before.
CUEMU_CHECK_API void cuemu_check_begin(void);

// Tells the session of global memory that kernels may use. An access to anything else is out of bounds.
// `initialised`: whether its bytes may be read before a kernel has written them. `name` appears in messages.
// A buffer that overlaps earlier ones replaces them.
CUEMU_CHECK_API void cuemu_check_buffer(const void* address, size_t bytes, int initialised, const char* name);

// Tells the session that the host has written these bytes of a buffer.
CUEMU_CHECK_API void cuemu_check_written(const void* address, size_t bytes);

// Forgets the buffer that begins at `address`.
CUEMU_CHECK_API void cuemu_check_forget(const void* address);

// Memory of the session's own, aligned to 256 bytes and told to it, filled with 0xff. 64 KB on both sides belong to
// nobody: an access that runs over into them is a finding, does no harm, and the launch goes on.
// The session frees it when the next one begins. Null when there is no memory.
CUEMU_CHECK_API void* cuemu_check_allocate(size_t bytes, int initialised, const char* name);

// Closes the session and returns its report as JSON, which lives until the next session begins.
CUEMU_CHECK_API const char* cuemu_check_end(void);
