// The GEMM core that linear, conv, lstm and attention share: C[M, N] = A[M, K] @ B[K, N].
//
// ## Whole products
//
//     gemm<T>(M, N, K, a, b, epilogue, threads);                  // T: float, double or BFloat16Pair (Factor<S>)
//     gemm_batched<T>(batch, M, N, K, problem, threads);          // problem(i) -> GemmProblem{a, b, epilogue}
//
// `a` and `b` are operands (gemm_pack.h): Strided (any layout or transpose, float, BFloat16 or double), Gathered, or
// the caller's own class with a `pack` method, e.g. im2col on the fly. `b` may also be a PackedB. With threads == 1 no
// parallel region is opened, so a product may run inside a caller's parallel loop. A's values are packed per row block,
// B's once per block of K by all threads together (by the thread that uses it, if A is a single row block). Up to
// few_rows rows, a B whose rows are contiguous is read in place. The result is the same for any thread count.
//
// ## Epilogues
//
// The epilogue receives every finished vector of C exactly once, from any thread:
//
//     struct MyEpilogue {
//       static constexpr bool from_registers = true;   // short: inlined at each of the tile's registers; false: looped
//       Partial<Sum<T>> partial() const;               // memory for unfinished sums: C itself if it is T and may hold
//                                                      // garbage until the epilogue overwrites it; {nullptr, 0}: none
//       void operator()(std::int64_t row, std::int64_t column, int count, Vec<Sum<T>> sum) const;
//     };
//
// With `static constexpr bool takes_tiles = true` it receives tiles in the first-level cache instead of vectors:
//
//     void tile(const TilePlace& place, const Sum<T>* sums, int stride) const;   // place.rows rows, `stride` apart
//
// `count` lanes, from `column` on, are valid; the lanes beyond it hold zeros or padding and must not be stored.
// `Store<T, S>` is the plain one: sums of type T, C of type S (T or BFloat16), optionally C += (accumulate) and a bias
// per column.
//
// ## Packed B
//
//     T* memory = ... packed_size<T>(K, N) elements, 64-byte aligned ...
//     pack_b<T>(b, K, N, memory, threads);
//     gemm<T>(M, N, K, a, PackedB<T>{memory, K, N}, epilogue, threads);   // as often as wanted
//
// Layout: blocks of K of depth_block<T>(K) steps; in each, ceil(N / Tile<T>::columns) micro-panels
// [factors<T>(depth)][columns]. It
// depends on the ISA and the machine: never store it beyond the process.
//
// ## Pieces, for products of blocks that are already in cache (attention, recurrent steps)
//
//     pack_a_panels<T>(a, row, rows, k, depth, out)        // ceil(rows / Tile::rows) panels [depth][Tile::rows]
//     pack_b_panels<T>(b, column, columns, k, depth, out)  // ceil(columns / Tile::columns) panels
//     [depth][Tile::columns] multiply_panels<T>(rows, columns, depth, a_panels, b_panels, epilogue)
//
// with a_panels_size<T>(rows, depth) and b_panels_size<T>(columns, depth) elements. multiply_panels runs on the calling
// thread, covers the whole depth at once, and numbers rows and columns from 0.
#pragma once

#include "common/gemm_blocking.h"
#include "common/gemm_few_rows.h"
#include "common/gemm_pack.h"
#include "common/gemm_panels.h"
#include "common/gemm_tile.h"
#include "common/parallel.h"
#include "common/scratch.h"

namespace nnzoo {
namespace NNZOO_ISA {

template <class T, class S = T>
struct Store {
  static constexpr bool from_registers = true;
  S* c;
  std::int64_t stride;
  bool accumulate = false;
  const S* bias = nullptr;  // per column

