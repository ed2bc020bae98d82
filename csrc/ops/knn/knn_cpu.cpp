// Queries go in blocks: a product with all points of their group, whose epilogue keeps candidates, then the exact
// distances of these.
#include "ops/knn/candidates.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S>
class Search {
 public:
  using T = Compute<S>;

  explicit Search(const Knn& args)
      : args_(args),
        x_{static_cast<const S*>(args.x), args.start_x, args.num_x, nullptr, nullptr},
        y_{static_cast<const S*>(args.y), args.start_y, args.num_y, nullptr, nullptr} {}

  void run() {
    frames_ = scratch_.take<Frame>(args_.num_groups);
    if (!find_frames()) return;
    make_room(x_);
    make_room(y_);
    move_points(x_, frames_, args_.num_groups, args_.dim, args_.cosine, 1, args_.threads);
    move_points(y_, frames_, args_.num_groups, args_.dim, args_.cosine, args_.cosine ? -1 : -2, args_.threads);
    fine_ = pack_points<T>(args_, x_, y_, scratch_);
    if constexpr (has_coarse<T>) {
      use_coarse_ = args_.dim >= kLeastCoarseDim;
      if (use_coarse_) coarse_ = pack_points<Coarse<T>>(args_, x_, y_, scratch_);
    }
    const std::int64_t rows = block_rows();
    std::int64_t* const first_block = scratch_.take<std::int64_t>(args_.num_groups + 1);
    first_block[0] = 0;
    for (std::int64_t g = 0; g < args_.num_groups; ++g) {
      first_block[g + 1] = first_block[g] + ceil_div(args_.start_y[g + 1] - args_.start_y[g], rows);
    }
    parallel_for_dynamic(first_block[args_.num_groups], args_.threads, [&](std::int64_t block) {
      const std::int64_t group = group_of(first_block, block);
      const std::int64_t first = args_.start_y[group] + (block - first_block[group]) * rows;
      const std::int64_t left = args_.start_y[group + 1] - first;
      search(group, first, left < rows ? left : rows);
    });
  }

 private:
  // A block's lists fit half of the second-level cache, and a product has rows enough to read a panel of points for.
  std::int64_t block_rows() const {
    const std::int64_t bytes = Candidates<S>::room(args_.k) * std::int64_t(sizeof(T) + sizeof(std::int32_t));
    const std::int64_t rows = cache_sizes().level2 / 2 / bytes;
    return rows < 16 ? 16 : rows > 128 ? 128 : rows;
  }

  // The group of a block, by bisection.
  std::int64_t group_of(const std::int64_t* first_block, std::int64_t block) const {
    std::int64_t low = 0, high = args_.num_groups;
    while (high - low > 1) {
      const std::int64_t middle = (low + high) / 2;
      (first_block[middle] <= block ? low : high) = middle;
    }
    return low;
  }

  void make_room(Points<S>& points) {
    points.moved = scratch_.take<T>(points.count * args_.dim);
    points.square = scratch_.take<T>(points.count);
  }

  bool find_frames() {
    double* const middles = scratch_.take<double>(args_.num_groups * args_.dim);
    bool finite = true;
    parallel_for_dynamic(args_.num_groups, args_.threads, [&](std::int64_t group) {
      frames_[group].middle = middles + group * args_.dim;
      if (!find_frame(x_, y_, group, args_.dim, args_.cosine, frames_[group])) {
        __atomic_store_n(&finite, false, __ATOMIC_RELAXED);
      }
    });
    if (finite) return true;
    const std::int64_t in_x = first_infinite_row(x_, args_.dim);
    *args_.first_invalid = in_x >= 0 ? in_x : args_.num_x + first_infinite_row(y_, args_.dim);
    return false;
  }

  // Where coarse products leave too much to settle, all later blocks use fine ones. That is no choice of results.
  void search(std::int64_t group, std::int64_t first, std::int64_t rows) {
    if constexpr (has_coarse<T>) {
      if (__atomic_load_n(&use_coarse_, __ATOMIC_RELAXED)) {
        if (search_by(coarse_, group, first, rows) > rows) __atomic_store_n(&use_coarse_, false, __ATOMIC_RELAXED);
        return;
      }
    }
    search_by(fine_, group, first, rows);
  }

  template <class F>
  std::int64_t search_by(const Products<F>& products, std::int64_t group, std::int64_t first, std::int64_t rows) const {
    Scratch scratch;
    const std::int64_t offset = args_.start_x[group], size = args_.start_x[group + 1] - offset;
    const Frame& frame = frames_[group];
    const Exact<S> exact{x_.rows + offset * args_.dim, y_.rows, args_.dim, frame.scale, args_.cosine};
    Candidates<S> found(args_, exact, products.low + offset, x_.square + offset, y_.square, products.rounding, offset,
                        first, rows, scratch);
    if (args_.radius < __builtin_inf()) {
      for (std::int64_t i = 0; i < rows; ++i) found.limit(i, bound_of(frame, first + i, products.rounding));
    }
    const Strided<Element<F>> queries{products.y + first * args_.dim, args_.dim, 1};
    gemm<F>(rows, size, args_.dim, queries, PackedB<F>{products.packed[group], args_.dim, size}, found, 1);
    for (std::int64_t i = 0; i < rows; ++i) found.finish(i);
    return found.settled();
  }

  // The lower bound that a point at the radius of this query can have.
  double bound_of(const Frame& frame, std::int64_t query, Rounding<T> rounding) const {
    const double square = static_cast<double>(y_.square[query]), radius = args_.radius * frame.scale;
    const double bound = args_.cosine ? args_.radius - 1 : radius * radius - square;
    return bound < 0x1p100 ? bound + static_cast<double>(rounding.error(y_.square[query])) : __builtin_inf();
  }

  const Knn& args_;
  Points<S> x_, y_;
  Scratch scratch_;
  Frame* frames_ = nullptr;
  Products<T> fine_{};
  Products<Coarse<T>> coarse_{};
  bool use_coarse_ = false;
};

}  // namespace

void knn(const Knn& args) {
  *args.first_invalid = -1;
  dispatch_dtype(args.dtype, [&](auto type) { Search<typename decltype(type)::Type>(args).run(); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
