// gatv2's backward in three passes:
//   targets  pack what their messages need: largest score, 1 / sum of exponentials, <grad, out>
//   sources  grad_x, and the gradients of scores, from the rows of grad at the other ends of a source's edges
//   targets  the gradients of what targets add to scores; scores are computed once more
//
// The gradients of the scores of a target's edges add up to 0, but for the rounding of <grad, out>, of which each edge
// has a part like its weight. What a target adds to scores gets a small difference of these gradients, so the last pass
// takes that part away from it.
#include "common/reduce.h"
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
        packed_(static_cast<T*>(args.packed)),
        grad_score_(static_cast<T*>(args.grad_score)) {}

  void run() const {
    const Gat& gat = args_.gat;
    if (largest_group(in_) < 0 || largest_group(out_of_) < 0) return mark_invalid(gat.valid);
    pack_targets();
    for_each_block(out_of_, count_blocks(out_of_), gat.threads, gat.valid,
                   [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                     Scratch scratch;
                     const Workspace work(data_, scratch);
                     for (std::int64_t source = begin; source < end; ++source) walk_source(source, work);
                   });
    if (!*gat.valid) return;
    const std::int64_t blocks = count_blocks(in_);
    Scratch scratch;
    T* const att = scratch.take<T>(blocks * data_.features);
    for_each_block(in_, blocks, gat.threads, gat.valid, [&](std::int64_t block, std::int64_t begin, std::int64_t end) {
      Scratch scratch;
      const Workspace work(data_, scratch);
      T* const sums = att + block * data_.features;
      for (std::int64_t f = 0; f < data_.features; ++f) sums[f] = T(0);
      for (std::int64_t target = begin; target < end; ++target) walk_target(target, work, sums);
    });
    if (!*gat.valid) return;
    column_sums<T>(blocks, data_.features, att, data_.features, static_cast<T*>(args_.grad_att), gat.threads);
  }

 private:
  // Per edge and head of a chunk: what weighs grad (dropped out), the weight before dropout, the gradient of the score.
  // Then sums over a node's edges.
  struct Workspace {
    Columns<T> columns;
    Spreads<T> spreads;
    T *weights, *shares, *grads, *sums, *share_sums, *score_sums;
    const S** rows;
    Workspace(const GatData<S, true>& data, Scratch& scratch)
        : columns(Columns<T>::make(data.heads, data.args.channels, scratch)),
          spreads(Spreads<T>::make(data.heads, data.args.channels, scratch)),
          weights(take_factors<T>(data.lanes, scratch)),
          shares(take_factors<T>(data.lanes, scratch)),
          grads(take_factors<T>(data.lanes, scratch)),
          sums(scratch.take<T>(data.padded)),
          share_sums(scratch.take<T>(data.padded)),
          score_sums(scratch.take<T>(data.lanes)),
          rows(scratch.take<const S*>(kEdges)) {}
  };

  void pack_targets() const {
    const std::int64_t heads = data_.heads, features = data_.features;
    parallel_for(
        in_.num_groups, args_.gat.threads,
        [&](std::int64_t begin, std::int64_t end) {
          Scratch scratch;
          const Columns<T> columns = Columns<T>::make(heads, args_.gat.channels, scratch);
          for (std::int64_t i = begin; i < end; ++i) {
            T* const packed = packed_ + i * 3 * heads;
            const T* const normal = static_cast<const T*>(args_.normal) + i * normals(true) * heads;
            const S* const out = static_cast<const S*>(args_.out) + i * features;
            for (std::int64_t h = 0; h < heads; ++h) {
              packed[h] = normal[h];
              packed[heads + h] = T(1) / normal[heads + h];
            }
            head_sums(columns, packed + 2 * heads,
                      [&](const Column& column) { return at<T>(grad_ + i * features, column) * at<T>(out, column); });
          }
        },
        256);
  }

  void walk_source(std::int64_t source, const Workspace& work) const {
    const std::int64_t first = out_of_.start[source], last = out_of_.start[source + 1];
    fill(work.sums, data_.padded, T(0));
    for (std::int64_t k = first; k < last; k += kEdges) {
      const int edges = static_cast<int>(last - k < kEdges ? last - k : kEdges);
      weigh(source, k, edges, work);
      add_rows(work.spreads, work.rows, data_.lanes, edges, RowSums<1, T>{{work.weights}, {work.sums}});
      find_grad_score(source, k, edges, work);
      add_through_scores(static_cast<std::int32_t>(source), k, edges, work);
    }
    S* const grad_x = static_cast<S*>(args_.grad_x) + source * data_.features;
    for_each_vector<T>(data_.features,
                       [&](std::int64_t f, int count) { Vec<T>::load(work.sums + f, count).store(grad_x + f, count); });
  }

  // The softmax's weights of a chunk of a source's edges, computed once more.
  void weigh(std::int64_t source, std::int64_t k, int edges, const Workspace& work) const {
    const std::int64_t heads = data_.heads, lanes = data_.lanes;
    for (int e = 0; e < edges; ++e) {
      const std::int64_t later = ahead_of(out_of_, k + e);
      const std::int32_t i = out_of_.node[k + e], ahead = out_of_.node[later];
      data_.prefetch(grad_, ahead);
      data_.prefetch(data_.target, ahead);
      for (std::int64_t h = 0; h < 3 * heads; h += 16) prefetch_to_level2(packed_ + ahead * 3 * heads + h);
      prefetch_to_level2(grad_score_ + out_of_.edge[later] * heads);
      work.rows[e] = grad_ + i * data_.features;
      data_.score(work.columns, static_cast<std::int32_t>(source), i, out_of_.edge[k + e], work.shares + e * lanes);
    }
    for (int e = 0; e < edges; ++e) {
      normalise(out_of_.node[k + e], e, work);
      data_.for_each_heads([&](std::int64_t h, int) {
        Vec<T> weight = Vec<T>::load(work.shares + e * lanes + h);
        if (args_.gat.probability > 0) weight *= data_.keeps(out_of_.edge[k + e], h);
        weight.store(work.weights + e * lanes + h);
      });
    }
  }

  // From the scores of edge e of a chunk to its weights.
  NNZOO_INLINE void normalise(std::int64_t i, int e, const Workspace& work) const {
    data_.for_each_heads([&](std::int64_t h, int count) {
      T* const share = work.shares + e * data_.lanes + h;
      const Vec<T> top = Vec<T>::load(packed_ + i * 3 * data_.heads + h, count);
      const Vec<T> inverse = Vec<T>::load(packed_ + (i * 3 + 1) * data_.heads + h, count);
      (exp(Vec<T>::load(share) - top) * inverse).store(share);
    });
  }

  void find_grad_score(std::int64_t source, std::int64_t k, int edges, const Workspace& work) const {
    const std::int64_t heads = data_.heads, lanes = data_.lanes;
    const S* const x = data_.x + source * data_.features;
    for (int e = 0; e < edges; ++e) {
      T* const grads = work.grads + e * lanes;
      head_sums(work.columns, grads, [&](const Column& c) { return at<T>(x, c) * at<T>(work.rows[e], c); });
      data_.for_each_heads([&](std::int64_t h, int count) {
        const Vec<T> share = Vec<T>::load(work.shares + e * lanes + h);
        const Vec<T> weight = Vec<T>::load(work.weights + e * lanes + h);
        const Vec<T> mean = Vec<T>::load(packed_ + (out_of_.node[k + e] * 3 + 2) * heads + h, count);
        const Vec<T> grad = weight * Vec<T>::load(grads + h) - share * mean;
        grad.store(grads + h);
        grad.store(grad_score_ + out_of_.edge[k + e] * heads + h, count);
      });
    }
  }

  // Sums over edges stay in registers: a vector that was just stored in part is slow to load again.
  void add_through_scores(std::int32_t j, std::int64_t k, int edges, const Workspace& work) const {
    for (std::int64_t c = 0; c < work.columns.count; ++c) {
      const Column& column = work.columns.list[c];
      const Vec<T> att = at<T>(data_.att, column);
      Vec<T> sum = at<T>(work.sums, column);
      for (int e = 0; e < edges; ++e) {
        const Vec<T> z = data_.inside(j, out_of_.node[k + e], out_of_.edge[k + e], column);
        const Vec<T> grad = Vec<T>::set(work.grads[e * data_.lanes + column.head]);
        sum = fma(grad * att, leaky_slope(z, data_.slope), sum);
      }
      sum.store(work.sums + column.feature, column.lanes);
    }
  }

  void walk_target(std::int64_t target, const Workspace& work, T* att) const {
    const std::int64_t heads = data_.heads, features = data_.features;
    const auto i = static_cast<std::int32_t>(target);
    fill(work.sums, data_.padded, T(0));
    fill(work.share_sums, data_.padded, T(0));
    fill(work.score_sums, data_.lanes, T(0));
    const std::int64_t first = in_.start[target], last = in_.start[target + 1];
    for (std::int64_t k = first; k < last; k += kEdges) {
      const int edges = static_cast<int>(last - k < kEdges ? last - k : kEdges);
      for (int e = 0; e < edges; ++e) {
        const std::int64_t later = ahead_of(in_, k + e);
        data_.prefetch(data_.x, in_.node[later]);
        prefetch_to_level2(grad_score_ + in_.edge[later] * heads);
        data_.score(work.columns, in_.node[k + e], i, in_.edge[k + e], work.shares + e * data_.lanes);
      }
      for (int e = 0; e < edges; ++e) normalise(target, e, work);
      load_grad_scores(k, edges, work);
      add_columns_of_target(i, k, edges, work, att);
    }
    S* const grad_target = static_cast<S*>(args_.grad_target) + target * features;
    for (std::int64_t f = 0; f < features; ++f) {
      const T excess = work.score_sums[f / args_.gat.channels];
      grad_target[f] = from_float<S>(work.sums[f] - excess * work.share_sums[f]);
    }
  }

  void load_grad_scores(std::int64_t k, int edges, const Workspace& work) const {
    data_.for_each_heads([&](std::int64_t h, int count) {
      Vec<T> sum = Vec<T>::load(work.score_sums + h);
      for (int e = 0; e < edges; ++e) {
        const Vec<T> grad = Vec<T>::load(grad_score_ + in_.edge[k + e] * data_.heads + h, count);
        sum += grad;
        grad.store(work.grads + e * data_.lanes + h);
      }
      sum.store(work.score_sums + h);
    });
  }

  // A chunk of a target's edges, column by column.
  void add_columns_of_target(std::int32_t i, std::int64_t k, int edges, const Workspace& work, T* att) const {
    const std::int64_t lanes = data_.lanes;
    S* const grad_edge = static_cast<S*>(args_.grad_edge);
    for (std::int64_t c = 0; c < work.columns.count; ++c) {
      const Column& column = work.columns.list[c];
      const Vec<T> factor = at<T>(data_.att, column);
      Vec<T> sum = at<T>(work.sums, column), shares = at<T>(work.share_sums, column), scores = at<T>(att, column);
      for (int e = 0; e < edges; ++e) {
        const std::int32_t edge = in_.edge[k + e];
        const Vec<T> z = data_.inside(in_.node[k + e], i, edge, column);
        const Vec<T> slope = factor * leaky_slope(z, data_.slope);
        const Vec<T> grad = Vec<T>::set(work.grads[e * lanes + column.head]);
        sum = fma(grad, slope, sum);
        shares = fma(Vec<T>::set(work.shares[e * lanes + column.head]), slope, shares);
        scores = fma(grad, leaky(z, data_.slope), scores);
        if (grad_edge) (grad * slope).store(grad_edge + edge * data_.features + column.feature, column.lanes);
      }
      sum.store(work.sums + column.feature, column.lanes);
      shares.store(work.share_sums + column.feature, column.lanes);
      scores.store(att + column.feature, column.lanes);
    }
  }

  const GatBackward& args_;
  GatData<S, true> data_;
  const EdgeGroups &in_, &out_of_;
  const S* grad_;
  T *packed_, *grad_score_;
};

}  // namespace

void gatv2_backward(const GatBackward& args) {
  *args.gat.valid = true;
  dispatch_dtype(args.gat.dtype, [&](auto type) { Backward<typename decltype(type)::Type>(args).run(); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
