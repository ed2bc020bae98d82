// Scores, softmax and weighted sum in one walk over the edges: a later and larger score scales down what was summed.
#include "ops/gat/gat_data.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// Set 0 of what is summed is all edges; set 1, which gat keeps for backward, those whose scores leaky leaves as they
// are.
template <class S, bool v2, bool keeps>
class Forward {
 public:
  using T = Compute<S>;
  static constexpr int sets = !v2 && keeps ? 2 : 1;

  explicit Forward(const GatForward& args)
      : data_(args.gat),
        in_(args.gat.in),
        out_(static_cast<S*>(args.out)),
        normal_(static_cast<T*>(args.normal)),
        positive_(static_cast<T*>(args.positive)) {}

  void run() const {
    if (largest_group(in_) < 0) return mark_invalid(data_.args.valid);
    for_each_block(in_, count_blocks(in_), data_.args.threads, data_.args.valid,
                   [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                     Scratch scratch;
                     const Workspace work(data_, scratch);
                     for (std::int64_t target = begin; target < end; ++target) attend(target, work);
                   });
  }

 private:
  struct Workspace {
    Columns<T> columns;  // gatv2's
    Spreads<T> spreads;
    T *inside, *top, *scale;
    T *factors[2], *sums[2], *totals[2];
    const S** rows;
    Workspace(const GatData<S, v2>& data, Scratch& scratch)
        : columns(v2 ? Columns<T>::make(data.heads, data.args.channels, scratch) : Columns<T>{nullptr, 0}),
          spreads(Spreads<T>::make(data.heads, data.args.channels, scratch)),
          inside(take_factors<T>(data.lanes, scratch)),
          top(scratch.take<T>(data.lanes)),
          scale(scratch.take<T>(data.lanes + Vec<T>::width)),
          rows(scratch.take<const S*>(kEdges)) {
      for (int set = 0; set < sets; ++set) {
        factors[set] = take_factors<T>(data.lanes, scratch);
        sums[set] = scratch.take<T>(data.padded);
        totals[set] = scratch.take<T>(data.lanes);
      }
    }
    RowSums<sets, T> row_sums() const {
      if constexpr (sets == 2) return {{factors[0], factors[1]}, {sums[0], sums[1]}};
      return {{factors[0]}, {sums[0]}};
    }
  };

  void attend(std::int64_t target, const Workspace& work) const {
    const std::int64_t first = in_.start[target], last = in_.start[target + 1];
    fill(work.top, data_.lanes, -T(__builtin_inf()));
    for (int set = 0; set < sets; ++set) {
      fill(work.totals[set], data_.lanes, T(0));
      fill(work.sums[set], data_.padded, T(0));
    }
    for (std::int64_t k = first; k < last; k += kEdges) {
      const int edges = static_cast<int>(last - k < kEdges ? last - k : kEdges);
      gather(target, k, edges, work);
      weigh(target, k, edges, k > first, work);
      add_rows(work.spreads, work.rows, data_.lanes, edges, work.row_sums());
    }
    finish(target, last > first, work);
  }

  // The rows of a chunk of edges; for gatv2 their scores too.
  void gather(std::int64_t target, std::int64_t k, int edges, const Workspace& work) const {
    for (int e = 0; e < edges; ++e) {
      const std::int32_t ahead = in_.node[ahead_of(in_, k + e)], source = in_.node[k + e];
      data_.prefetch(data_.x, ahead);
      if constexpr (!v2) prefetch_to_level2(data_.source + ahead * data_.heads);
      work.rows[e] = data_.x + source * data_.features;
      if constexpr (v2) {
        data_.score(work.columns, source, static_cast<std::int32_t>(target), in_.edge[k + e],
                    work.inside + e * data_.lanes);
      }
    }
  }

  NNZOO_INLINE Vec<T> score_of(Vec<T> inside) const {
    if constexpr (v2) return inside;
    return leaky(inside, data_.slope);
  }

