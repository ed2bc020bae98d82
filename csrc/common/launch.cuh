// How a kernel is launched and finds its dynamic shared memory, the same under nvcc and under the emulator.
//
//     launch<scale_kernel<float>>(grid, block, shared_bytes, stream, output, input, count);
//
// `launch_together` is for blocks that wait for each other: those of a cluster, or with `cooperative` those of the
// grid. What goes wrong becomes a C++ exception, which pybind11 turns into a Python one.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

#include "cuemu/cuda.h"

namespace nnzoo {

// Which blocks run at the same time: those of a cluster, or all.
struct Together {
  dim3 cluster = dim3(1, 1, 1);
  bool cooperative = false;
};

#ifdef NNZOO_CUEMU

template <auto kernel, class... Args>
void launch_together(Together together, dim3 grid, dim3 block, std::size_t shared_bytes, void* /*stream*/,
                     Args... args) {
  cuemu::launch(__PRETTY_FUNCTION__,
                cuemu::LaunchShape{grid, block, shared_bytes, together.cluster, together.cooperative}, kernel, args...);
}

template <class T>
__device__ T* dynamic_shared() {
  return cuemu::dynamic_shared<T>();
}

#else

inline void check_cuda(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

template <auto kernel, class... Args>
void launch_together(Together together, dim3 grid, dim3 block, std::size_t shared_bytes, void* stream, Args... args) {
  constexpr std::size_t kAlwaysAllowed = 48 << 10;
  constexpr unsigned kPortableClusterBlocks = 8;
  if (shared_bytes > kAlwaysAllowed)
    check_cuda(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
        "the GPU has too little shared memory for this kernel");
  const dim3& cluster = together.cluster;
  const unsigned cluster_blocks = cluster.x * cluster.y * cluster.z;
  if (cluster_blocks > kPortableClusterBlocks)
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1),
               "the GPU has no clusters of this size");
  cudaLaunchAttribute attributes[2];
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = attributes;
  if (cluster_blocks > 1) {
    cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {cluster.x, cluster.y, cluster.z};
  }
  if (together.cooperative) {
    cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
  }
  check_cuda(cudaLaunchKernelEx(&config, kernel, args...), __PRETTY_FUNCTION__);
}

template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char nnzoo_dynamic_shared[];
  return reinterpret_cast<T*>(nnzoo_dynamic_shared);
}

#endif

template <auto kernel, class... Args>
void launch(dim3 grid, dim3 block, std::size_t shared_bytes, void* stream, Args... args) {
  launch_together<kernel>(Together{}, grid, block, shared_bytes, stream, args...);
}

template <class T>
constexpr __host__ __device__ T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

}  // namespace nnzoo
