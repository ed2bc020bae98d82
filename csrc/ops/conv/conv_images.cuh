// What all CUDA kernels of conv share: where an element of an image lies.
#pragma once

#include "common/activation.cuh"
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

// Writes a sum, activated, to element `at` of an image, and as it was to that of `before`, if that is wanted.
template <class T>
struct OutputImage {
  T* image;
  T* before;
  Activation activation;

  OutputImage(void* image_, void* before_ = nullptr, int activation_ = 0)
      : image(static_cast<T*>(image_)),
        before(static_cast<T*>(before_)),
        activation(static_cast<Activation>(activation_)) {}

  __device__ void operator()(std::int64_t at, Accumulator<T> sum) const {
    if (before) before[at] = narrow<T>(sum);
    image[at] = narrow<T>(activate(activation, sum));
  }

  // The same for neighbours, all in one store.
  template <int count>
  __device__ void put_pack(std::int64_t at, Accumulator<T> (&sums)[count]) const {
    if (before) store<count>(before + at, sums);
    activate_all<1>(activation, sums);
    store<count>(image + at, sums);
  }

 private:
  template <int count>
  static __device__ void store(T* to, const Accumulator<T> (&sums)[count]) {
    Pack<T, count> pack;
#pragma unroll
    for (int i = 0; i < count; ++i) pack.values[i] = narrow<T>(sums[i]);
    *reinterpret_cast<Pack<T, count>*>(to) = pack;
  }
};

inline __host__ __device__ std::int64_t volume(const std::int64_t (&size)[3]) { return size[0] * size[1] * size[2]; }

}  // namespace nnzoo::cuda
