// Backward: what the winners of each max or min share, then the gradient of x (edges reduced over their sources) and
// that of the weights (a dot product per edge), each from all reductions at once.
#include "ops/gather_scatter/gather_scatter_cuda.h"
#include "ops/gather_scatter/gather_scatter_rows.cuh"

namespace nnzoo::cuda {
namespace {

constexpr int kMostReduces = 4;
constexpr int kEdgesPerTeam = 8;  // neighbouring edges whose weights' gradients one team finds

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
struct Shares {
  using Sum = Accumulator<T>;
  static constexpr int kValues = 1;
  static constexpr int kWidth = width;
  static constexpr int kAhead = 4;
  using All = Totals<Sum, kValues, width>;

  const T* x;
  std::int64_t x_stride;
  Weights<T> weights;
  Reduction<T> reduction;
  int features;

  __device__ bool weighted() const { return weights.data != nullptr; }

  __device__ void start(All& totals) const {
#pragma unroll
    for (int i = 0; i < width; ++i) totals.of[0][i] = Sum(0);
  }

  template <int count>
  __device__ void add(All& totals, std::int64_t row, const Edges<count>& edges, int feature) const {
    const auto best = load_pack<T, width>(reduction.out + row * features + feature);
    Pack<T, width> rows[count];
    Sum weight[count];
#pragma unroll
    for (int j = 0; j < count; ++j) {
      rows[j] = load_pack<T, width>(x + edges.node[j] * x_stride + feature);
      weight[j] = weights.at(edges.edge[j], weights.head(feature));
    }
#pragma unroll
    for (int j = 0; j < count; ++j) {
#pragma unroll
      for (int i = 0; i < width; ++i) {
        if (weights.message(widen(rows[j].values[i]), weight[j]) == widen(best.values[i])) totals.of[0][i] += Sum(1);
      }
    }
  }

  __device__ void merge(All& totals, const All& other) const {
#pragma unroll
    for (int i = 0; i < width; ++i) totals.of[0][i] += other.of[0][i];
  }

  __device__ void store(const All& totals, std::int64_t row, int feature, std::int64_t) const {
    const std::int64_t at = row * features + feature;
    const auto grad = load_pack<T, width>(reduction.grad + at);
#pragma unroll
    for (int i = 0; i < width; ++i) reduction.share[at + i] = widen(grad.values[i]) / totals.of[0][i];
  }
};

// What the messages over some edges receive in a pack of features, from all reductions.
template <class T, int count, int width>
struct Received {
  Accumulator<T> of[count][width] = {};

  // x[j] and weight[j] make the message to target[j]; they are read for max and min only.
  __device__ Received(const Reductions<T>& reductions, const EdgeGroups& in, const Weights<T>& weights,
                      const Pack<T, width> (&x)[count], const std::int32_t (&target)[count],
                      const Accumulator<T> (&weight)[count], int features, int feature) {
    for (int r = 0; r < reductions.count; ++r) {
      const Reduction<T>& reduction = reductions.list[r];
#pragma unroll
      for (int j = 0; j < count; ++j) {
        const std::int64_t at = target[j] * static_cast<std::int64_t>(features) + feature;
        if (is_extreme(reduction.reduce)) {
          const auto best = load_pack<T, width>(reduction.out + at);
#pragma unroll
          for (int i = 0; i < width; ++i) {
            if (weights.message(widen(x[j].values[i]), weight[j]) == widen(best.values[i]))
              of[j][i] += reduction.share[at + i];
          }
        } else {
          const auto grad = load_pack<T, width>(reduction.grad + at);
          const bool mean = reduction.reduce == Reduce::mean;
          const Accumulator<T> edges(mean ? in.start[target[j] + 1] - in.start[target[j]] : 1);
          const Accumulator<T> scale = Accumulator<T>(1) / edges;
#pragma unroll
          for (int i = 0; i < width; ++i) of[j][i] += widen(grad.values[i]) * scale;
        }
      }
    }
  }
};

// grad_x[source][f] = sum over its edges of weight * received; x is null where neither max nor min asks for it.
template <class T, int width>
struct GradX {
  using Sum = Accumulator<T>;
  static constexpr int kValues = 1;
  static constexpr int kWidth = width;
  static constexpr int kAhead = 2;
  using All = Totals<Sum, kValues, width>;

  EdgeGroups in;
  const T* x;
  std::int64_t x_stride;
  Weights<T> weights;
  Reductions<T> reductions;
  T* grad_x;
  int features;

  __device__ bool weighted() const { return weights.data != nullptr; }

  __device__ void start(All& totals) const {
#pragma unroll
    for (int i = 0; i < width; ++i) totals.of[0][i] = Sum(0);
  }

  template <int count>
  __device__ void add(All& totals, std::int64_t row, const Edges<count>& edges, int feature) const {
    Pack<T, width> own[count] = {};
    if (x) own[0] = load_pack<T, width>(x + row * x_stride + feature);
    Sum weight[count];
#pragma unroll
    for (int j = 0; j < count; ++j) {
      own[j] = own[0];
      weight[j] = weights.at(edges.edge[j], weights.head(feature));
    }
    const Received<T, count, width> received(reductions, in, weights, own, edges.node, weight, features, feature);
#pragma unroll
    for (int j = 0; j < count; ++j) {
#pragma unroll
      for (int i = 0; i < width; ++i) totals.of[0][i] += weight[j] * received.of[j][i];
    }
  }

