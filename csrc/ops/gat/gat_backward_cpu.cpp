// gat's backward in two passes, with nothing of the size of the edges:
//   targets  their part of the scores' gradients, and what their messages need, packed into one row: what the target
//   adds
//            to scores, the largest score, 1 / the sum of exponentials, D = <grad, out>
//   sources  grad_x and the source's part of the scores' gradients, from the rows of grad at the other ends of its
//   edges
//
// The gradient of a score, p d - a D with d = <x[j], grad[i]>, is linear in x[j] for a target, whose grad[i] is fixed.
// So a weighted sum of rows, which forward has kept, stands for the dot products of all its edges.
#include "ops/gat/gat_data.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S>
class Backward {
 public:
  using T = Compute<S>;

  explicit Backward(const GatBackward& args)
      : args_(args),
        data_(args.gat),
        in_(args.gat.in),
        out_of_(args.gat.out_of),
        grad_(static_cast<const S*>(args.grad)),
        grad_edge_(static_cast<S*>(args.grad_edge)),
        packed_(static_cast<T*>(args.packed)) {}

  void run() const {
    const Gat& gat = args_.gat;
    if (largest_group(in_) < 0 || largest_group(out_of_) < 0) return mark_invalid(gat.valid);
    parallel_for(
        in_.num_groups, gat.threads, [&](std::int64_t begin, std::int64_t end) { find_targets(begin, end); }, 256);
    for_each_block(out_of_, count_blocks(out_of_), gat.threads, gat.valid,
                   [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                     Scratch scratch;
                     const Workspace work(data_, scratch);
                     for (std::int64_t source = begin; source < end; ++source) walk_source(source, work);
                   });
  }

 private:
  // Per edge and head of a chunk: what weighs grad (dropped out), the weight before dropout, what leaky multiplies a
  // gradient by, the dot product of x and grad. Then sums over a node's edges.
  struct Workspace {
    Columns<T> columns;
    Spreads<T> spreads;
    T *weights, *shares, *slopes, *dots, *sums, *score_sums;
    const S** rows;
    Workspace(const GatData<S, false>& data, Scratch& scratch)
        : columns(Columns<T>::make(data.heads, data.args.channels, scratch)),
          spreads(Spreads<T>::make(data.heads, data.args.channels, scratch)),
          weights(take_factors<T>(data.lanes, scratch)),
          shares(take_factors<T>(data.lanes, scratch)),
          slopes(take_factors<T>(data.lanes, scratch)),
          dots(take_factors<T>(data.lanes, scratch)),
          sums(scratch.take<T>(data.padded)),
          score_sums(scratch.take<T>(data.lanes)),
          rows(scratch.take<const S*>(kEdges)) {}
  };

  // With P and Q the parts of out that come from scores that leaky leaves as they are and from the others, and a and b
  // their parts of the softmax, the gradients of the former scores add up to b <P, grad> - a <Q, grad>, and those of
  // the others to minus that. Where a or b is 0 both are 0, which a difference of sums would miss by its rounding.
  void find_targets(std::int64_t begin, std::int64_t end) const {
    const std::int64_t heads = data_.heads, features = data_.features;
    Scratch scratch;
    const Columns<T> columns = Columns<T>::make(heads, args_.gat.channels, scratch);
    T* const of_out = scratch.take<T>(data_.lanes);
    T* const of_positive = scratch.take<T>(data_.lanes);
    fill(of_out, data_.lanes, T(0));
    fill(of_positive, data_.lanes, T(0));
    const Vec<T> zero = Vec<T>::zero(), one = Vec<T>::set(T(1));
    for (std::int64_t i = begin; i < end; ++i) {
      const S *const grad = grad_ + i * features, *const out = static_cast<const S*>(args_.out) + i * features;
      const T* const positive = static_cast<const T*>(args_.positive) + i * features;
      head_sums(columns, of_out, [&](const Column& c) { return at<T>(grad, c) * at<T>(out, c); });
      head_sums(columns, of_positive, [&](const Column& c) { return at<T>(grad, c) * at<T>(positive, c); });
      data_.for_each_heads([&](std::int64_t h, int count) {
        const T* const normal = static_cast<const T*>(args_.normal) + i * normals(false) * heads + h;
        T* const packed = packed_ + i * 4 * heads + h;
        const Vec<T> all = Vec<T>::load(of_out + h), of_p = Vec<T>::load(of_positive + h);
        const Vec<T> total = Vec<T>::load(normal + heads, count), p = Vec<T>::load(normal + 2 * heads, count);
        const Vec<T> inverse = one / total, q = total - p;
        const Mask<T> alike = (p == zero) | (q == zero);
        const Vec<T> sum = select(alike, zero, (q * of_p - p * (all - of_p)) * inverse);
        const Vec<T> grad_target = sum * Vec<T>::set(T(1) - data_.slope);
        grad_target.store(static_cast<S*>(args_.grad_target) + i * heads + h, count);
        Vec<T>::load(data_.target + i * heads + h, count).store(packed, count);
        Vec<T>::load(normal, count).store(packed + heads, count);
        inverse.store(packed + 2 * heads, count);
        all.store(packed + 3 * heads, count);
      });
    }
  }

