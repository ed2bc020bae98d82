// What went wrong, as the runtime says it.
#include "cuemu/host_api.h"

namespace cuemu {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

struct ErrorText {
  cudaError_t error;
  const char* name;
  const char* text;
};
#define CUEMU_ERROR(name, text) {name, #name, text}
constexpr ErrorText kErrors[] = {
    CUEMU_ERROR(cudaSuccess, "no error"),
    CUEMU_ERROR(cudaErrorInvalidValue, "invalid argument"),
    CUEMU_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    CUEMU_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    CUEMU_ERROR(cudaErrorInvalidSymbol, "invalid device symbol"),
    CUEMU_ERROR(cudaErrorInvalidDevicePointer, "invalid device pointer"),
    CUEMU_ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    CUEMU_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    CUEMU_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    CUEMU_ERROR(cudaErrorNotReady, "device not ready"),
    CUEMU_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    CUEMU_ERROR(cudaErrorCooperativeLaunchTooLarge, "too many blocks in cooperative launch"),
    CUEMU_ERROR(cudaErrorNotSupported, "operation not supported"),
};
#undef CUEMU_ERROR
constexpr ErrorText kUnknownError{cudaErrorUnknown, "cudaErrorUnknown", "unknown error"};

const ErrorText& error_text(cudaError_t error) {
  for (const ErrorText& entry : kErrors)
    if (entry.error == error) return entry;
  return kUnknownError;
}

}  // namespace

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

}  // namespace cuemu

cudaError_t cudaPeekAtLastError() { return cuemu::last_error; }

cudaError_t cudaGetLastError() {
  const cudaError_t error = cuemu::last_error;
  cuemu::last_error = cudaSuccess;
  return error;
}

const char* cudaGetErrorString(cudaError_t error) { return cuemu::error_text(error).text; }
const char* cudaGetErrorName(cudaError_t error) { return cuemu::error_text(error).name; }
