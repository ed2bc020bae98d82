// How a kernel is launched and finds its dynamic shared memory, the same under nvcc and under the emulator.
//
//     launch<scale_kernel<float>>(grid, block, shared_bytes, stream, output, input, count);
//
// What goes wrong becomes a C++ exception, which pybind11 turns into a Python one.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

#include "cuemu/cuda.h"

namespace nnzoo {

#ifdef NNZOO_CUEMU

template <auto kernel, class... Args>
void launch(dim3 grid, dim3 block, std::size_t shared_bytes, void* /*stream*/, Args... args) {
  cuemu::launch(__PRETTY_FUNCTION__, kernel, grid, block, shared_bytes, args...);
}

template <class T>
__device__ T* dynamic_shared() {
  return static_cast<T*>(cuemu::dynamic_shared_memory());
}

#else

inline void check_cuda(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

template <auto kernel, class... Args>
void launch(dim3 grid, dim3 block, std::size_t shared_bytes, void* stream, Args... args) {
  constexpr std::size_t kAlwaysAllowed = 48 << 10;
  if (shared_bytes > kAlwaysAllowed)
    check_cuda(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
        "the GPU has too little shared memory for this kernel");
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  check_cuda(cudaLaunchKernelEx(&config, kernel, args...), __PRETTY_FUNCTION__);
}

template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char nnzoo_dynamic_shared[];
  return reinterpret_cast<T*>(nnzoo_dynamic_shared);
}

#endif

template <class T>
constexpr __host__ __device__ T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

}  // namespace nnzoo
