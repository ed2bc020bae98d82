// The lower rungs of the ladder, as one would first write them: one loop over edges, then one over rows.
#include "common/parallel.h"
#include "common/scratch.h"
#include "ops/gather_scatter/schedule.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class T>
NNZOO_INLINE T combine(Reduce reduce, T before, T message) {
  switch (reduce) {
    case Reduce::sum:
    case Reduce::mean:
      return before + message;
    case Reduce::max:
      return message > before || message != message ? message : before;
    case Reduce::min:
      return message < before || message != message ? message : before;
    default:
      return before;
  }
}

template <class S>
class Simple {
 public:
  using T = Compute<S>;

  explicit Simple(const GatherScatterForward& args)
      : args_(args),
        x_(static_cast<const S*>(args.x)),
        weight_(static_cast<const S*>(args.weight)),
        out_(static_cast<S*>(args.out)),
        sums_(scratch_.take<T>(args.in.num_groups * args.features)) {}

  // Edge by edge in the order of their sources: two edges may meet in a target, so threads would need locks.
  void push() const {
    for (int r = 0; r < args_.num_reduces; ++r) {
      for (std::int64_t target = 0; target < args_.in.num_groups; ++target) start_row(r, target);
      for (std::int64_t source = 0; source < args_.out_of.num_groups; ++source) {
        for (std::int64_t k = args_.out_of.start[source]; k < args_.out_of.start[source + 1]; ++k) {
          add_edge(r, source, args_.out_of.node[k], args_.out_of.edge[k]);
        }
      }
      for (std::int64_t target = 0; target < args_.in.num_groups; ++target) finish_row(r, target);
    }
  }

  // Row by row: no two threads write the same row.
  void pull() const {
    for (int r = 0; r < args_.num_reduces; ++r) {
      parallel_for(args_.in.num_groups, args_.threads, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t target = begin; target < end; ++target) {
          start_row(r, target);
          for (std::int64_t k = args_.in.start[target]; k < args_.in.start[target + 1]; ++k) {
            add_edge(r, args_.in.node[k], target, args_.in.edge[k]);
          }
          finish_row(r, target);
        }
      });
    }
  }

 private:
  T size(std::int64_t target) const { return T(args_.in.start[target + 1] - args_.in.start[target]); }

  void start_row(int r, std::int64_t target) const {
    T value = T(0);
    if (args_.reduces[r] == Reduce::max && size(target) > 0) value = -T(__builtin_inf());
    if (args_.reduces[r] == Reduce::min && size(target) > 0) value = T(__builtin_inf());
    for (std::int64_t f = 0; f < args_.features; ++f) sums_[target * args_.features + f] = value;
  }

  NNZOO_INLINE void add_edge(int r, std::int64_t source, std::int64_t target, std::int64_t edge) const {
    const S* const x = x_ + source * args_.x_stride;
    T* const sums = sums_ + target * args_.features;
    const std::int64_t span = args_.features / args_.heads;
    const Reduce reduce = args_.reduces[r];
    for (std::int64_t head = 0; head < args_.heads; ++head) {
      const T weight = weight_ ? T(to_float(weight_[edge * args_.heads + head])) : T(1);
      for (std::int64_t f = head * span; f < (head + 1) * span; ++f) {
        sums[f] = combine(reduce, sums[f], weight * T(to_float(x[f])));
      }
    }
  }

  void finish_row(int r, std::int64_t target) const {
    const T divisor = args_.reduces[r] == Reduce::mean && size(target) > 0 ? size(target) : T(1);
    const T* const sums = sums_ + target * args_.features;
    S* const out = out_ + (r * args_.in.num_groups + target) * args_.features;
    for (std::int64_t f = 0; f < args_.features; ++f) out[f] = from_float<S>(sums[f] / divisor);
  }

  const GatherScatterForward& args_;
  Scratch scratch_;
  const S *x_, *weight_;
  S* out_;
  T* sums_;  // [num_targets, features]
};

}  // namespace

void gather_scatter_forward_simple(const GatherScatterForward& args) {
  const EdgeGroups& used = args.walk == Walk::push ? args.out_of : args.in;
  *args.valid = largest_group(args.in) >= 0 && largest_group(used) >= 0 &&
                valid_positions(used, {0, used.num_edges}, args.weight != nullptr);
  if (!*args.valid) return;
  dispatch_dtype(args.dtype, [&](auto type) {
    const Simple<typename decltype(type)::Type> simple(args);
    args.walk == Walk::push ? simple.push() : simple.pull();
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