  Partial<T> partial() const {
    if constexpr (sizeof(S) == sizeof(T)) {
      if (!accumulate) return {c, stride};
    }
    return {nullptr, 0};
  }
  NNZOO_INLINE void operator()(std::int64_t row, std::int64_t column, int count, Vec<T> sum) const {
    S* const to = c + row * stride + column;
    if (accumulate) sum += Vec<T>::load(to, count);
    if (bias) sum += Vec<T>::load(bias + column, count);
    sum.store(to, count);
  }
};

template <class A, class B, class Epilogue>
struct GemmProblem {
  A a;
  B b;
  Epilogue epilogue;
};
template <class A, class B, class Epilogue>
GemmProblem(A, B, Epilogue) -> GemmProblem<A, B, Epilogue>;

// Products with at most this many rows read B where it lies, since packing it would cost as much as the product.
constexpr std::int64_t few_rows = 16;

// `in_place` operands are read as `rows(column, k)`, ShiftedRows of T, wherever a panel is full, and packed elsewhere;
// the panel that begins with `column` has `columns(column)` of them.
template <class B>
struct OperandTraits {
  static constexpr bool packed = false, strided = false, in_place = false;
};
template <class T>
struct OperandTraits<PackedB<T>> {
  static constexpr bool packed = true, strided = false, in_place = false;
};
template <class S>
struct OperandTraits<Strided<S>> {
  static constexpr bool packed = false, strided = true, in_place = false;
};

// One product on a team of threads. Each thread owns a contiguous range of units, a unit being one row block times one
// column panel, in row-block-major order: it packs a row block of A when it comes to it and sweeps B's panels past it.
template <class T, class A, class B, class Epilogue>
class GemmRun {
  static constexpr int W = Tile<T>::columns;
  static constexpr bool b_packed = OperandTraits<B>::packed;

 public:
  GemmRun(std::int64_t M, std::int64_t N, std::int64_t K, const A& a, const B& b, const Epilogue& epilogue, int threads)
      : M_(M), N_(N), K_(K), a_(a), b_(b), epilogue_(epilogue) {
    depth_step_ = depth_block<T>(K);
    row_step_ = row_block<T>(M, depth_step_);
    if (fits_whole_depth<T>(M, K)) row_step_ = round_up(M, Tile<T>::rows);
    share_b_ = !b_packed && !OperandTraits<B>::in_place && row_step_ < M;
    column_step_ = share_b_ ? column_block<T>(N, depth_step_) : round_up(N, W);
    const std::int64_t panels = ceil_div(column_step_, W);
    // A single row block with fewer panels than threads: cut it, so that every thread has work.
    if (!share_b_ && row_step_ >= M && panels < threads) {
      row_step_ = equal_part(M, ceil_div(M, ceil_div(threads, panels)), Tile<T>::rows);
    }
    threads_ = clamp_threads(threads, panels * ceil_div(M, row_step_));
    panel_first_ = !share_b_ && K > depth_step_ && fits_whole_depth<T>(row_step_, K);
  }

  void run() {
    Scratch scratch;
    partial_ = epilogue_.partial();
    const bool own_partial = K_ > depth_step_ && !partial_.data && !panel_first_;
    if (share_b_) shared_b_ = scratch.take<T>(b_panels_size<T>(column_step_, depth_step_));
    // Unfinished sums that have no place in C get a buffer; rows are then taken in chunks so that it stays small.
    const std::int64_t chunk = own_partial ? round_up(2048, row_step_) : M_;
    Sum<T>* const buffer = own_partial ? scratch.take<Sum<T>>((chunk < M_ ? chunk : M_) * column_step_) : nullptr;
    for (row_begin_ = 0; row_begin_ < M_; row_begin_ = row_end_) {
      row_end_ = M_ - row_begin_ < chunk ? M_ : row_begin_ + chunk;
      for (column_begin_ = 0; column_begin_ < N_; column_begin_ = column_end_) {
        column_end_ = N_ - column_begin_ < column_step_ ? N_ : column_begin_ + column_step_;
        if (own_partial) partial_ = {buffer - row_begin_ * column_step_ - column_begin_, column_step_};
        parallel_team(threads_, [&](int thread, int count) {
          if (panel_first_) {
            run_panel_first(thread, count);
          } else {
            run_depth_first(thread, count);
          }
        });
      }
    }
  }

