#include "ops/gather_scatter/gather_scatter.cuh"
#include "ops/gather_scatter/gather_scatter_cuda.h"

namespace nnzoo::cuda {
namespace {

// Which reductions are wanted and where each one's rows go.
template <class T>
struct Outputs {
  T* sum;
  T* mean;
  T* max;
  T* min;
};

template <class T, int width>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    forward_kernel(EdgeGroups in, const T* x, std::int64_t x_stride, Weights<T> weights, int features, Outputs<T> out,
                   Team team) {
  using A = Accumulator<T>;
  const std::int64_t target = team.row();
  if (target >= in.num_groups) return;
  const std::int32_t count = in.start[target + 1] - in.start[target];
  const A scale = count > 0 ? A(1) / A(count) : A(0);
  for (int feature = team.lane() * width; feature < features; feature += team.lanes * width) {
    A sum[width];
    A max[width];
    A min[width];
#pragma unroll
    for (int i = 0; i < width; ++i) {
      sum[i] = A(0);
      max[i] = count > 0 ? -A(INFINITY) : A(0);
      min[i] = count > 0 ? A(INFINITY) : A(0);
    }
    for_each_edge(in, target, [&](std::int32_t source, std::int32_t edge) {
      const auto row = load_pack<T, width>(x + source * x_stride + feature);
#pragma unroll
      for (int i = 0; i < width; ++i) {
        const A value = widen(row.values[i]);
        if (out.sum || out.mean) sum[i] += value * weights.at(edge, feature + i);
        if (out.max || out.min) {
          const A message = weights.message(value, edge, feature + i);
          // NaN wins, and stays.
          if (message > max[i] || message != message) max[i] = message;
          if (message < min[i] || message != message) min[i] = message;
        }
      }
    });
    const std::int64_t at = target * features + feature;
    auto store = [&](T* to, const A(&values)[width], A factor) {
      if (!to) return;
      Pack<T, width> pack;
#pragma unroll
      for (int i = 0; i < width; ++i) pack.values[i] = narrow<T>(values[i] * factor);
      store_pack(to + at, pack);
    };
    store(out.sum, sum, A(1));
    store(out.mean, sum, scale);
    store(out.max, max, A(1));
    store(out.min, min, A(1));
  }
}

}  // namespace

void gather_scatter_forward(const GatherScatterForward& args, void* stream) {
  const std::int64_t values = args.in.num_groups * args.features;
  if (values == 0) return;
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    T* const first = static_cast<T*>(args.out);
    // A reduction asked for twice is computed twice, the second time into the second place.
    for (int begin = 0; begin < args.num_reduces;) {
      Outputs<T> out{};
      T** const places[] = {&out.sum, &out.mean, &out.max, &out.min};
      int end = begin;
      for (; end < args.num_reduces; ++end) {
        T** const place = places[static_cast<int>(args.reduces[end])];
        if (*place) break;
        *place = first + end * values;
      }
      const Weights<T> weights{static_cast<const T*>(args.weight), args.heads,
                               static_cast<int>(args.features / args.heads)};
      dispatch_width<T>(is_packed<T>(args.x, args.features, args.x_stride) && is_packed<T>(args.out, args.features, 0),
                        [&](auto width) {
                          constexpr int kWidth = decltype(width)::value;
                          const Team team = team_for(args.features, kWidth);
                          launch<forward_kernel<T, kWidth>>(blocks_for(args.in.num_groups, team), kThreads, 0, stream,
                                                            args.in, static_cast<const T*>(args.x), args.x_stride,
                                                            weights, static_cast<int>(args.features), out, team);
                        });
      begin = end;
    }
  });
}

}  // namespace nnzoo::cuda
