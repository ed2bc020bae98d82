// Sums of activation(p[i] + q[j]): a row's tile of features stays in registers while the row's edges are walked.
#include "ops/edge_mlp/hidden.h"
#include "ops/gather_scatter/ahead.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// Wide tiles only where a vector costs few instructions.
template <bool relu>
constexpr int most_vectors = relu ? kMostVectors : 1;

// Edges that are added up by themselves first, which bounds the rounding error of a hub.
constexpr std::int64_t kEdgesOfSum = 128;

// The sum over a group's edges of what `message(far node, its row's vector i, i)` makes of each, a tile.
template <class T, class Shape, class S, class Message>
NNZOO_INLINE FeatureTile<T, Shape> sum_over_edges(const EdgeGroups& groups, std::int64_t group, const S* far,
                                                  std::int64_t hidden, const FeaturePlace& place,
                                                  const Message& message) {
  const std::int64_t end = groups.start[group + 1];
  const Distance distance = Distance::of_rows(hidden * std::int64_t(sizeof(S)));
  FeatureTile<T, Shape> total = filled<Shape>(T(0));
  for (std::int64_t first = groups.start[group]; first < end; first += kEdgesOfSum) {
    FeatureTile<T, Shape> sum = filled<Shape>(T(0));
    for_each_edge(
        groups, first, end - first < kEdgesOfSum ? end : first + kEdgesOfSum, distance,
        [&](std::int32_t node, std::int32_t, auto level)
            NNZOO_PREFETCHING { prefetch_tile<decltype(level), Shape, T>(far + node * hidden, place); },
        [&](std::int32_t node, std::int32_t) {
          const FeatureTile<T, Shape> row = load_tile<Shape, T>(far + node * hidden, place);
#pragma GCC unroll 8
          for (int i = 0; i < Shape::vectors; ++i) sum.v[i] += message(node, row.v[i], i);
        });
#pragma GCC unroll 8
    for (int i = 0; i < Shape::vectors; ++i) total.v[i] += sum.v[i];
  }
  return total;
}

template <class S, bool relu>
void forward(const EdgeMlpSum& args, Nonlinear<relu> nonlinear) {
  using T = Compute<S>;
  const EdgeMlp& call = args.call;
  const S *const p = static_cast<const S*>(call.p), *const q = static_cast<const S*>(call.q);
  S* const out = static_cast<S*>(call.out);
  for_each_row_tile<T, most_vectors<relu>>(
      call.in, call.hidden, call.hidden, false, call.threads, call.valid,
      [&](auto shape, const FeaturePlace& place, std::int64_t target) {
        using Shape = decltype(shape);
        const FeatureTile<T, Shape> near = load_tile<Shape, T>(p + target * call.hidden, place);
        FeatureTile<T, Shape> sum =
            sum_over_edges<T, Shape>(call.in, target, q, call.hidden, place,
                                     [&](std::int32_t, Vec<T> far, int i) { return nonlinear.value(near.v[i] + far); });
        const std::int32_t size = call.in.start[target + 1] - call.in.start[target];
        if (args.mean && size > 0) {
#pragma GCC unroll 8
          for (int i = 0; i < Shape::vectors; ++i) sum.v[i] = sum.v[i] / Vec<T>::set(T(size));
        }
        store_tile<Shape>(sum, out + target * call.hidden, place);
      });
}

// Over the targets: the target's gradient is passed by each of its edges.
template <class S, bool relu>
void find_grad_p(const EdgeMlpGradients& args, Nonlinear<relu> nonlinear) {
  using T = Compute<S>;
  const EdgeMlp& call = args.call;
  const S *const p = static_cast<const S*>(call.p), *const q = static_cast<const S*>(call.q);
  const S* const grad = static_cast<const S*>(args.grad);
  for_each_row_tile<T, most_vectors<relu>>(
      call.in, call.hidden, call.hidden, false, call.threads, call.valid,
      [&](auto shape, const FeaturePlace& place, std::int64_t target) {
        using Shape = decltype(shape);
        const FeatureTile<T, Shape> near = load_tile<Shape, T>(p + target * call.hidden, place);
        const FeatureTile<T, Shape> received = load_tile<Shape, T>(grad + target * call.hidden, place);
        const FeatureTile<T, Shape> sum = sum_over_edges<T, Shape>(
            call.in, target, q, call.hidden, place,
            [&](std::int32_t, Vec<T> far, int i) { return nonlinear.passed(received.v[i], near.v[i] + far); });
        store_tile<Shape>(sum, static_cast<S*>(args.grad_p) + target * call.hidden, place);
      });
}

// Over the sources: each edge brings the gradient of its target.
template <class S, bool relu>
void find_grad_q(const EdgeMlpGradients& args, Nonlinear<relu> nonlinear) {
  using T = Compute<S>;
  const EdgeMlp& call = args.call;
  const S *const p = static_cast<const S*>(call.p), *const q = static_cast<const S*>(call.q);
  const S* const grad = static_cast<const S*>(args.grad);
  for_each_row_tile<T, most_vectors<relu>>(
      call.out_of, call.hidden, call.hidden, false, call.threads, call.valid,
      [&](auto shape, const FeaturePlace& place, std::int64_t source) {
        using Shape = decltype(shape);
        const FeatureTile<T, Shape> near = load_tile<Shape, T>(q + source * call.hidden, place);
        const FeatureTile<T, Shape> sum = sum_over_edges<T, Shape>(
            call.out_of, source, p, call.hidden, place, [&](std::int32_t target, Vec<T> far, int i) {
              const S* const row = grad + target * call.hidden + place.feature + i * Vec<T>::width;
              return nonlinear.passed(load_vector<Shape, T>(row, place), far + near.v[i]);
            });
        store_tile<Shape>(sum, static_cast<S*>(args.grad_q) + source * call.hidden, place);
      });
}

}  // namespace

void edge_mlp_sum(const EdgeMlpSum& args) {
  *args.call.valid = true;
  dispatch_edge_mlp(args.call,
                    [&](auto type, auto nonlinear) { forward<typename decltype(type)::Type>(args, nonlinear); });
}

void edge_mlp_sum_backward(const EdgeMlpGradients& args) {
  *args.call.valid = true;
  dispatch_edge_mlp(args.call, [&](auto type, auto nonlinear) {
    using S = typename decltype(type)::Type;
    if (args.grad_p) find_grad_p<S>(args, nonlinear);
    if (args.grad_q && *args.call.valid) find_grad_q<S>(args, nonlinear);
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