  // Scores become exponentials, counted from the largest score so far; what was summed before is scaled to it.
  void weigh(std::int64_t target, std::int64_t k, int edges, bool again, const Workspace& work) const {
    const std::int64_t lanes = data_.lanes;
    data_.for_each_heads([&](std::int64_t h, int count) {
      const Vec<T> before = Vec<T>::load(work.top + h), lowest = Vec<T>::set(-T(__builtin_inf()));
      Vec<T> of_target = Vec<T>::zero(), top = before;
      if constexpr (!v2) of_target = Vec<T>::load(data_.target + target * data_.heads + h, count);
      for (int e = 0; e < edges; ++e) {
        T* const inside = work.inside + e * lanes + h;
        if constexpr (!v2) data_.inside(in_.node[k + e], of_target, in_.edge[k + e], h, count).store(inside);
        const Vec<T> score = score_of(Vec<T>::load(inside));
        top = select(is_nan(score), score, max(score, top));
      }
      top.store(work.top + h);
      const Vec<T> base = select(top == lowest, Vec<T>::zero(), top);
      const Vec<T> scale = again ? exp(before - base) : Vec<T>::zero();
      scale.store(work.scale + h);
      Vec<T> totals[sets];
      for (int set = 0; set < sets; ++set) totals[set] = Vec<T>::load(work.totals[set] + h) * scale;
      for (int e = 0; e < edges; ++e) {
        const Vec<T> inside = Vec<T>::load(work.inside + e * lanes + h);
        const Vec<T> raised = exp(score_of(inside) - base);
        const Vec<T> kept = data_.args.probability > 0 ? raised * data_.keeps(in_.edge[k + e], h) : raised;
        totals[0] += raised;
        kept.store(work.factors[0] + e * lanes + h);
        if constexpr (sets == 2) {
          const Mask<T> positive = inside > Vec<T>::zero();
          totals[1] += select(positive, raised, Vec<T>::zero());
          select(positive, kept, Vec<T>::zero()).store(work.factors[1] + e * lanes + h);
        }
      }
      for (int set = 0; set < sets; ++set) totals[set].store(work.totals[set] + h);
    });
    if (!again) return;
    for (std::int64_t i = 0; i < work.spreads.count; ++i) {
      const Spread<T>& spread = work.spreads.list[i];
      for (int set = 0; set < sets; ++set) {
        T* const sum = work.sums[set] + spread.feature;
        (Vec<T>::load(sum) * spread.factors(work.scale)).store(sum);
      }
    }
  }

  void finish(std::int64_t target, bool any, const Workspace& work) const {
    data_.for_each_heads([&](std::int64_t h, int count) {
      const Vec<T> total = Vec<T>::load(work.totals[0] + h), one = Vec<T>::set(T(1));
      (any ? one / total : one).store(work.scale + h);
      if constexpr (keeps) {
        T* const normal = normal_ + target * normals(v2) * data_.heads + h;
        Vec<T>::load(work.top + h).store(normal, count);
        total.store(normal + data_.heads, count);
        if constexpr (!v2) Vec<T>::load(work.totals[1] + h).store(normal + 2 * data_.heads, count);
      }
    });
    for (std::int64_t i = 0; i < work.spreads.count; ++i) {
      const Spread<T>& spread = work.spreads.list[i];
      const Vec<T> scale = spread.factors(work.scale);
      const std::int64_t at = target * data_.features + spread.feature;
      store_lanes(Vec<T>::load(work.sums[0] + spread.feature) * scale, out_ + at, spread.lanes);
      if constexpr (sets == 2) {
        store_lanes(Vec<T>::load(work.sums[1] + spread.feature) * scale, positive_ + at, spread.lanes);
      }
    }
  }

  GatData<S, v2> data_;
  const EdgeGroups& in_;
  S* out_;
  T *normal_, *positive_;
};

}  // namespace

void gat_forward(const GatForward& args) {
  *args.gat.valid = true;
  dispatch_dtype(args.gat.dtype, [&](auto type) {
    using S = typename decltype(type)::Type;
    if (args.gat.att) return args.normal ? Forward<S, true, true>(args).run() : Forward<S, true, false>(args).run();
    args.normal ? Forward<S, false, true>(args).run() : Forward<S, false, false>(args).run();
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
