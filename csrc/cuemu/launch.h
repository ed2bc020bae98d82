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

struct LaunchShape {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;
  dim3 cluster = dim3(1, 1, 1);
  bool cooperative = false;  // all blocks at the same time, as `grid_group::sync` needs
};

template <class Kernel, class... Args>
void launch(const char* name, const LaunchShape& shape, Kernel kernel, Args... args) {
  auto call = [=]() CUEMU_UNCHECKED { kernel(args...); };
  const dim3& grid = shape.grid;
  const dim3& block = shape.block;
  const dim3& cluster = shape.cluster;
  run_grid({{grid.x, grid.y, grid.z},
            {block.x, block.y, block.z},
            shape.shared_bytes,
            name,
            {cluster.x, cluster.y, cluster.z},
            shape.cooperative},
           &call_kernel<decltype(call)>, &call);
}

template <class Kernel, class... Args>
void launch(const char* name, Kernel kernel, dim3 grid, dim3 block, std::size_t shared_bytes, Args... args) {
  launch(name, LaunchShape{grid, block, shared_bytes}, kernel, args...);
}

}  // namespace cuemu
