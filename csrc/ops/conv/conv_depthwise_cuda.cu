// Launches of the depthwise kernels.
#include <stdexcept>

#include "ops/conv/conv_depthwise_packs.cuh"
#include "ops/conv/conv_depthwise_planes.cuh"
#include "ops/conv/conv_depthwise_weight.cuh"

namespace nnzoo::cuda {
namespace {

// Two blocks on a multiprocessor have as much each.
constexpr std::int64_t kMostShared = 112 << 10;

int power_of_two(std::int64_t least, int most) {
  int power = 1;
  while (power < least && power < most) power *= 2;
  return power;
}

unsigned checked_blocks(std::int64_t blocks) {
  if (blocks >= std::int64_t{1} << 31) throw std::runtime_error("conv: more tiles than a grid has blocks");
  return static_cast<unsigned>(blocks);
}

// The tiles of a call; no planes in a block where not even one fits.
template <class T>
DepthwisePlanes planes_of(const ConvShape& shape, const std::int64_t (&image_strides)[5],
                          const std::int64_t (&result_strides)[5], bool back) {
  DepthwisePlanes call(Windows(shape, back), image_strides, result_strides);
  call.channels = static_cast<int>(back ? shape.in_channels : shape.out_channels);
  call.multiplier = static_cast<int>(shape.out_channels / shape.groups);
  call.columns = power_of_two(call.windows.count[2], 32);
  call.lines = power_of_two(ceil_div(call.windows.count[1], kRowsOfThread), kProductThreads / call.columns);
  const std::int64_t rows = call.windows.reach(1, call.rows());
  const std::int64_t columns = call.windows.reach(2, call.columns);
  const std::int64_t bytes = rows * columns * static_cast<std::int64_t>(sizeof(Accumulator<T>));
  const std::int64_t fitting = kMostShared / bytes;
  const std::int64_t threads = kProductThreads / (call.columns * call.lines);
  call.planes = static_cast<int>(fitting < threads ? fitting : threads);
  if (call.planes == 0) return call;
  call.image_rows = static_cast<int>(rows);
  call.image_columns = static_cast<int>(columns);
  call.row_tiles = static_cast<unsigned>(ceil_div(call.windows.count[1], call.rows()));
  call.column_tiles = static_cast<unsigned>(ceil_div(call.windows.count[2], call.columns));
  call.channel_tiles = static_cast<unsigned>(ceil_div(call.channels, call.planes));
  return call;
}

template <class T>
void launch_packs(const ConvDepthwise& args, void* stream) {
  DepthwisePacks call{Windows(args.shape, args.back), {}, {}, {}, static_cast<int>(args.shape.out_channels), 1, 0, 0};
  for (int i = 0; i < 4; ++i) {
    call.image_strides[i] = args.image_strides[i ? i + 1 : 0];
    call.result_strides[i] = args.result_strides[i ? i + 1 : 0];
  }
  const int (&count)[3] = call.windows.count;
  const std::int64_t strips[3] = {count[0], count[1], ceil_div(count[2], kStrip)};
  call.strips = Volume(strips);
  call.packs_across = power_of_two(call.channels / kPackSize<T>, 32);
  call.channel_tiles = static_cast<unsigned>(ceil_div(call.channels, call.packs_across * kPackSize<T>));
  const std::int64_t all = args.shape.batch * volume(strips);
  if (all >= std::int64_t{1} << 31) throw std::runtime_error("conv: more strips than 32 bits count");
  call.strip_tiles = static_cast<unsigned>(ceil_div<std::int64_t>(all, kProductThreads / call.packs_across));
  const std::int64_t blocks = std::int64_t{call.channel_tiles} * call.strip_tiles * call.windows.class_count();
  if (blocks == 0) return;
  const auto run = [&](auto width) {
    launch<depthwise_packs_kernel<T, decltype(width)::value>>(
        checked_blocks(blocks), kProductThreads, 0, stream, call, static_cast<const T*>(args.image),
        static_cast<const T*>(args.weight), static_cast<const T*>(args.bias),
        OutputImage<T>(args.result, args.before, args.activation));
  };
  const bool dense = args.shape.stride[2] == 1 && args.shape.dilation[2] == 1;
  switch (dense ? args.shape.kernel[2] : 0) {
    case 3:
      return run(std::integral_constant<int, 3>());
    case 5:
      return run(std::integral_constant<int, 5>());
    case 7:
      return run(std::integral_constant<int, 7>());
    default:
      return run(std::integral_constant<int, 0>());
  }
}

}  // namespace

bool conv_depthwise_planes_fit(const ConvShape& shape, bool back, DType dtype) {
  bool fit = false;
  const std::int64_t strides[5] = {};
  dispatch_dtype(dtype,
                 [&](auto element) { fit = planes_of<decltype(element)>(shape, strides, strides, back).planes; });
  return fit;
}

void conv_depthwise_planes(const ConvDepthwise& args, void* stream) {
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    const DepthwisePlanes call = planes_of<T>(args.shape, args.image_strides, args.result_strides, args.back);
    const std::int64_t blocks = std::int64_t{call.column_tiles} * call.row_tiles * call.windows.count[0] *
                                call.channel_tiles * call.batch * call.windows.class_count();
    if (blocks == 0) return;
    launch<depthwise_planes_kernel<T>>(
        checked_blocks(blocks), kProductThreads, call.planes * call.region() * sizeof(Accumulator<T>), stream, call,
        static_cast<const T*>(args.image), static_cast<const T*>(args.weight), static_cast<const T*>(args.bias),
        OutputImage<T>(args.result, args.before, args.activation));
  });
}

void conv_depthwise_packs(const ConvDepthwise& args, void* stream) {
  dispatch_dtype(args.dtype, [&](auto element) { launch_packs<decltype(element)>(args, stream); });
}

void conv_depthwise_weight(const ConvWeightProduct& args, void* stream) {
  DepthwiseWeight call{
      Windows(args.shape, false), {}, {}, args.part_pixels, static_cast<int>(args.grad_channels), 1, 0, 0, 0};
  for (int i = 0; i < 4; ++i) {
    call.grad_strides[i] = args.grad_strides[i];
    call.image_strides[i] = args.image_strides[i];
  }
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    call.packs_across = power_of_two(call.channels / kPackSize<T>, 32);
    call.channel_tiles = static_cast<unsigned>(ceil_div(call.channels, call.packs_across * kPackSize<T>));
    call.line_tiles = static_cast<unsigned>(ceil_div(call.windows.kernel[0] * call.windows.kernel[1], kTapLines));
    call.tap_tiles = static_cast<unsigned>(ceil_div(call.windows.kernel[2], kTapsOfLine));
    const std::int64_t blocks = std::int64_t{call.channel_tiles} * call.line_tiles * call.tap_tiles * args.parts;
    if (blocks == 0) return;
    launch<depthwise_weight_kernel<T>>(checked_blocks(blocks), kProductThreads, 0, stream, call,
                                       static_cast<const T*>(args.grad), static_cast<const T*>(args.image),
                                       static_cast<Accumulator<T>*>(args.partial));
  });
}

}  // namespace nnzoo::cuda
