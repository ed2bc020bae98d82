// `cp.async`: copies from global to shared memory that the thread goes on without.
//
// The copy is done as late as the program allows, by the wait that covers it, so a kernel with a missing or too weak
// wait reads what was in shared memory before: NaN in the first use of a dynamic buffer, else the previous stage.
#pragma once

#include "cuemu/runtime.h"

namespace cuemu {

// Copies `valid` bytes and fills the rest of `bytes` with zeros.
template <int bytes>
void cp_async(void* shared, const void* global, int valid, Site site) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16, "cp.async moves 4, 8 or 16 bytes");
  if (reinterpret_cast<std::size_t>(shared) % bytes)
    fail("cp.async to a shared address that is not aligned", site, Fault::misaligned);
  if (reinterpret_cast<std::size_t>(global) % bytes)
    fail("cp.async from a global address that is not aligned", site, Fault::misaligned);
  if (valid < 0 || valid > bytes) fail("cp.async of more bytes than its size", site);
  push_copy(shared, global, static_cast<unsigned>(valid), static_cast<unsigned>(bytes - valid), site);
}

}  // namespace cuemu