 private:
  std::int64_t panels() const { return ceil_div(column_end_ - column_begin_, W); }

  // Calls body(row, rows, first panel, last panel) for the row blocks of this thread's units.
  template <class Body>
  NNZOO_INLINE void for_each_row_block(int thread, int count, const Body& body) const {
    const std::int64_t n = panels();
    const Range units = split_range(ceil_div(row_end_ - row_begin_, row_step_) * n, thread, count);
    for (std::int64_t unit = units.begin; unit < units.end;) {
      const std::int64_t block = unit / n, row = row_begin_ + block * row_step_;
      const std::int64_t rows = row_end_ - row < row_step_ ? row_end_ - row : row_step_;
      const std::int64_t stop = (block + 1) * n < units.end ? (block + 1) * n : units.end;
      body(row, rows, unit - block * n, stop - block * n);
      unit = stop;
    }
  }

  // Calls body(k, depth, step) for the blocks of K; once, with depth 0, for an empty sum.
  template <class Body>
  NNZOO_INLINE void for_each_depth_block(const Body& body) const {
    std::int64_t k = 0;
    do {
      const std::int64_t depth = K_ - k < depth_step_ ? K_ - k : depth_step_;
      body(k, depth, DepthStep{k == 0, k + depth >= K_});
      k += depth;
    } while (k < K_);
  }

  // A block of K at a time for all of C: the general order.
  void run_depth_first(int thread, int count) {
    Scratch scratch;
    T* const a_block = scratch.take<T>(a_panels_size<T>(row_step_, depth_step_));
    T* const b_block = share_b_ || b_packed ? nullptr : scratch.take<T>(factors<T>(depth_step_) * W);
    for_each_depth_block([&](std::int64_t k, std::int64_t depth, DepthStep step) {
      if (share_b_) {
        pack_shared(k, depth, split_range(panels(), thread, count));
        team_barrier(count);
      }
      for_each_row_block(thread, count, [&](std::int64_t row, std::int64_t rows, std::int64_t begin, std::int64_t end) {
        pack_a_panels<T>(a_, row, rows, k, depth, a_block);
        for (std::int64_t panel = begin; panel < end; ++panel) {
          run_unit(panel, row, rows, k, depth, step, a_block, b_block, partial_);
        }
      });
      if (share_b_) team_barrier(count);
    });
  }

  // All of K at a time for a panel of C, when A stays in cache meanwhile: unfinished sums never leave it either.
  void run_panel_first(int thread, int count) {
    Scratch scratch;
    T* const a_block = scratch.take<T>(a_panels_size<T>(row_step_, K_));
    T* const b_block = b_packed ? nullptr : scratch.take<T>(factors<T>(depth_step_) * W);
    Sum<T>* const sums = partial_.data ? nullptr : scratch.take<Sum<T>>(row_step_ * W);
    for_each_row_block(thread, count, [&](std::int64_t row, std::int64_t rows, std::int64_t begin, std::int64_t end) {
      const std::int64_t padded_rows = round_up(rows, Tile<T>::rows);
      for_each_depth_block([&](std::int64_t k, std::int64_t depth, DepthStep) {
        pack_a_panels<T>(a_, row, rows, k, depth, a_block + padded_rows * factors<T>(k));
      });
      for (std::int64_t panel = begin; panel < end; ++panel) {
        const Partial<Sum<T>> kept = sums ? Partial<Sum<T>>{sums - row * W - column_begin_ - panel * W, W} : partial_;
        for_each_depth_block([&](std::int64_t k, std::int64_t depth, DepthStep step) {
          run_unit(panel, row, rows, k, depth, step, a_block + padded_rows * factors<T>(k), b_block, kept);
        });
      }
    });
  }