  __device__ void merge(All& totals, const All& other) const {
#pragma unroll
    for (int i = 0; i < width; ++i) totals.of[0][i] += other.of[0][i];
  }

  __device__ void store(const All& totals, std::int64_t row, int feature, std::int64_t) const {
    Pack<T, width> pack;
#pragma unroll
    for (int i = 0; i < width; ++i) pack.values[i] = narrow<T>(totals.of[0][i]);
    store_pack(grad_x + row * features + feature, pack);
  }
};

// The group of a position, found by one thread.
__device__ inline std::int64_t search_group(const EdgeGroups& groups, std::int64_t position) {
  std::int64_t low = 0;
  std::int64_t high = groups.num_groups;
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    (groups.start[middle] <= position ? low : high) = middle;
  }
  return low;
}

// A team for some edges, not for a target: hubs are no longer at work than others.
template <class T, int width>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    grad_weight_kernel(EdgeGroups in, const T* x, std::int64_t x_stride, Weights<T> weights, int features,
                       Reductions<T> reductions, T* grad_weight, Team team) {
  using A = Accumulator<T>;
  const std::int64_t first = team.in_grid() * kEdgesPerTeam;
  if (first >= in.num_edges) return;
  const std::int64_t end = first + kEdgesPerTeam < in.num_edges ? first + kEdgesPerTeam : in.num_edges;
  std::int64_t target = search_group(in, first);
  for (std::int64_t k = first; k < end; ++k) {
    while (target + 1 < in.num_groups && k >= span_of(in, target).end) ++target;
    const Edges<1> edges(in, k, 1, true);
    const std::int32_t targets[1] = {static_cast<std::int32_t>(target)};
    for (std::int64_t head = 0; head < weights.heads; ++head) {
      const A weight[1] = {weights.at(edges.edge[0], head)};
      A sum = 0;
      for (int i = team.lane() * width; i < weights.span; i += team.lanes * width) {
        const int feature = static_cast<int>(head) * weights.span + i;
        const Pack<T, width> row[1] = {load_pack<T, width>(x + edges.node[0] * x_stride + feature)};
        const Received<T, 1, width> received(reductions, in, weights, row, targets, weight, features, feature);
#pragma unroll
        for (int j = 0; j < width; ++j) sum += widen(row[0].values[j]) * received.of[0][j];
      }
      sum = team.sum(sum);
      if (team.lane() == 0) grad_weight[edges.edge[0] * weights.heads + head] = narrow<T>(sum);
    }
  }
}

template <class T>
class Backward {
 public:
  Backward(const GatherScatterBackward& args, const Rung& rung, void* stream)
      : args_(args),
        stream_(stream),
        hubs_{rung.hub_edges, rung.pieces},
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
    packed_ = rung.packed && weights_.span % kPackSize<T> == 0 && is_packed<T>(args.grad, args.features, 0) &&
              is_packed<T>(args.x, args.features, args.x_stride) && is_packed<T>(args.out, args.features, 0) &&
              is_packed<T>(args.grad_x, args.features, 0);
  }

  void run() {
    dispatch_width<T>(packed_, [&](auto element) {
      constexpr int kWidth = decltype(element)::value;
      for (int r = 0; r < reductions_.count; ++r) {
        if (!is_extreme(reductions_.list[r].reduce)) continue;
        const Shares<T, kWidth> op{x_, args_.x_stride, weights_, reductions_.list[r], features_};
        reduce_rows(args_.in, op, features_, hubs_, stream_);
      }
      if (args_.grad_x) {
        const GradX<T, kWidth> op{args_.in, x_, args_.x_stride, weights_, reductions_, static_cast<T*>(args_.grad_x),
                                  features_};
        reduce_rows(args_.out_of, op, features_, hubs_, stream_);
      }
      if (args_.grad_weight && args_.in.num_edges > 0) {
        const Team team = team_for(weights_.span, kWidth);
        launch<grad_weight_kernel<T, kWidth>>(
            blocks_for(ceil_div<std::int64_t>(args_.in.num_edges, kEdgesPerTeam), team), kThreads, 0, stream_, args_.in,
            x_, args_.x_stride, weights_, features_, reductions_, static_cast<T*>(args_.grad_weight), team);
      }
    });
  }

 private:
  const GatherScatterBackward& args_;
  void* stream_;
  Hubs hubs_;
  const T* x_;
  int features_;
  Weights<T> weights_;
  Reductions<T> reductions_;
  bool packed_;
};

}  // namespace

void gather_scatter_backward(const GatherScatterBackward& args, const Rung& rung, void* stream) {
  if (args.in.num_groups * args.features == 0) return;
  dispatch_dtype(args.dtype, [&](auto element) { Backward<decltype(element)>(args, rung, stream).run(); });
}

}  // namespace nnzoo::cuda
