// `kernel<<<grid, block, shared, stream>>>(args...)` without the angle brackets, which g++ can't read.
#pragma once

#include "cuemu/language.h"
#include "cuemu/runtime.h"

namespace cuemu {

// Each thread calls the kernel with its own copies of the arguments, as the GPU does: a kernel may change its
// parameters.
template <class Call>
CUEMU_UNCHECKED void call_kernel(const void* call) {
  (*static_cast<const Call*>(call))();
}

template <class Kernel, class... Args>
void launch(const char* name, Kernel kernel, dim3 grid, dim3 block, std::size_t shared_bytes, Args... args) {
  auto call = [=]() CUEMU_UNCHECKED { kernel(args...); };
  run_grid({{grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, shared_bytes, name}, &call_kernel<decltype(call)>,
           &call);
}

}  // namespace cuemu
