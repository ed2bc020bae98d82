// Backward in three passes:
//   targets  pack what their messages need: score, largest score, 1 / sum of exponentials, <grad, out>
//   sources  grad_x, and the gradients of scores, from the rows of grad at the other ends of a source's edges
//   targets  the gradients of what targets add to scores; scores are computed once more
//
// The gradients of the scores of a target's edges add up to 0, but for the rounding of <grad, out>, of which each edge
// has a part like its weight. What a target adds to scores gets a small difference of these gradients, so the last pass
// takes that part away from it.
#include "common/reduce.h"
#include "ops/gat/columns.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S, bool v2>
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
    T* const att = v2 ? scratch.take<T>(blocks * data_.features) : nullptr;
    for_each_block(in_, blocks, gat.threads, gat.valid, [&](std::int64_t block, std::int64_t begin, std::int64_t end) {
      Scratch scratch;
      const Workspace work(data_, scratch);
      T* const sums = v2 ? att + block * data_.features : nullptr;
      if constexpr (v2) {
        for (std::int64_t f = 0; f < data_.features; ++f) sums[f] = T(0);
      }
      for (std::int64_t target = begin; target < end; ++target) walk_target(target, work, sums);
    });
    if (v2 && *gat.valid) {
      column_sums<T>(blocks, data_.features, att, data_.features, static_cast<T*>(args_.grad_att), gat.threads);
    }
  }

 private:
  // Per edge and head of a chunk: what weighs grad (dropped out), the weight before dropout, the dot product of x and
  // grad. Then sums over a node's edges.
  struct Workspace {
    Columns<T> columns;
    T *weights, *shares, *dots, *sums, *share_sums, *score_sums;
    const S** rows;
    Workspace(const GatData<S, v2>& data, Scratch& scratch)
        : columns(Columns<T>::make(data.heads, data.args.channels, scratch)),
          weights(scratch.take<T>(kEdges * data.lanes)),
          shares(scratch.take<T>(kEdges * data.lanes)),
          dots(scratch.take<T>(kEdges * data.lanes)),
          sums(scratch.take<T>(data.features + data.lanes)),
          share_sums(scratch.take<T>(data.features + data.lanes)),
          score_sums(scratch.take<T>(data.lanes)),
          rows(scratch.take<const S*>(kEdges)) {
      for (std::int64_t i = 0; i < kEdges * data.lanes; ++i) shares[i] = dots[i] = T(0);  // lanes behind the heads
    }
  };

  void pack_targets() const {
    const std::int64_t heads = data_.heads, features = data_.features;
    parallel_for(
        in_.num_groups, args_.gat.threads,
        [&](std::int64_t begin, std::int64_t end) {
          Scratch scratch;
          const Columns<T> columns = Columns<T>::make(heads, args_.gat.channels, scratch);
          for (std::int64_t i = begin; i < end; ++i) {
            T* const packed = packed_ + i * 4 * heads;
            const T* const normal = static_cast<const T*>(args_.normal) + i * 2 * heads;
            const S* const out = static_cast<const S*>(args_.out) + i * features;
            for (std::int64_t h = 0; h < heads; ++h) {
              packed[h] = v2 ? T(0) : T(to_float(data_.target[i * heads + h]));
              packed[heads + h] = normal[h];
              packed[2 * heads + h] = T(1) / normal[heads + h];
            }
            head_sums(columns, packed + 3 * heads,
                      [&](const Column& column) { return at<T>(grad_ + i * features, column) * at<T>(out, column); });
          }
        },
        256);
  }

  void walk_source(std::int64_t source, const Workspace& work) const {
    const std::int64_t heads = data_.heads, first = out_of_.start[source], last = out_of_.start[source + 1];
    for (std::int64_t f = 0; f < data_.features; ++f) work.sums[f] = T(0);
    data_.for_each_heads([&](std::int64_t h, int) { Vec<T>::zero().store(work.score_sums + h); });
    for (std::int64_t k = first; k < last; k += kEdges) {
      const int edges = static_cast<int>(last - k < kEdges ? last - k : kEdges);
      weigh(source, k, edges, work);
      add_weighted_rows(work.columns, work.rows, work.weights, data_.lanes, edges, work.sums);
      find_grad_score(source, k, edges, work);
    }
    S* const grad_x = static_cast<S*>(args_.grad_x) + source * data_.features;
    for_each_vector<T>(data_.features,
                       [&](std::int64_t f, int count) { Vec<T>::load(work.sums + f, count).store(grad_x + f, count); });
    if constexpr (!v2) {
      S* const grad_source = static_cast<S*>(args_.grad_source) + source * heads;
      for (std::int64_t h = 0; h < heads; ++h) grad_source[h] = from_float<S>(work.score_sums[h]);
    }
  }

  // The softmax's weights of a chunk of a source's edges, computed once more.
  void weigh(std::int64_t source, std::int64_t k, int edges, const Workspace& work) const {
    const std::int64_t heads = data_.heads, lanes = data_.lanes, end = out_of_.num_edges - 1;
    for (int e = 0; e < edges; ++e) {
      const std::int64_t later = k + e + Far::edges < end ? k + e + Far::edges : end;
      const std::int32_t i = out_of_.node[k + e], ahead = out_of_.node[later];
      data_.prefetch(grad_, ahead);
      if constexpr (v2) {
        data_.prefetch(data_.target, ahead);
      } else {
        prefetch_to_level2(data_.target + ahead * heads);
      }
      for (std::int64_t h = 0; h < 4 * heads; h += 16) prefetch_to_level2(packed_ + ahead * 4 * heads + h);
      prefetch_to_level2(grad_score_ + out_of_.edge[later] * heads);
      work.rows[e] = grad_ + i * data_.features;
      data_.score(work.columns, static_cast<std::int32_t>(source), i, out_of_.edge[k + e], work.shares + e * lanes);
    }
    for (int e = 0; e < edges; ++e) {
      normalise(out_of_.node[k + e], e, work);
      data_.for_each_heads(
          [&](std::int64_t h, int) { Vec<T>::load(work.shares + e * lanes + h).store(work.weights + e * lanes + h); });
      if (args_.gat.probability == 0) continue;
      for (std::int64_t h = 0; h < heads; ++h) work.weights[e * lanes + h] *= data_.keeps(out_of_.edge[k + e], h);
    }
  }

  // From the scores of edge e of a chunk to its weights.
  NNZOO_INLINE void normalise(std::int64_t i, int e, const Workspace& work) const {
    data_.for_each_heads([&](std::int64_t h, int count) {
      T* const share = work.shares + e * data_.lanes + h;
      const Vec<T> top = Vec<T>::load(packed_ + (i * 4 + 1) * data_.heads + h, count);
      const Vec<T> inverse = Vec<T>::load(packed_ + (i * 4 + 2) * data_.heads + h, count);
      (exp(Vec<T>::load(share) - top) * inverse).store(share);
    });
  }

  // Sums over edges stay in registers: a vector that was just stored in part is slow to load again.
  void find_grad_score(std::int64_t source, std::int64_t k, int edges, const Workspace& work) const {
    const std::int64_t heads = data_.heads, lanes = data_.lanes;
    const auto j = static_cast<std::int32_t>(source);
    for (int e = 0; e < edges; ++e) {
      head_sums(work.columns, work.dots + e * lanes, [&](const Column& column) {
        return at<T>(data_.x + source * data_.features, column) * at<T>(work.rows[e], column);
      });
    }
    data_.for_each_heads([&](std::int64_t h, int count) {
      Vec<T> sum = Vec<T>::load(work.score_sums + h);
      for (int e = 0; e < edges; ++e) {
        const std::int32_t i = out_of_.node[k + e], edge = out_of_.edge[k + e];
        T* const dot = work.dots + e * lanes + h;
        const Vec<T> share = Vec<T>::load(work.shares + e * lanes + h);
        const Vec<T> weight = Vec<T>::load(work.weights + e * lanes + h);
        const Vec<T> mean = Vec<T>::load(packed_ + (i * 4 + 3) * heads + h, count);
        const Vec<T> grad = weight * Vec<T>::load(dot) - share * mean;
        grad.store(grad_score_ + edge * heads + h, count);
        if constexpr (v2) {
          grad.store(dot);
        } else {
          sum = fma(grad, leaky_slope(data_.inside(j, i, edge, h, count), data_.slope), sum);
        }
      }
      sum.store(work.score_sums + h);
    });
    if constexpr (v2) {
      for (std::int64_t c = 0; c < work.columns.count; ++c) {
        const Column& column = work.columns.list[c];
        const Vec<T> att = at<T>(data_.att, column);
        Vec<T> sum = at<T>(work.sums, column);
        for (int e = 0; e < edges; ++e) {
          const Vec<T> z = data_.inside(j, out_of_.node[k + e], out_of_.edge[k + e], column);
          const Vec<T> grad = Vec<T>::set(work.dots[e * lanes + column.head]);
          sum = fma(grad * att, leaky_slope(z, data_.slope), sum);
        }
        sum.store(work.sums + column.feature, column.lanes);
      }
    }
  }

  void walk_target(std::int64_t target, const Workspace& work, T* att) const {
    const std::int64_t heads = data_.heads, sums = v2 ? data_.features : heads, end = in_.num_edges - 1;
    const std::int64_t padded = v2 ? sums : data_.lanes;
    const auto i = static_cast<std::int32_t>(target);
    for (std::int64_t f = 0; f < padded; ++f) work.sums[f] = work.share_sums[f] = T(0);
    data_.for_each_heads([&](std::int64_t h, int) { Vec<T>::zero().store(work.score_sums + h); });
    const std::int64_t first = in_.start[target], last = in_.start[target + 1];
    for (std::int64_t k = first; k < last; k += kEdges) {
      const int edges = static_cast<int>(last - k < kEdges ? last - k : kEdges);
      for (int e = 0; e < edges; ++e) {
        const std::int64_t later = k + e + Far::edges < end ? k + e + Far::edges : end;
        if constexpr (v2) {
          data_.prefetch(data_.x, in_.node[later]);
        } else {
          prefetch_to_level2(data_.source + in_.node[later] * heads);
        }
        prefetch_to_level2(grad_score_ + in_.edge[later] * heads);
        data_.score(work.columns, in_.node[k + e], i, in_.edge[k + e], work.shares + e * data_.lanes);
      }
      for (int e = 0; e < edges; ++e) normalise(target, e, work);
      add_scores(i, k, edges, work);
      if constexpr (v2) add_columns_of_target(i, k, edges, work, att);
    }
    S* const grad_target = static_cast<S*>(args_.grad_target) + target * sums;
    for (std::int64_t f = 0; f < sums; ++f) {
      const T excess = work.score_sums[v2 ? f / args_.gat.channels : f];
      grad_target[f] = from_float<S>(work.sums[f] - excess * work.share_sums[f]);
    }
  }

  // Of gat, the gradient of a score becomes that of what leaky takes.
  void add_scores(std::int32_t i, std::int64_t k, int edges, const Workspace& work) const {
    const std::int64_t heads = data_.heads, lanes = data_.lanes;
    data_.for_each_heads([&](std::int64_t h, int count) {
      Vec<T> scores = Vec<T>::load(work.score_sums + h), sum = Vec<T>::zero(), shares = Vec<T>::zero();
      for (int e = 0; e < edges; ++e) {
        const std::int32_t edge = in_.edge[k + e];
        T* const grad_score = grad_score_ + edge * heads + h;
        const Vec<T> grad = Vec<T>::load(grad_score, count);
        scores += grad;
        if constexpr (v2) {
          grad.store(work.dots + e * lanes + h);
        } else {
          const Vec<T> slope = leaky_slope(data_.inside(in_.node[k + e], i, edge, h, count), data_.slope);
          sum = fma(grad, slope, sum);
          shares = fma(Vec<T>::load(work.shares + e * lanes + h), slope, shares);
          if (data_.edge) (grad * slope).store(grad_score, count);
        }
      }
      scores.store(work.score_sums + h);
      if constexpr (!v2) {
        (Vec<T>::load(work.sums + h) + sum).store(work.sums + h);
        (Vec<T>::load(work.share_sums + h) + shares).store(work.share_sums + h);
      }
    });
  }

  // gatv2: a chunk of a target's edges, column by column.
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
        const Vec<T> grad = Vec<T>::set(work.dots[e * lanes + column.head]);
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
  GatData<S, v2> data_;
  const EdgeGroups &in_, &out_of_;
  const S* grad_;
  T *packed_, *grad_score_;
};

}  // namespace

void gat_backward(const GatBackward& args) {
  *args.gat.valid = true;
  dispatch_dtype(args.gat.dtype, [&](auto type) {
    using S = typename decltype(type)::Type;
    args.gat.att ? Backward<S, true>(args).run() : Backward<S, false>(args).run();
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
