// Programs around kernels, as a student would write them: memory, copies, symbols, events, launches, errors.
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "common/launch.cuh"
#include "guarded.h"

namespace {

void require(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(std::string("does not hold: ") + what);
}
#define REQUIRE(condition) require(condition, #condition)

void succeed(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

__constant__ float scale[4];
__device__ float offsets[8];

__global__ void saxpy(float a, const float* x, float* y, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) y[i] = a * x[i] + y[i] + scale[i % 4] + offsets[i % 8];
}

__global__ void fill_shared(float* out) {
  float* shared = nnzoo::dynamic_shared<float>();
  shared[threadIdx.x] = 1.0f;
  if (threadIdx.x == 0) out[0] = shared[0];
}

void launch_saxpy(int count, const float* x, float* y) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3((count + 255) / 256);
  config.blockDim = dim3(256);
  succeed(cudaLaunchKernelEx(&config, saxpy, 2.0f, x, y, count));
}

}  // namespace

EXPORT(run_saxpy_program)(const float* x, float* y, int count) {
  return guarded([&] {
    float* device_x;
    float* device_y;
    const size_t bytes = count * sizeof(float);
    succeed(cudaMalloc(&device_x, bytes));
    succeed(cudaMalloc(&device_y, bytes));
    succeed(cudaMemcpy(device_x, x, bytes, cudaMemcpyHostToDevice));
    succeed(cudaMemcpy(device_y, y, bytes, cudaMemcpyHostToDevice));
    const float host_scale[4] = {1, 2, 3, 4};
    succeed(cudaMemcpyToSymbol(scale, host_scale, sizeof host_scale));
    float* symbol;
    succeed(cudaGetSymbolAddress(reinterpret_cast<void**>(&symbol), offsets));
    succeed(cudaMemset(symbol, 0, 8 * sizeof(float)));
    cudaEvent_t begin;
    cudaEvent_t end;
    succeed(cudaEventCreate(&begin));
    succeed(cudaEventCreate(&end));
    succeed(cudaEventRecord(begin));
    launch_saxpy(count, device_x, device_y);
    succeed(cudaEventRecord(end));
    succeed(cudaEventSynchronize(end));
    float milliseconds = -1;
    succeed(cudaEventElapsedTime(&milliseconds, begin, end));
    REQUIRE(milliseconds >= 0);
    succeed(cudaGetLastError());
    succeed(cudaDeviceSynchronize());
    succeed(cudaMemcpy(y, device_y, bytes, cudaMemcpyDeviceToHost));
    succeed(cudaFree(device_x));
    succeed(cudaFree(device_y));
    succeed(cudaEventDestroy(begin));
    succeed(cudaEventDestroy(end));
  });
}

EXPORT(run_memory_rules)(int* host) {
  return guarded([&] {
    int* device;
    int* managed;
    int back[4] = {};
    succeed(cudaMalloc(&device, 4 * sizeof(int)));
    REQUIRE(device[0] == -1);  // a NaN, until something is written
    REQUIRE(cudaMemcpy(device, host, 5 * sizeof(int), cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
    REQUIRE(cudaMemcpy(device, host, sizeof(int), cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
    REQUIRE(cudaMemcpy(host, device, sizeof(int), cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
    REQUIRE(cudaMemcpy(device + 2, host, 3 * sizeof(int), cudaMemcpyDefault) == cudaErrorInvalidValue);
    REQUIRE(cudaMemset(host, 0, sizeof(int)) == cudaErrorInvalidValue);
    REQUIRE(cudaMemset(device, 0, 5 * sizeof(int)) == cudaErrorInvalidValue);
    REQUIRE(cudaPeekAtLastError() == cudaErrorInvalidValue);
    REQUIRE(cudaGetLastError() == cudaErrorInvalidValue);
    REQUIRE(cudaGetLastError() == cudaSuccess);
    REQUIRE(cudaMalloc(&managed, size_t{1} << 60) == cudaErrorMemoryAllocation);
    REQUIRE(managed == nullptr);
    succeed(cudaMallocManaged(&managed, 4 * sizeof(int)));
    for (int i = 0; i < 4; ++i) managed[i] = i;
    succeed(cudaMemcpy(device, managed, 4 * sizeof(int), cudaMemcpyHostToDevice));
    succeed(cudaMemcpy2D(back, 2 * sizeof(int), device, 3 * sizeof(int), sizeof(int), 2, cudaMemcpyDeviceToHost));
    REQUIRE(back[0] == 0 && back[2] == 3 && back[1] == 0);
    REQUIRE(cudaFree(host) == cudaErrorInvalidValue);
    REQUIRE(cudaFree(device + 1) == cudaErrorInvalidValue);
    succeed(cudaFree(managed));
    succeed(cudaFree(device));
    REQUIRE(cudaFree(device) == cudaErrorInvalidValue);
    succeed(cudaFree(nullptr));
    REQUIRE(std::string(cudaGetErrorString(cudaGetLastError())) == "invalid argument");
    REQUIRE(std::string(cudaGetErrorName(cudaErrorMemoryAllocation)) == "cudaErrorMemoryAllocation");
  });
}

EXPORT(run_device_rules)(int* host) {
  return guarded([&] {
    int count = 0;
    int blocks = 0;
    int sms = 0;
    cudaDeviceProp properties;
    cudaStream_t stream;
    succeed(cudaGetDeviceCount(&count));
    succeed(cudaGetDeviceProperties(&properties, 0));
    succeed(cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, 0));
    REQUIRE(count == 1 && properties.major == 9 && properties.warpSize == 32);
    REQUIRE(sms == properties.multiProcessorCount);
    REQUIRE(cudaSetDevice(1) == cudaErrorInvalidDevice);
    REQUIRE(cudaGetLastError() == cudaErrorInvalidDevice);
    succeed(cudaStreamCreate(&stream));
    succeed(cudaStreamSynchronize(stream));
    succeed(cudaStreamDestroy(stream));
    succeed(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, fill_shared, 256, 0));
    REQUIRE(blocks == 8);
    succeed(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, fill_shared, 32, 0));
    REQUIRE(blocks == 32);
    succeed(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, fill_shared, 32, 100 << 10));
    REQUIRE(blocks == 2);
    cudaLaunchConfig_t config{};
    float* out = reinterpret_cast<float*>(host);
    config.gridDim = dim3(1);
    config.blockDim = dim3(32);
    config.dynamicSmemBytes = 64 << 10;
    REQUIRE(cudaLaunchKernelEx(&config, fill_shared, out) == cudaErrorInvalidValue);
    REQUIRE(cudaGetLastError() == cudaErrorInvalidValue);
    succeed(cudaFuncSetAttribute(fill_shared, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10));
    succeed(cudaLaunchKernelEx(&config, fill_shared, out));
    REQUIRE(out[0] == 1.0f);
    out[0] = 0.0f;
    void* arguments[] = {&out};
    succeed(cudaLaunchCooperativeKernel(fill_shared, dim3(2), dim3(32), arguments, 128, nullptr));
    REQUIRE(out[0] == 1.0f);
  });
}
