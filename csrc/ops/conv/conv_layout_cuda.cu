// Images and weights with their channels made adjacent, in whole units. A warp reads one pack of channels of 32
// neighbouring places, whole lines where places are adjacent in memory, and a thread writes packs of neighbouring
// channels, 128 bytes to eight threads: the tile is turned in shared memory, its packs permuted against bank conflicts.
#include <stdexcept>

#include "common/divide.cuh"
#include "ops/conv/conv_images.cuh"

namespace nnzoo::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPlaces = 32;

template <class T>
struct Layout {
  const T* from;
  T* to;
  Volume places;
  std::int64_t from_strides[6];
  std::int64_t to_strides[3];
  int channels, units;
  int across;  // units of a block's tile: 1, 2, 4 or 8
  unsigned place_tiles, unit_tiles, groups;
};

template <class T, int unit>
__global__ void __launch_bounds__(kThreads) layout_kernel(Layout<T> layout) {
  using Unit = Pack<T, unit>;
  __shared__ Unit tile[kThreads];
  unsigned index = blockIdx.x;
  const unsigned unit_tile = index % layout.unit_tiles;
  index /= layout.unit_tiles;
  const unsigned place_tile = index % layout.place_tiles;
  index /= layout.place_tiles;
  const std::int64_t group = index % layout.groups;
  const std::int64_t n = index / layout.groups;
  const int first_unit = unit_tile * layout.across;
  const unsigned first_place = place_tile * (kThreads / layout.across);

  const auto cell = [&](int place, int i) { return place * layout.across + (i ^ (place & (layout.across - 1))); };
  const int warp = threadIdx.x / kPlaces;
  {
    const int i = warp % layout.across;
    const int place = warp / layout.across * kPlaces + threadIdx.x % kPlaces;
    const int channel = (first_unit + i) * unit;
    Unit values;
    if (first_place + place < layout.places.whole.divisor) {
      const Position at = layout.places.split(first_place + place);
      const T* from = layout.from + n * layout.from_strides[0] + group * layout.from_strides[1] +
                      channel * layout.from_strides[2] + at.at[0] * layout.from_strides[3] +
                      at.at[1] * layout.from_strides[4] + at.at[2] * layout.from_strides[5];
#pragma unroll
      for (int j = 0; j < unit; ++j) {
        values.values[j] = channel + j < layout.channels ? *from : narrow<T>(0);
        from += layout.from_strides[2];
      }
    }
    tile[cell(place, i)] = values;
  }
  __syncthreads();
  const int i = threadIdx.x % layout.across;
  const int place = threadIdx.x / layout.across;
  if (first_unit + i >= layout.units || first_place + place >= layout.places.whole.divisor) return;
  T* const to = layout.to + n * layout.to_strides[0] + group * layout.to_strides[1] +
                (first_place + place) * layout.to_strides[2] + (first_unit + i) * unit;
  *reinterpret_cast<Unit*>(to) = tile[cell(place, i)];
}

template <class T, int unit>
void lay(const ConvLayout& args, void* stream) {
  Layout<T> layout{
      static_cast<const T*>(args.from),  static_cast<T*>(args.to), Volume(args.size), {}, {}, 0, 0, 0, 0, 0,
      static_cast<unsigned>(args.groups)};
  for (int i = 0; i < 6; ++i) layout.from_strides[i] = args.from_strides[i];
  for (int i = 0; i < 3; ++i) layout.to_strides[i] = args.to_strides[i];
  layout.channels = static_cast<int>(args.channels);
  layout.units = static_cast<int>(args.padded / unit);
  layout.across = 1;
  while (layout.across < 8 && layout.across < layout.units) layout.across *= 2;
  layout.unit_tiles = static_cast<unsigned>(ceil_div(layout.units, layout.across));
  layout.place_tiles = static_cast<unsigned>(ceil_div<std::int64_t>(volume(args.size), kThreads / layout.across));
  const std::int64_t blocks = args.batch * args.groups * layout.unit_tiles * layout.place_tiles;
  if (blocks == 0) return;
  if (blocks >= std::int64_t{1} << 31) throw std::runtime_error("conv: more tiles than a grid has blocks");
  launch<layout_kernel<T, unit>>(static_cast<unsigned>(blocks), kThreads, 0, stream, layout);
}

}  // namespace

void conv_lay(const ConvLayout& args, void* stream) {
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    if constexpr (sizeof(T) == 2) {
      if (args.padded % 8) return lay<T, 4>(args, stream);
    }
    lay<T, kPackSize<T>>(args, stream);
  });
}

}  // namespace nnzoo::cuda
