// Launches of the direct convolution.
#include <stdexcept>

#include "ops/conv/conv_direct.cuh"

namespace nnzoo::cuda {
namespace {

int bits_of(std::int64_t count, int most) {
  int bits = 0;
  while (bits < most && (std::int64_t{1} << bits) < count) ++bits;
  return bits;
}

// A tile of 128 windows: 16 along a line at first, then up and, where the image is no larger, along again.
Direct direct_of(const ConvDirect& args) {
  constexpr int kRowBits = 7;
  constexpr int kLineBits = 4;
  const ConvShape& shape = args.shape;
  Direct call(Windows(shape, args.back), args.image_strides);
  call.units = static_cast<int>(args.units);
  call.channels = static_cast<int>((args.back ? shape.out_channels : shape.in_channels) / shape.groups);
  call.columns = static_cast<int>((args.back ? shape.in_channels : shape.out_channels) / shape.groups);
  const int (&count)[3] = call.windows.count;
  call.bits[2] = bits_of(count[2], kLineBits);
  call.bits[1] = bits_of(count[1], kRowBits - call.bits[2]);
  call.bits[0] = bits_of(count[0], kRowBits - call.bits[2] - call.bits[1]);
  call.bits[2] = kRowBits - call.bits[1] - call.bits[0];
  std::int64_t sides[3];
  for (int d = 0; d < 3; ++d) {
    const int side = 1 << call.bits[d];
    sides[d] = call.windows.reach(d, side < count[d] ? side : count[d]);
    call.sides[d] = static_cast<int>(sides[d]);
    call.tiles[d] = static_cast<unsigned>(ceil_div<std::int64_t>(count[d], std::int64_t{1} << call.bits[d]));
  }
  const std::int64_t places = sides[0] * sides[1] * sides[2];
  call.region = Volume(sides);
  if (places >= 1 << 20) call.region.whole.divisor = 0;  // fits nowhere
  return call;
}

template <class Tile>
bool fits(const Direct& call) {
  return call.region.whole.divisor && Tile::shared_bytes(call) <= Tile::kMostShared;
}

template <class Tile>
std::int64_t blocks_of(const Direct& call, std::int64_t groups) {
  return std::int64_t{call.tiles[0]} * call.tiles[1] * call.tiles[2] * call.batch *
         ceil_div(call.columns, Tile::kColumns) * call.windows.class_count() * groups;
}

template <class Tile>
void launch_direct(Direct call, const ConvDirect& args, void* stream) {
  using T = typename Tile::T;
  const std::int64_t blocks = blocks_of<Tile>(call, args.shape.groups);
  if (blocks == 0) return;
  if (blocks >= std::int64_t{1} << 31) throw std::runtime_error("conv: more tiles than a grid has blocks");
  call.column_tiles = static_cast<unsigned>(ceil_div(call.columns, Tile::kColumns));
  const ResultImage<T> result(OutputImage<T>(args.result, args.before, args.activation), args.result_strides,
                              call.columns, call.windows, true);
  launch<direct_kernel<Tile>>(static_cast<unsigned>(blocks), kProductThreads, Tile::shared_bytes(call), stream, call,
                              static_cast<const T*>(args.image), static_cast<const T*>(args.weight),
                              static_cast<const T*>(args.bias), result);
}

template <class Math>
void launch_tensor_direct(const Direct& call, const ConvDirect& args, void* stream) {
  using Wide = DirectTile<Math, 128>;
  if (call.columns > 64 && fits<Wide>(call) && blocks_of<Wide>(call, args.shape.groups) >= kMultiprocessors)
    return launch_direct<Wide>(call, args, stream);
  launch_direct<DirectTile<Math, 64>>(call, args, stream);
}

}  // namespace

bool conv_direct_fits(const ConvDirect& args) {
  const Direct call = direct_of(args);
  bool found = false;
  dispatch_dtype(args.dtype, [&](auto element) { found = fits<DirectTile<Fma<decltype(element)>, 64>>(call); });
  return found;
}

void conv_direct(const ConvDirect& args, bool allow_tf32, void* stream) {
  const Direct call = direct_of(args);
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    if constexpr (sizeof(T) == 2) {
      launch_tensor_direct<Tensor<T>>(call, args, stream);
    } else {
      if constexpr (sizeof(T) == 4) {
        if (allow_tf32) return launch_tensor_direct<Tensor<T>>(call, args, stream);
      }
      launch_direct<DirectTile<Fma<T>, 64>>(call, args, stream);
    }
  });
}

}  // namespace nnzoo::cuda
