// Scores, softmax and weighted sum in one walk over the edges: a later and larger score scales down what was summed.
#include "ops/gat/columns.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S, bool v2>
class Forward {
 public:
  using T = Compute<S>;

  explicit Forward(const GatForward& args)
      : data_(args.gat), in_(args.gat.in), out_(static_cast<S*>(args.out)), normal_(static_cast<T*>(args.normal)) {}

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
    Columns<T> columns;
    T *scores, *sums, *top, *total, *scale;
    const S** rows;
    Workspace(const GatData<S, v2>& data, Scratch& scratch)
        : columns(Columns<T>::make(data.heads, data.args.channels, scratch)),
          scores(scratch.take<T>(kEdges * data.lanes)),
          sums(scratch.take<T>(data.features)),
          top(scratch.take<T>(data.lanes)),
          total(scratch.take<T>(data.lanes)),
          scale(scratch.take<T>(data.lanes)),
          rows(scratch.take<const S*>(kEdges)) {
      for (std::int64_t i = 0; i < kEdges * data.lanes; ++i) scores[i] = T(0);  // the lanes behind the heads
    }
  };

  void attend(std::int64_t target, const Workspace& work) const {
    const std::int64_t heads = data_.heads, first = in_.start[target], last = in_.start[target + 1];
    data_.for_each_heads([&](std::int64_t h, int) {
      Vec<T>::set(-T(__builtin_inf())).store(work.top + h);
      Vec<T>::zero().store(work.total + h);
    });
    for (std::int64_t f = 0; f < data_.features; ++f) work.sums[f] = T(0);
    for (std::int64_t k = first; k < last; k += kEdges) {
      const int edges = static_cast<int>(last - k < kEdges ? last - k : kEdges);
      score(target, k, edges, work);
      raise_top(edges, k > first, work);
      if (data_.args.probability > 0) drop(k, edges, work);
      add_weighted_rows(work.columns, work.rows, work.scores, data_.lanes, edges, work.sums);
    }
    S* const out = out_ + target * data_.features;
    for (std::int64_t i = 0; i < work.columns.count; ++i) {
      const Column& column = work.columns.list[i];
      const T total = last > first ? work.total[column.head] : T(1);
      (at<T>(work.sums, column) / Vec<T>::set(total)).store(out + column.feature, column.lanes);
    }
    if (normal_) {
      T* const normal = normal_ + target * 2 * heads;
      for (std::int64_t h = 0; h < heads; ++h) normal[h] = work.top[h], normal[heads + h] = work.total[h];
    }
  }

  void score(std::int64_t target, std::int64_t k, int edges, const Workspace& work) const {
    const std::int64_t end = in_.num_edges - 1;
    for (int e = 0; e < edges; ++e) {
      const std::int64_t later = k + e + Far::edges < end ? k + e + Far::edges : end;
      data_.prefetch(data_.x, in_.node[later]);
      if constexpr (!v2) prefetch_to_level2(data_.source + in_.node[later] * data_.heads);
      const std::int32_t source = in_.node[k + e];
      work.rows[e] = data_.x + source * data_.features;
      data_.score(work.columns, source, static_cast<std::int32_t>(target), in_.edge[k + e],
                  work.scores + e * data_.lanes);
    }
  }

  // Scores become exponentials, counted from the largest score so far; what was summed before is scaled to it.
  void raise_top(int edges, bool again, const Workspace& work) const {
    const std::int64_t lanes = data_.lanes;
    data_.for_each_heads([&](std::int64_t h, int) {
      const Vec<T> before = Vec<T>::load(work.top + h), lowest = Vec<T>::set(-T(__builtin_inf()));
      Vec<T> top = before;
      for (int e = 0; e < edges; ++e) {
        const Vec<T> score = Vec<T>::load(work.scores + e * lanes + h);
        top = select(is_nan(score), score, max(score, top));
      }
      top.store(work.top + h);
      const Vec<T> base = select(top == lowest, Vec<T>::zero(), top);
      Vec<T> total = Vec<T>::load(work.total + h);
      if (again) {
        const Vec<T> scale = exp(before - base);
        scale.store(work.scale + h);
        total *= scale;
      }
      for (int e = 0; e < edges; ++e) {
        T* const score = work.scores + e * lanes + h;
        const Vec<T> raised = exp(Vec<T>::load(score) - base);
        raised.store(score);
        total += raised;
      }
      total.store(work.total + h);
    });
    if (!again) return;
    for (std::int64_t i = 0; i < work.columns.count; ++i) {
      const Column& column = work.columns.list[i];
      (at<T>(work.sums, column) * Vec<T>::set(work.scale[column.head])).store(work.sums + column.feature, column.lanes);
    }
  }

  void drop(std::int64_t k, int edges, const Workspace& work) const {
    for (int e = 0; e < edges; ++e) {
      for (std::int64_t h = 0; h < data_.heads; ++h) {
        work.scores[e * data_.lanes + h] *= data_.keeps(in_.edge[k + e], h);
      }
    }
  }

  GatData<S, v2> data_;
  const EdgeGroups& in_;
  S* out_;
  T* normal_;
};

}  // namespace

void gat_forward(const GatForward& args) {
  *args.gat.valid = true;
  dispatch_dtype(args.gat.dtype, [&](auto type) {
    using S = typename decltype(type)::Type;
    args.gat.att ? Forward<S, true>(args).run() : Forward<S, false>(args).run();
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
