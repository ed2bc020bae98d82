// What all CUDA kernels of conv share: where an element of an image lies.
#pragma once

#include "common/dtype.cuh"
#include "common/launch.cuh"
#include "ops/conv/conv_cuda.h"

namespace nnzoo::cuda {

constexpr int kProductThreads = 256;  // of a block

// Below as many blocks an H200's multiprocessors don't all have one.
constexpr std::int64_t kMultiprocessors = 132;

// In elements: batch, channel, and three dimensions of space.
struct ImageStrides {
  std::int64_t of[5];

  explicit ImageStrides(const std::int64_t (&strides)[5]) {
    for (int i = 0; i < 5; ++i) of[i] = strides[i];
  }
  template <class Index>
  __device__ std::int64_t at(std::int64_t n, std::int64_t channel, const Index (&place)[3]) const {
    return n * of[0] + channel * of[1] + place[0] * of[2] + place[1] * of[3] + place[2] * of[4];
  }
};

inline __host__ __device__ std::int64_t volume(const std::int64_t (&size)[3]) { return size[0] * size[1] * size[2]; }

}  // namespace nnzoo::cuda
