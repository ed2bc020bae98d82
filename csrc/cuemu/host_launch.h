// The runtime's launch functions: with a cluster, cooperatively, or with packed arguments.
#pragma once

#include <type_traits>
#include <utility>

#include "cuemu/host_api.h"
#include "cuemu/launch.h"

namespace cuemu {

// A launch of a program that knows the runtime only: dynamic shared memory beyond 48 KB must have been asked for.
template <class... Parameters>
cudaError_t launch_checked(const LaunchShape& shape, void (*kernel)(Parameters...),
                           std::decay_t<Parameters>... arguments) {
  if (shape.shared_bytes > allowed_shared_bytes(kernel_address(kernel))) return remember(cudaErrorInvalidValue);
  launch(kernel_symbol(kernel_address(kernel)), shape, kernel, arguments...);
  return cudaSuccess;
}

template <class... Parameters, std::size_t... index>
cudaError_t launch_packed(const LaunchShape& shape, void (*kernel)(Parameters...), void** arguments,
                          std::index_sequence<index...>) {
  return launch_checked(shape, kernel, *static_cast<std::decay_t<Parameters>*>(arguments[index])...);
}

}  // namespace cuemu

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments... arguments) {
  cuemu::LaunchShape shape{config->gridDim, config->blockDim, config->dynamicSmemBytes};
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = config->attrs[i];
    const auto& cluster = attribute.val.clusterDim;
    if (attribute.id == cudaLaunchAttributeClusterDimension) shape.cluster = dim3(cluster.x, cluster.y, cluster.z);
    if (attribute.id == cudaLaunchAttributeCooperative) shape.cooperative = attribute.val.cooperative != 0;
  }
  return cuemu::launch_checked(shape, kernel, arguments...);
}

// `arguments` points at each argument.
template <class... Parameters>
cudaError_t cudaLaunchKernel(void (*kernel)(Parameters...), dim3 grid, dim3 block, void** arguments,
                             std::size_t shared_bytes = 0, cudaStream_t /*stream*/ = nullptr) {
  return cuemu::launch_packed({grid, block, shared_bytes}, kernel, arguments, std::index_sequence_for<Parameters...>{});
}

template <class... Parameters>
cudaError_t cudaLaunchCooperativeKernel(void (*kernel)(Parameters...), dim3 grid, dim3 block, void** arguments,
                                        std::size_t shared_bytes = 0, cudaStream_t /*stream*/ = nullptr) {
  return cuemu::launch_packed({grid, block, shared_bytes, dim3(1, 1, 1), true}, kernel, arguments,
                              std::index_sequence_for<Parameters...>{});
}
