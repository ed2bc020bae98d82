// The last rung's gradients of weight and bias on images with adjacent channels: sums over parts of the pixels, then
// the sums of those.
#include <stdexcept>

#include "ops/conv/conv_grad_weight.cuh"

namespace nnzoo::cuda {
namespace {

// A thread's pack of channels, summed over every `kLanes`th pixel of a part; then the block's lanes are added up.
template <class T>
__global__ void __launch_bounds__(kProductThreads)
    bias_parts_kernel(const T* grad, Volume places, ImageStrides strides, std::int64_t pixels, std::int64_t part_pixels,
                      std::int64_t channels, Accumulator<T>* partial) {
  constexpr int kPack = kPackSize<T>;
  constexpr int kLanes = kProductThreads / 8;
  __shared__ Accumulator<T> scratch[kLanes][8 * kPack];
  const int pack = threadIdx.x % 8;
  const int lane = threadIdx.x / 8;
  const std::int64_t first_channel = static_cast<std::int64_t>(blockIdx.x) * 8 * kPack;
  const std::int64_t begin = blockIdx.y * part_pixels;
  const std::int64_t left = pixels - begin;
  const int count = static_cast<int>(left < part_pixels ? left : part_pixels);
  const std::int64_t first_image = begin / places.whole.divisor;
  const unsigned first = static_cast<unsigned>(begin - first_image * places.whole.divisor);
  Accumulator<T> sums[kPack] = {};
  if (first_channel + pack * kPack < channels) {
    for (int i = lane; i < count; i += kLanes) {
      const Position at = places.split(first + i);
      const auto values = *reinterpret_cast<const Pack<T, kPack>*>(
          grad + strides.at(first_image + at.outer, first_channel + pack * kPack, at.at));
#pragma unroll
      for (int j = 0; j < kPack; ++j) sums[j] += widen(values.values[j]);
    }
  }
#pragma unroll
  for (int j = 0; j < kPack; ++j) scratch[lane][pack * kPack + j] = sums[j];
  __syncthreads();
  const int channel = threadIdx.x;
  if (channel >= 8 * kPack || first_channel + channel >= channels) return;
  Accumulator<T> sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += scratch[i][channel];
  partial[blockIdx.y * channels + first_channel + channel] = sum;
}

template <class Tile>
void launch_weight_product(WeightProduct product, const ConvWeightProduct& args, void* stream) {
  using T = typename Tile::T;
  const std::int64_t depth = product.windows.taps() * args.units * args.unit;
  product.row_tiles = static_cast<unsigned>(ceil_div(product.rows, Tile::kRows));
  product.column_tiles = static_cast<unsigned>(ceil_div<std::int64_t>(depth, Tile::kColumns));
  const std::int64_t blocks = args.parts * args.shape.groups * product.row_tiles * product.column_tiles;
  if (blocks == 0) return;
  if (blocks >= std::int64_t{1} << 31) throw std::runtime_error("conv: more tiles than a grid has blocks");
  launch<weight_product_kernel<Tile>>(static_cast<unsigned>(blocks), kProductThreads, Tile::shared_bytes(), stream,
                                      product, static_cast<const T*>(args.grad), static_cast<const T*>(args.image),
                                      static_cast<Accumulator<T>*>(args.partial));
}

template <class Math, int unit>
void launch_tensor_weight_product(const WeightProduct& product, const ConvWeightProduct& args, void* stream) {
  if (product.windows.taps() * args.units * args.unit > 64)
    return launch_weight_product<WeightTile<Math, 128, 128, unit>>(product, args, stream);
  launch_weight_product<WeightTile<Math, 128, 64, unit>>(product, args, stream);
}

}  // namespace

void conv_weight_product(const ConvWeightProduct& args, bool allow_tf32, void* stream) {
  WeightProduct product{Windows(args.shape, false), {}, {}, args.part_pixels, 0, 0, 0, 0, 0, 0};
  for (int i = 0; i < 4; ++i) {
    product.grad_strides[i] = args.grad_strides[i];
    product.image_strides[i] = args.image_strides[i];
  }
  product.rows = static_cast<int>(args.shape.out_channels / args.shape.groups);
  product.grad_channels = static_cast<int>(args.grad_channels);
  product.units = static_cast<int>(args.units);
  product.groups = static_cast<unsigned>(args.shape.groups);
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    if constexpr (sizeof(T) == 2) {
      if (args.unit == 4) return launch_tensor_weight_product<Tensor<T>, 4>(product, args, stream);
      launch_tensor_weight_product<Tensor<T>, 8>(product, args, stream);
    } else {
      if constexpr (sizeof(T) == 4) {
        if (allow_tf32) return launch_tensor_weight_product<Tensor<T>, 4>(product, args, stream);
      }
      launch_weight_product<WeightTile<Fma<T>, 128, 64, kPackSize<T>>>(product, args, stream);
    }
  });
}

void conv_bias_parts(const ConvBiasParts& args, void* stream) {
  if (args.channels * args.parts == 0) return;
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    const std::int64_t strides[5] = {args.grad_strides[0], 1, args.grad_strides[1], args.grad_strides[2],
                                     args.grad_strides[3]};
    const dim3 grid(static_cast<unsigned>(ceil_div<std::int64_t>(args.channels, 8 * kPackSize<T>)),
                    static_cast<unsigned>(args.parts));
    launch<bias_parts_kernel<T>>(grid, kProductThreads, 0, stream, static_cast<const T*>(args.grad), Volume(args.size),
                                 ImageStrides(strides), args.batch * volume(args.size), args.part_pixels, args.channels,
                                 static_cast<Accumulator<T>*>(args.partial));
  });
}

void conv_sum_parts(const ConvPartSums& args, void* stream) {
  const std::int64_t count = args.rows * args.taps * args.padded;
  if (count == 0) return;
  constexpr std::int64_t kMostBlocks = (std::int64_t{1} << 31) - 1;
  const std::int64_t blocks = ceil_div<std::int64_t>(count, kProductThreads);
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    launch<sum_parts_kernel<T>>(static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks), kProductThreads, 0,
                                stream, static_cast<const Accumulator<T>*>(args.partial), static_cast<T*>(args.result),
                                args.parts, args.rows, args.taps, args.padded, args.channels);
  });
}

}  // namespace nnzoo::cuda
