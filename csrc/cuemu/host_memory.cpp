// Device memory: host memory of which the runtime remembers where it is, so that a copy in the wrong direction or
// beyond its end is an error here too.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "cuemu/allocations.h"
#include "cuemu/host_api.h"
#include "cuemu/observer.h"

namespace cuemu {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kPitch = 512;

enum class Kind { device, managed, host, symbol };

struct Entry {
  std::size_t bytes;
  Kind kind;
  bool is_the_observers = false;
};

std::mutex mutex;

std::map<std::uintptr_t, Entry>& entries() {
  static auto* entries = new std::map<std::uintptr_t, Entry>;
  return *entries;
}

std::size_t total_memory() {
  return static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) / 2;
}

std::size_t used_memory() {
  std::size_t sum = 0;
  for (auto& [address, entry] : entries()) sum += entry.kind == Kind::symbol ? 0 : entry.bytes;
  return sum;
}

// Memory that the host may write to without the runtime counts as initialised.
void* observed_memory(std::size_t bytes, Kind kind) {
  static int count = 0;
  const char* function = kind == Kind::device    ? "cudaMalloc"
                         : kind == Kind::managed ? "cudaMallocManaged"
                                                 : "cudaMallocHost";
  return observer->allocates(bytes, kind != Kind::device,
                             std::string(function) + ", allocation " + std::to_string(++count));
}

// Every byte 0xff: a NaN in each floating-point type.
cudaError_t allocate(void** pointer, std::size_t bytes, Kind kind) {
  if (!pointer) return remember(cudaErrorInvalidValue);
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  std::lock_guard<std::mutex> lock(mutex);
  if (bytes > total_memory() - used_memory()) return remember(cudaErrorMemoryAllocation);
  void* memory = observer ? observed_memory(bytes, kind)
                          : std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (!memory) return remember(cudaErrorMemoryAllocation);
  std::memset(memory, 0xff, bytes);
  entries()[reinterpret_cast<std::uintptr_t>(memory)] = {bytes, kind, observer != nullptr};
  *pointer = memory;
  return cudaSuccess;
}

cudaError_t release(void* pointer, bool host) {
  if (!pointer) return cudaSuccess;
  std::lock_guard<std::mutex> lock(mutex);
  auto found = entries().find(reinterpret_cast<std::uintptr_t>(pointer));
  if (found == entries().end() || found->second.kind == Kind::symbol || (found->second.kind == Kind::host) != host)
    return remember(cudaErrorInvalidValue);
  if (!found->second.is_the_observers) {
    std::free(pointer);
  } else if (observer) {
    observer->frees(pointer);
  }
  entries().erase(found);
  return cudaSuccess;
}

// The entry that `address` lies in, or end().
std::map<std::uintptr_t, Entry>::iterator find(const void* address) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  auto next = entries().upper_bound(at);
  if (next == entries().begin()) return entries().end();
  --next;
  return at < next->first + next->second.bytes ? next : entries().end();
}

// Whether [address, address + bytes) may stand on the device's side, or on the host's.
bool is_range(const void* address, std::size_t bytes, bool on_device) {
  auto found = find(address);
  if (found == entries().end()) return !on_device;
  const auto& [begin, entry] = *found;
  if (reinterpret_cast<std::uintptr_t>(address) + bytes > begin + entry.bytes) return false;
  if (entry.kind == Kind::managed) return true;
  return on_device == (entry.kind != Kind::host);
}

bool is_copy(const void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  std::lock_guard<std::mutex> lock(mutex);
  if (kind == cudaMemcpyDefault)
    return (is_range(to, bytes, true) || is_range(to, bytes, false)) &&
           (is_range(from, bytes, true) || is_range(from, bytes, false));
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  return is_range(to, bytes, to_device) && is_range(from, bytes, from_device);
}

}  // namespace

Allocation find_allocation(const void* address) {
  std::lock_guard<std::mutex> lock(mutex);
  auto found = find(address);
  if (found == entries().end()) return {};
  return {reinterpret_cast<char*>(found->first), found->second.bytes};
}

cudaError_t copy_symbol(void* to, const void* from, std::size_t bytes, std::size_t symbol_bytes, std::size_t offset) {
  if (offset > symbol_bytes || bytes > symbol_bytes - offset) return remember(cudaErrorInvalidValue);
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}

cudaError_t register_symbol(void* symbol, std::size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  entries()[reinterpret_cast<std::uintptr_t>(symbol)] = {bytes, Kind::symbol};
  return cudaSuccess;
}

}  // namespace cuemu

using cuemu::Kind;
using cuemu::observer;
using cuemu::remember;

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) { return cuemu::allocate(pointer, bytes, Kind::device); }

cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) { return cuemu::allocate(pointer, bytes, Kind::host); }

cudaError_t cudaMallocManaged(void** pointer, std::size_t bytes, unsigned /*flags*/) {
  return cuemu::allocate(pointer, bytes, Kind::managed);
}

cudaError_t cudaMallocPitch(void** pointer, std::size_t* pitch, std::size_t width, std::size_t height) {
  *pitch = (width + cuemu::kPitch - 1) / cuemu::kPitch * cuemu::kPitch;
  return cudaMalloc(pointer, *pitch * height);
}

cudaError_t cudaFree(void* pointer) { return cuemu::release(pointer, false); }
cudaError_t cudaFreeHost(void* pointer) { return cuemu::release(pointer, true); }

cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  std::lock_guard<std::mutex> lock(cuemu::mutex);
  *total_bytes = cuemu::total_memory();
  *free_bytes = *total_bytes - cuemu::used_memory();
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (bytes == 0) return cudaSuccess;
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) return remember(cudaErrorInvalidMemcpyDirection);
  if (!to || !from || !cuemu::is_copy(to, from, bytes, kind)) return remember(cudaErrorInvalidValue);
  std::memmove(to, from, bytes);
  if (observer) observer->host_writes(to, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                         std::size_t height, cudaMemcpyKind kind) {
  if (width > to_pitch || width > from_pitch) return remember(cudaErrorInvalidValue);
  for (std::size_t row = 0; row < height; ++row) {
    const cudaError_t error = cudaMemcpy(static_cast<char*>(to) + row * to_pitch,
                                         static_cast<const char*>(from) + row * from_pitch, width, kind);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t cudaMemset(void* pointer, int value, std::size_t bytes) {
  if (bytes == 0) return cudaSuccess;
  {
    std::lock_guard<std::mutex> lock(cuemu::mutex);
    if (!cuemu::is_range(pointer, bytes, true)) return remember(cudaErrorInvalidValue);
  }
  std::memset(pointer, value, bytes);
  if (observer) observer->host_writes(pointer, bytes);
  return cudaSuccess;
}