  void pack_shared(std::int64_t k, std::int64_t depth, Range panels) {
    if constexpr (!b_packed) {
      const std::int64_t first = column_begin_ + panels.begin * W, last = column_begin_ + panels.end * W;
      if (panels.begin < panels.end) {
        pack_b_panels<T>(b_, first, (last < column_end_ ? last : column_end_) - first, k, depth,
                         shared_b_ + panels.begin * W * factors<T>(depth));
      }
    }
  }

  NNZOO_INLINE void run_unit(std::int64_t panel, std::int64_t row, std::int64_t rows, std::int64_t k,
                             std::int64_t depth, DepthStep step, const T* a_block, T* b_block,
                             const Partial<Sum<T>>& partial) {
    const std::int64_t column = column_begin_ + panel * W;
    int columns = static_cast<int>(column_end_ - column < W ? column_end_ - column : W);
    if constexpr (OperandTraits<B>::in_place) {
      if (b_.columns(column) < columns) columns = b_.columns(column);
    }
    const TilePlace place{row, column, 0, columns};
    const T* b_panel = b_block;
    if constexpr (b_packed) {
      b_panel = b_.panel(panel, k, depth);
    } else {
      if constexpr (OperandTraits<B>::strided) {
        if (M_ <= few_rows && b_.outer_stride == 1 && columns == W) {
          return run_panel<T>(rows, depth, a_block, EvenRows{b_.at(column, k), b_.depth_stride}, place, step, partial,
                              epilogue_);
        }
      }
      if constexpr (OperandTraits<B>::in_place) {
        if (columns == W) {
          return run_panel<T>(rows, depth, a_block, b_.rows(column, k), place, step, partial, epilogue_);
        }
      }
      if (share_b_) {
        b_panel = shared_b_ + panel * W * factors<T>(depth);
      } else {
        b_.template pack<W>(column, columns, k, depth, b_block);
      }
    }
    run_panel<T>(rows, depth, a_block, EvenRows<T>{b_panel, W}, place, step, partial, epilogue_);
  }

  const std::int64_t M_, N_, K_;
  const A& a_;
  const B& b_;
  const Epilogue& epilogue_;
  std::int64_t depth_step_, row_step_, column_step_;
  bool share_b_, panel_first_;
  int threads_;
  T* shared_b_ = nullptr;
  Partial<Sum<T>> partial_{nullptr, 0};
  std::int64_t row_begin_ = 0, row_end_ = 0, column_begin_ = 0, column_end_ = 0;
};

template <class T, class A, class B, class Epilogue>
void gemm(std::int64_t M, std::int64_t N, std::int64_t K, const A& a, const B& b, const Epilogue& epilogue,
          int threads) {
  if (M <= 0 || N <= 0) return;
  if constexpr (OperandTraits<A>::strided && OperandTraits<B>::strided) {
    if (M <= few_rows && b.depth_stride == 1 && b.outer_stride != 1) {
      gemm_few_rows<T>(M, N, K, a, b, epilogue, threads);
      return;
    }
  }
  GemmRun<T, A, B, Epilogue>(M, N, K, a, b, epilogue, threads).run();
}

// `batch` independent products of one shape: spread over the threads if there are enough of them, else one by one on
// all.
template <class T, class Problem>
void gemm_batched(std::int64_t batch, std::int64_t M, std::int64_t N, std::int64_t K, const Problem& problem,
                  int threads) {
  if (batch >= threads) {
    parallel_for(batch, threads, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const auto p = problem(i);
        gemm<T>(M, N, K, p.a, p.b, p.epilogue, 1);
      }
    });
  } else {
    for (std::int64_t i = 0; i < batch; ++i) {
      const auto p = problem(i);
      gemm<T>(M, N, K, p.a, p.b, p.epilogue, threads);
    }
  }
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
