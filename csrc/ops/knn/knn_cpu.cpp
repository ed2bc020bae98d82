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
        y_{static_cast<const S*>(args.y), args.start_y, args.num_y, nullptr, nullptr},
        rounding_(Rounding<T>::of_sums(args.dim)) {}

  void run() {
    frames_ = scratch_.take<Frame>(args_.num_groups);
    if (!find_frames()) return;
    make_room(x_);
    make_room(y_);
    move_points(x_, frames_, args_.num_groups, args_.dim, args_.cosine, 1, args_.threads);
    move_points(y_, frames_, args_.num_groups, args_.dim, args_.cosine, args_.cosine ? -1 : -2, args_.threads);
    pack_points();
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

  void pack_points() {
    packed_ = scratch_.take<T*>(args_.num_groups);
    std::int64_t total = 0;
    for (std::int64_t g = 0; g < args_.num_groups; ++g) total += packed_size<T>(args_.dim, size_of(g));
    T* memory = scratch_.take<T>(total);
    for (std::int64_t g = 0; g < args_.num_groups; ++g) {
      packed_[g] = memory;
      memory += packed_size<T>(args_.dim, size_of(g));
    }
    const auto pack = [&](std::int64_t g, int threads) {
      const Strided<T> points{x_.moved + args_.start_x[g] * args_.dim, args_.dim, 1};
      pack_b<T>(points, args_.dim, size_of(g), packed_[g], threads);
    };
    if (args_.num_groups < args_.threads) {
      for (std::int64_t g = 0; g < args_.num_groups; ++g) pack(g, args_.threads);
    } else {
      parallel_for_dynamic(args_.num_groups, args_.threads, [&](std::int64_t g) { pack(g, 1); });
    }
    low_ = scratch_.take<T>(args_.num_x);
    for (std::int64_t i = 0; i < args_.num_x; ++i) {
      low_[i] = (args_.cosine ? 0 : x_.square[i]) - rounding_.error(x_.square[i]);
    }
  }

  std::int64_t size_of(std::int64_t group) const { return args_.start_x[group + 1] - args_.start_x[group]; }

  void search(std::int64_t group, std::int64_t first, std::int64_t rows) const {
    Scratch scratch;
    const std::int64_t offset = args_.start_x[group];
    const Frame& frame = frames_[group];
    const Exact<S> exact{x_.rows + offset * args_.dim, y_.rows, args_.dim, frame.scale, args_.cosine};
    Candidates<S> found(args_, exact, low_ + offset, x_.square + offset, y_.square, rounding_, offset, first, rows,
                        scratch);
    if (args_.radius < __builtin_inf()) {
      for (std::int64_t i = 0; i < rows; ++i) found.limit(i, bound_of(frame, first + i));
    }
    const Strided<T> queries{y_.moved + first * args_.dim, args_.dim, 1};
    gemm<T>(rows, size_of(group), args_.dim, queries, PackedB<T>{packed_[group], args_.dim, size_of(group)}, found, 1);
    for (std::int64_t i = 0; i < rows; ++i) found.finish(i);
  }

  // The lower bound that a point at the radius of this query can have.
  double bound_of(const Frame& frame, std::int64_t query) const {
    const double square = static_cast<double>(y_.square[query]), radius = args_.radius * frame.scale;
    const double bound = args_.cosine ? args_.radius - 1 : radius * radius - square;
    return bound < 0x1p100 ? bound + static_cast<double>(rounding_.error(y_.square[query])) : __builtin_inf();
  }

  const Knn& args_;
  Points<S> x_, y_;
  Scratch scratch_;
  Frame* frames_ = nullptr;
  T** packed_ = nullptr;
  T* low_ = nullptr;
  Rounding<T> rounding_;
};

}  // namespace

void knn(const Knn& args) {
  *args.first_invalid = -1;
  dispatch_dtype(args.dtype, [&](auto type) { Search<typename decltype(type)::Type>(args).run(); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