  void walk_source(std::int64_t source, const Workspace& work) const {
    const std::int64_t first = out_of_.start[source], last = out_of_.start[source + 1];
    fill(work.sums, data_.padded, T(0));
    fill(work.score_sums, data_.lanes, T(0));
    for (std::int64_t k = first; k < last; k += kEdges) {
      const int edges = static_cast<int>(last - k < kEdges ? last - k : kEdges);
      gather(k, edges, work);
      weigh(source, k, edges, work);
      add_rows(work.spreads, work.rows, data_.lanes, edges, RowSums<1, T>{{work.weights}, {work.sums}});
      find_grad_score(source, k, edges, work);
    }
    S* const grad_x = static_cast<S*>(args_.grad_x) + source * data_.features;
    for (std::int64_t i = 0; i < work.spreads.count; ++i) {
      const Spread<T>& spread = work.spreads.list[i];
      store_lanes(Vec<T>::load(work.sums + spread.feature), grad_x + spread.feature, spread.lanes);
    }
    S* const grad_source = static_cast<S*>(args_.grad_source) + source * data_.heads;
    data_.for_each_heads(
        [&](std::int64_t h, int count) { Vec<T>::load(work.score_sums + h).store(grad_source + h, count); });
  }

  void gather(std::int64_t k, int edges, const Workspace& work) const {
    const std::int64_t row = 4 * data_.heads;
    for (int e = 0; e < edges; ++e) {
      const std::int32_t ahead = out_of_.node[ahead_of(out_of_, k + e)];
      data_.prefetch(grad_, ahead);
      for (std::int64_t h = 0; h < row; h += 64 / std::int64_t(sizeof(T)))
        prefetch_to_level2(packed_ + ahead * row + h);
      work.rows[e] = grad_ + out_of_.node[k + e] * data_.features;
    }
  }

  // The softmax's weights of a chunk of a source's edges, computed once more.
  void weigh(std::int64_t source, std::int64_t k, int edges, const Workspace& work) const {
    const std::int64_t heads = data_.heads, lanes = data_.lanes;
    const auto j = static_cast<std::int32_t>(source);
    data_.for_each_heads([&](std::int64_t h, int count) {
      for (int e = 0; e < edges; ++e) {
        const std::int32_t edge = out_of_.edge[k + e];
        const T* const packed = packed_ + out_of_.node[k + e] * 4 * heads + h;
        const Vec<T> inside = data_.inside(j, Vec<T>::load(packed, count), edge, h, count);
        const Vec<T> top = Vec<T>::load(packed + heads, count), inverse = Vec<T>::load(packed + 2 * heads, count);
        const Vec<T> share = exp(leaky(inside, data_.slope) - top) * inverse;
        const std::int64_t at = e * lanes + h;
        (data_.args.probability > 0 ? share * data_.keeps(edge, h) : share).store(work.weights + at);
        share.store(work.shares + at);
        leaky_slope(inside, data_.slope).store(work.slopes + at);
      }
    });
  }

  // Edge by edge: a sum of differences, where a difference of sums would magnify their rounding.
  void find_grad_score(std::int64_t source, std::int64_t k, int edges, const Workspace& work) const {
    const std::int64_t heads = data_.heads, lanes = data_.lanes;
    const S* const x = data_.x + source * data_.features;
    for (int e = 0; e < edges; ++e) {
      head_sums(work.columns, work.dots + e * lanes,
                [&](const Column& c) { return at<T>(x, c) * at<T>(work.rows[e], c); });
    }
    data_.for_each_heads([&](std::int64_t h, int count) {
      Vec<T> sum = Vec<T>::load(work.score_sums + h);
      for (int e = 0; e < edges; ++e) {
        const std::int64_t at = e * lanes + h;
        const Vec<T> mean = Vec<T>::load(packed_ + (out_of_.node[k + e] * 4 + 3) * heads + h, count);
        const Vec<T> part = Vec<T>::load(work.weights + at) * Vec<T>::load(work.dots + at);
        const Vec<T> grad = (part - Vec<T>::load(work.shares + at) * mean) * Vec<T>::load(work.slopes + at);
        if (grad_edge_) grad.store(grad_edge_ + out_of_.edge[k + e] * heads + h, count);
        sum += grad;
      }
      sum.store(work.score_sums + h);
    });
  }

  const GatBackward& args_;
  GatData<S, false> data_;
  const EdgeGroups &in_, &out_of_;
  const S* grad_;
  S* grad_edge_;
  T* packed_;
};

}  // namespace

void gat_backward(const GatBackward& args) {
  *args.gat.valid = true;
  dispatch_dtype(args.gat.dtype, [&](auto type) { Backward<typename decltype(type)::Type>(args).run(); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
