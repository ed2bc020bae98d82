// The device as the runtime describes it, kernels' attributes, streams and events.
#include <dlfcn.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <mutex>

#include "cuemu/host_api.h"

struct CudaEvent {
  bool recorded;
  std::chrono::steady_clock::time_point time;
};

namespace cuemu {
namespace {

std::mutex mutex;
std::map<const void*, std::size_t>& asked_shared_bytes() {
  static auto* bytes = new std::map<const void*, std::size_t>;
  return *bytes;
}

}  // namespace

const char* kernel_symbol(const void* kernel) {
  Dl_info info;
  return dladdr(kernel, &info) && info.dli_sname ? info.dli_sname : "(unnamed)";
}

std::size_t allowed_shared_bytes(const void* kernel) {
  std::lock_guard<std::mutex> lock(mutex);
  auto found = asked_shared_bytes().find(kernel);
  return found == asked_shared_bytes().end() ? kSharedPerBlockUnasked : found->second;
}

std::size_t largest_allowed_shared_bytes() {
  std::lock_guard<std::mutex> lock(mutex);
  std::size_t largest = kSharedPerBlockUnasked;
  for (auto& [kernel, bytes] : asked_shared_bytes()) largest = bytes > largest ? bytes : largest;
  return largest;
}

cudaError_t set_function_attribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<std::size_t>(value) > kSharedPerBlock) return remember(cudaErrorInvalidValue);
  std::lock_guard<std::mutex> lock(mutex);
  std::size_t& bytes = asked_shared_bytes()[kernel];
  bytes = static_cast<std::size_t>(value) > kSharedPerBlockUnasked ? static_cast<std::size_t>(value)
                                                                   : kSharedPerBlockUnasked;
  return cudaSuccess;
}

cudaError_t occupancy(int* blocks, int threads, std::size_t shared_bytes) {
  *blocks = 0;
  if (threads <= 0) return remember(cudaErrorInvalidValue);
  if (static_cast<unsigned>(threads) > kThreadsPerBlock || shared_bytes > kSharedPerBlock) return cudaSuccess;
  *blocks = static_cast<int>(co_resident_blocks(static_cast<unsigned>(threads), shared_bytes));
  return cudaSuccess;
}

}  // namespace cuemu

using cuemu::remember;

cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaDeviceReset() { return cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : remember(cudaErrorInvalidDevice); }

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return remember(cudaErrorInvalidDevice);
  std::size_t free_bytes;
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "cuemu (compute capability 9.0 on the CPU)");
  cudaMemGetInfo(&free_bytes, &properties->totalGlobalMem);
  properties->sharedMemPerBlock = cuemu::kSharedPerBlockUnasked;
  properties->regsPerBlock = 65536;
  properties->warpSize = warpSize;
  properties->maxThreadsPerBlock = cuemu::kThreadsPerBlock;
  properties->maxThreadsDim[0] = properties->maxThreadsDim[1] = 1024;
  properties->maxThreadsDim[2] = 64;
  properties->maxGridSize[0] = 0x7fffffff;
  properties->maxGridSize[1] = properties->maxGridSize[2] = 65535;
  properties->totalConstMem = 64 << 10;
  properties->major = 9;
  properties->minor = 0;
  properties->multiProcessorCount = cuemu::kMultiprocessors;
  properties->l2CacheSize = 50 << 20;
  properties->maxThreadsPerMultiProcessor = cuemu::kThreadsPerMultiprocessor;
  properties->maxBlocksPerMultiProcessor = cuemu::kBlocksPerMultiprocessor;
  properties->sharedMemPerMultiprocessor = cuemu::kSharedPerMultiprocessor;
  properties->sharedMemPerBlockOptin = cuemu::kSharedPerBlock;
  properties->reservedSharedMemPerBlock = cuemu::kSharedReserved;
  properties->regsPerMultiprocessor = 65536;
  properties->concurrentKernels = 1;
  properties->cooperativeLaunch = 1;
  properties->managedMemory = 1;
  properties->unifiedAddressing = 1;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return remember(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = cuemu::kThreadsPerBlock;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(cuemu::kSharedPerBlockUnasked);
      return cudaSuccess;
    case cudaDevAttrWarpSize:
      *value = warpSize;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = cuemu::kMultiprocessors;
      return cudaSuccess;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = cuemu::kThreadsPerMultiprocessor;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(cuemu::kSharedPerMultiprocessor);
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(cuemu::kSharedPerBlock);
      return cudaSuccess;
    case cudaDevAttrCooperativeLaunch:
    case cudaDevAttrClusterLaunch:
      *value = 1;
      return cudaSuccess;
  }
  return remember(cudaErrorInvalidValue);
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  *stream = new char;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete static_cast<char*>(stream);
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CudaEvent{};
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t /*stream*/) {
  if (!event) return remember(cudaErrorInvalidResourceHandle);
  *event = {true, std::chrono::steady_clock::now()};
  return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  if (!begin || !end || !begin->recorded || !end->recorded) return remember(cudaErrorInvalidResourceHandle);
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return cudaSuccess;
}
