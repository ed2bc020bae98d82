// The sum of each channel of a batch of images: the gradient of a convolution's bias.
#pragma once

#include "common/reduce.h"
#include "ops/conv/conv_planes.h"

namespace nnzoo {
namespace NNZOO_ISA {

// sums[c] = the sum over images n and pixels (d, h, w) of images[n, c, d, h, w]; `size` is that of an image.
template <class S>
void channel_sums(const ImageTensor<S>& images, std::int64_t batch, std::int64_t channels,
                  const std::int64_t (&size)[3], S* sums, int threads) {
  using T = Compute<S>;
  const std::int64_t* const stride = images.stride;
  const std::int64_t rows = batch * size[0] * size[1], width = size[2];
  if (stride[1] == 1 && stride[4] == channels && stride[3] == width * stride[4] &&
      (size[0] == 1 || stride[2] == size[1] * stride[3]) &&
      (batch == 1 || stride[0] == size[0] * size[1] * stride[3])) {
    column_sums<T>(rows * width, channels, images.data, stride[4], sums, threads);
    return;
  }
  parallel_for(channels, threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) {
      double total = 0;
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t h = r % size[1], d = r / size[1] % size[0], n = r / size[1] / size[0];
        const S* const row = images.data + n * stride[0] + c * stride[1] + d * stride[2] + h * stride[3];
        if (stride[4] == 1) {
          Vec<T> sum = Vec<T>::zero();
          for_each_vector<T>(width, [&](std::int64_t w, int count) { sum += Vec<T>::load(row + w, count); });
          total += reduce_add(sum);
        } else {
          for (std::int64_t w = 0; w < width; ++w) total += to_float(row[w * stride[4]]);
        }
      }
      sums[c] = from_float<S>(total);
    }
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
