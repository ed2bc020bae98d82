// The CUDA kernels: nnzoo_fast._cuda, built by nvcc for a GPU, and nnzoo_fast._cuemu, the same sources on the emulator.
// Each op registers its own functions; this file knows none of them.
#include <string>

#include "common/bind.h"

#ifndef NNZOO_CUEMU
#include <cuda_runtime.h>
#endif

namespace {

#ifdef NNZOO_CUEMU

// The kernels are built with fused multiply-add, which every GPU has.
std::string why_unavailable() {
#ifdef __x86_64__
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return "the CPU has no AVX2 or no FMA";
#endif
  return "";
}
int device_count() { return why_unavailable().empty() ? 1 : 0; }
pybind11::dict build_info() {
  pybind11::dict info;
  info["emulated"] = true;
  info["compiler_version"] = __VERSION__;
  return info;
}

#else

// Asks the driver; a machine without one is no error, and the module loads there.
std::string why_unavailable() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    cudaGetLastError();
    return cudaGetErrorString(error);
  }
  return count > 0 ? "" : "there is no CUDA device";
}

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) cudaGetLastError();
  return count;
}

pybind11::dict build_info() {
  int driver = 0;
  cudaDriverGetVersion(&driver);
  pybind11::dict info;
  info["emulated"] = false;
  info["compiler_version"] = __VERSION__;
  info["cuda_runtime"] = CUDART_VERSION;
  info["cuda_driver"] = driver;
  info["cuda_archs"] = NNZOO_CUDA_ARCHS;
  return info;
}

#endif

}  // namespace

PYBIND11_MODULE(NNZOO_CUDA_MODULE, module) {
  module.doc() = "CUDA kernels of nnzoo_fast: pointers, sizes and a stream in, no torch inside.";
  module.def("why_unavailable", &why_unavailable, "Why no kernel can run here; empty when they can.");
  module.def("is_available", [] { return why_unavailable().empty(); }, "Whether kernels can run on this machine.");
  module.def("device_count", &device_count, "The number of devices that kernels can run on.");
  module.def("build_info", &build_info, "What built this module, and for which architectures.");
  nnzoo::bind_all(module);
}
