#include "ops/gather_scatter/gather_scatter_cuda.h"
#include "ops/gather_scatter/gather_scatter_rows.cuh"

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

// NaN wins, and stays.
template <class A>
__device__ A larger(A a, A b) {
  return b > a || b != b ? b : a;
}
template <class A>
__device__ A smaller(A a, A b) {
  return b < a || b != b ? b : a;
}

// All reductions of one walk over the edges: values 0, 1 and 2 are the sum, the maximum and the minimum.
template <class T, int width>
struct Forward {
  using Sum = Accumulator<T>;
  static constexpr int kValues = 3;
  static constexpr int kWidth = width;
  static constexpr int kAhead = 4;
  using All = Totals<Sum, kValues, width>;

  const T* x;
  std::int64_t x_stride;
  Weights<T> weights;
  Outputs<T> out;
  int features;

  __device__ bool weighted() const { return weights.data != nullptr; }

  __device__ void start(All& totals) const {
#pragma unroll
    for (int i = 0; i < width; ++i) {
      totals.of[0][i] = Sum(0);
      totals.of[1][i] = -Sum(INFINITY);
      totals.of[2][i] = Sum(INFINITY);
    }
  }

  template <int count>
  __device__ void add(All& totals, std::int64_t, const Edges<count>& edges, int feature) const {
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
        const Sum value = widen(rows[j].values[i]);
        totals.of[0][i] += value * weight[j];
        if (out.max || out.min) {
          const Sum message = weights.message(value, weight[j]);
          totals.of[1][i] = larger(totals.of[1][i], message);
          totals.of[2][i] = smaller(totals.of[2][i], message);
        }
      }
    }
  }

  __device__ void merge(All& totals, const All& other) const {
#pragma unroll
    for (int i = 0; i < width; ++i) {
      totals.of[0][i] += other.of[0][i];
      totals.of[1][i] = larger(totals.of[1][i], other.of[1][i]);
      totals.of[2][i] = smaller(totals.of[2][i], other.of[2][i]);
    }
  }

  __device__ void store(const All& totals, std::int64_t row, int feature, std::int64_t edges) const {
    const bool any = edges > 0;
    const std::int64_t at = row * features + feature;
    put(out.sum, totals.of[0], at, any, Sum(1));
    put(out.mean, totals.of[0], at, any, Sum(1) / Sum(edges));
    put(out.max, totals.of[1], at, any, Sum(1));
    put(out.min, totals.of[2], at, any, Sum(1));
  }

  __device__ void put(T* to, const Sum (&values)[width], std::int64_t at, bool any, Sum factor) const {
    if (!to) return;
    Pack<T, width> pack;
#pragma unroll
    for (int i = 0; i < width; ++i) pack.values[i] = narrow<T>(any ? values[i] * factor : Sum(0));
    store_pack(to + at, pack);
  }
};

}  // namespace

void gather_scatter_forward(const GatherScatterForward& args, const Rung& rung, void* stream) {
  const std::int64_t values = args.in.num_groups * args.features;
  if (values == 0) return;
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    T* const first = static_cast<T*>(args.out);
    const Weights<T> weights{static_cast<const T*>(args.weight), args.heads,
                             static_cast<int>(args.features / args.heads)};
    const bool packed = rung.packed && is_packed<T>(args.x, args.features, args.x_stride) &&
                        is_packed<T>(args.out, args.features, 0) && weights.span % kPackSize<T> == 0;
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
      dispatch_width<T>(packed, [&](auto width) {
        const int features = static_cast<int>(args.features);
        const Forward<T, decltype(width)::value> op{static_cast<const T*>(args.x), args.x_stride, weights, out,
                                                    features};
        reduce_rows(args.in, op, features, Hubs{rung.hub_edges, rung.pieces}, stream);
      });
      begin = end;
    }
  });
}

}  // namespace nnzoo::cuda
