// Backward, one reduction at a time: what the winners of a max or min share, then the gradients of x (over the sources)
// and of the weights (over the targets). The later reductions of a call add to what the earlier ones left in `sum`.
#include "ops/gather_scatter/gather_scatter.cuh"
#include "ops/gather_scatter/gather_scatter_cuda.h"

namespace nnzoo::cuda {
namespace {

constexpr int kMostReduces = 4;

// One reduction of the call: its rows of grad and out, and the share of each winner.
template <class T>
struct Reduction {
  Reduce reduce;
  const T* grad;
  const T* out;
  Accumulator<T>* share;
};

template <class T>
struct Reductions {
  Reduction<T> list[kMostReduces];
  int count;
};

__host__ __device__ inline bool is_extreme(Reduce reduce) { return reduce == Reduce::max || reduce == Reduce::min; }

// share[target][f] = grad[target][f] / number of messages equal to out[target][f]
template <class T, int width>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    share_kernel(EdgeGroups in, const T* x, std::int64_t x_stride, Weights<T> weights, int features,
                 Reduction<T> reduction, Team team) {
  using A = Accumulator<T>;
  const std::int64_t target = team.row();
  if (target >= in.num_groups) return;
  for (int feature = team.lane() * width; feature < features; feature += team.lanes * width) {
    const std::int64_t at = target * features + feature;
    const auto best = load_pack<T, width>(reduction.out + at);
    const auto grad = load_pack<T, width>(reduction.grad + at);
    A ties[width] = {};
    for_each_edge(in, target, [&](std::int32_t source, std::int32_t edge) {
      const auto row = load_pack<T, width>(x + source * x_stride + feature);
#pragma unroll
      for (int i = 0; i < width; ++i) {
        if (weights.message(widen(row.values[i]), edge, feature + i) == widen(best.values[i])) ties[i] += A(1);
      }
    });
#pragma unroll
    for (int i = 0; i < width; ++i) reduction.share[at + i] = widen(grad.values[i]) / ties[i];
  }
}

// What the message from x to `target` over `edge` receives in one feature, from all reductions.
template <class T>
__device__ Accumulator<T> received(const Reductions<T>& reductions, const EdgeGroups& in, const Weights<T>& weights,
                                   Accumulator<T> x, std::int32_t target, std::int32_t edge, int features,
                                   int feature) {
  using A = Accumulator<T>;
  const std::int64_t at = target * static_cast<std::int64_t>(features) + feature;
  A sum = 0;
  for (int r = 0; r < reductions.count; ++r) {
    const Reduction<T>& reduction = reductions.list[r];
    if (is_extreme(reduction.reduce)) {
      if (weights.message(x, edge, feature) == widen(reduction.out[at])) sum += reduction.share[at];
    } else if (reduction.reduce == Reduce::mean) {
      sum += widen(reduction.grad[at]) / A(in.start[target + 1] - in.start[target]);
    } else {
      sum += widen(reduction.grad[at]);
    }
  }
  return sum;
}

// x is null where neither max nor min asks for it.
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    grad_x_kernel(EdgeGroups in, EdgeGroups out_of, const T* x, std::int64_t x_stride, Weights<T> weights, int features,
                  Reductions<T> reductions, T* grad_x, Team team) {
  using A = Accumulator<T>;
  const std::int64_t source = team.row();
  if (source >= out_of.num_groups) return;
  for (int feature = team.lane(); feature < features; feature += team.lanes) {
    const A value = x ? widen(x[source * x_stride + feature]) : A(0);
    A sum = 0;
    for_each_edge(out_of, source, [&](std::int32_t target, std::int32_t edge) {
      sum += weights.at(edge, feature) * received(reductions, in, weights, value, target, edge, features, feature);
    });
    grad_x[source * features + feature] = narrow<T>(sum);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    grad_weight_kernel(EdgeGroups in, const T* x, std::int64_t x_stride, Weights<T> weights, int features,
                       Reductions<T> reductions, T* grad_weight, Team team) {
  using A = Accumulator<T>;
  const std::int64_t target = team.row();
  if (target >= in.num_groups) return;
  for_each_edge(in, target, [&](std::int32_t source, std::int32_t edge) {
    for (int head = 0; head < weights.heads; ++head) {
      A sum = 0;
      for (int i = team.lane(); i < weights.span; i += team.lanes) {
        const int feature = head * weights.span + i;
        const A value = widen(x[source * x_stride + feature]);
        sum += value *
               received(reductions, in, weights, value, static_cast<std::int32_t>(target), edge, features, feature);
      }
      sum = team.sum(sum);
      if (team.lane() == 0) grad_weight[edge * weights.heads + head] = narrow<T>(sum);
    }
  });
}

template <class T>
class Backward {
 public:
  Backward(const GatherScatterBackward& args, void* stream)
      : args_(args),
        stream_(stream),
        x_(static_cast<const T*>(args.x)),
        features_(static_cast<int>(args.features)),
        weights_{static_cast<const T*>(args.weight), args.heads, static_cast<int>(args.features / args.heads)} {
    if (args.num_reduces > kMostReduces)
      throw std::invalid_argument("gather_scatter: more than 4 reductions in backward");
    const std::int64_t values = args.in.num_groups * args.features;
    auto* share = static_cast<Accumulator<T>*>(args.share);
    reductions_.count = args.num_reduces;
    for (int r = 0; r < args.num_reduces; ++r) {
      const bool extreme = is_extreme(args.reduces[r]);
      reductions_.list[r] = {args.reduces[r], static_cast<const T*>(args.grad) + r * values,
                             extreme ? static_cast<const T*>(args.out) + r * values : nullptr,
                             extreme ? share : nullptr};
      if (extreme) share += values;
    }
  }

  void run() {
    for (int r = 0; r < reductions_.count; ++r)
      if (is_extreme(reductions_.list[r].reduce)) find_shares(reductions_.list[r]);
    if (args_.grad_x) find_grad_x();
    if (args_.grad_weight) find_grad_weight();
  }

 private:
  void find_shares(const Reduction<T>& reduction) {
    const bool packed = is_packed<T>(x_, args_.features, args_.x_stride) &&
                        is_packed<T>(reduction.out, args_.features, 0) &&
                        is_packed<T>(reduction.grad, args_.features, 0);
    dispatch_width<T>(packed, [&](auto width) {
      constexpr int kWidth = decltype(width)::value;
      const Team team = team_for(args_.features, kWidth);
      launch<share_kernel<T, kWidth>>(blocks_for(args_.in.num_groups, team), kThreads, 0, stream_, args_.in, x_,
                                      args_.x_stride, weights_, features_, reduction, team);
    });
  }

  void find_grad_x() {
    const Team team = team_for(args_.features, 1);
    launch<grad_x_kernel<T>>(blocks_for(args_.out_of.num_groups, team), kThreads, 0, stream_, args_.in, args_.out_of,
                             x_, args_.x_stride, weights_, features_, reductions_, static_cast<T*>(args_.grad_x), team);
  }

  void find_grad_weight() {
    const Team team = team_for(weights_.span, 1);
    launch<grad_weight_kernel<T>>(blocks_for(args_.in.num_groups, team), kThreads, 0, stream_, args_.in, x_,
                                  args_.x_stride, weights_, features_, reductions_, static_cast<T*>(args_.grad_weight),
                                  team);
  }

  const GatherScatterBackward& args_;
  void* stream_;
  const T* x_;
  int features_;
  Weights<T> weights_;
  Reductions<T> reductions_;
};

}  // namespace

void gather_scatter_backward(const GatherScatterBackward& args, void* stream) {
  if (args.in.num_groups * args.features == 0) return;
  dispatch_dtype(args.dtype, [&](auto element) { Backward<decltype(element)>(args, stream).run(); });
}

}  // namespace nnzoo::cuda
