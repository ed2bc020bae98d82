// Backward through time. Each step turns the gradient of h_t into those of the gates' arguments ("deltas"), whose
// product with w_hh is the next step's gradient of h. Deltas of a chunk of steps are kept, so that the gradients of the
// weights and of the input are GEMMs over all rows of the chunk. Derivations: README.md of the ops.
//
// Of the gates that use the state's part apart from the input's, the two parts have different deltas. A row of deltas
// is [apart * hidden] of the input's own, then [gates * hidden], those of the state's parts.
//
// A cell (recurrent_forward.h) says what its backward is:
//
//     Vec<T> backward(kept, Vec<T> grad, now, before, Vec<T>& carry, deltas) const;
//
// `grad` is the gradient of h before any projection, and the result, if there are cells, is that h again. `now` and
// `before` are c_t and c_{t-1}, `carry` the gradient of c; where the new h mixes the old one in, `before` is h_{t-1}
// and `carry` what goes straight to its gradient.
#pragma once

#include "common/gemm.h"
#include "common/recurrent_product.h"
#include "common/recurrent_run.h"
#include "common/recurrent_sequence.h"

namespace nnzoo {
namespace NNZOO_ISA {

template <template <class> class CellOf, class S>
class BackwardRun {
  using T = Compute<S>;
  using F = Factor<S>;
  using D = Element<F>;
  static constexpr int width = Vec<T>::width, gates = CellOf<T>::gates, kept = CellOf<T>::kept;
  static constexpr int apart = CellOf<T>::apart;
  static constexpr bool has_cells = CellOf<T>::has_cells, mixes_h = CellOf<T>::mixes_h;
  // One block of the GEMM's depth: the weights' gradients need no memory for unfinished sums.
  static constexpr std::int64_t chunk_rows = values_per_factor<F> * 2048 / static_cast<std::int64_t>(sizeof(F));

 public:
  using Cell = CellOf<T>;

  BackwardRun(const RecurrentBackward& args, const Cell& cell, int directions)
      : args_(args),
        shape_(args.shape),
        cell_(cell),
        hidden_(args.shape.hidden),
        gates_(gates * args.shape.hidden),
        out_(args.shape.out()),
        stride_(apart * hidden_ + row_stride<F>(gates_)),
        sequence_(args.shape, args.reverse, scratch_),
        threads_(step_threads(args.shape, gates, directions, ceil_div(args.shape.hidden, width))),
        add_input_(directions > 1),
        recurrent_(ColumnPanels<F>::for_threads(gates_, out_, ceil_div(threads_, directions))),
        unprojection_(ColumnPanels<F>::for_threads(args.shape.projection, hidden_, ceil_div(threads_, directions))) {
    const std::int64_t batch = shape_.batch, chunk = chunk_rows > batch ? chunk_rows : batch;
    if constexpr (has_cells) convert(source(args_.c0), c0_ = scratch_.take<T>(batch * hidden_), batch * hidden_);
    if constexpr (has_cells || mixes_h) {
      convert(source(has_cells ? args_.grad_c_n : nullptr), carry_ = scratch_.take<T>(batch * hidden_),
              batch * hidden_);
    }
    deltas_ = take_rows(chunk, stride_);
    kept_deltas_ = take_rows(batch, stride_);
    pack_weights(chunk);
    if (args_.grad_w_ih || args_.grad_w_hh) {
      packed_deltas_ = scratch_.take<F>(packed_size<F>(chunk, gates_));
      if (apart > 0) packed_apart_ = scratch_.take<F>(packed_size<F>(chunk, apart * hidden_));
    }
    if (args_.grad_w_ih) grad_w_ih_ = scratch_.take<T>(shape_.in_features * gates_);
    if (args_.grad_w_hh) {
      grad_w_hh_ = scratch_.take<T>(out_ * gates_);
      previous_h_ = scratch_.take<D>(chunk * out_);
    }
    if (args_.grad_b_ih || args_.grad_b_hh) bias_sums_ = scratch_.take<T>(apart * hidden_ + gates_);
  }

  static void run(BackwardRun* const* runs, int directions) {
    if (directions > 1) runs[0]->clear_grad_input();
    for (std::int64_t end = runs[0]->shape_.steps, s; end > 0; end = s) {
      s = 0;
      for (int d = 0; d < directions; ++d) {
        const std::int64_t own = runs[d]->sequence_.chunk_begin(end, chunk_rows);
        if (own > s) s = own;
      }
      for (int d = 0; d < directions; ++d) runs[d]->begin_chunk(s, end);
      run_steps(runs, directions, end - s, runs[0]->threads_, [=](std::int64_t i) { return end - 1 - i; });
      for (int d = 0; d < directions; ++d) runs[d]->end_chunk(s, end);
    }
    for (int d = 0; d < directions; ++d) runs[d]->finish();
  }

  int phases() const { return projects() ? 2 : 1; }

  void step(std::int64_t s, int phase, int thread, int count) {
    const std::int64_t n = size_at(s), after = size_at(s + 1);
    if (phase == 1) {
      return unprojection_.multiply(
          n, grad_h_ + (row_at(s) - rows_.begin) * row_stride<F>(out_), row_stride<F>(out_), thread, count,
          [&](std::int64_t row, std::int64_t unit, int lanes, Vec<T> grad) { run_cell(s, row, unit, lanes, grad); });
    }
    const auto arrive = [&](std::int64_t row, std::int64_t j, int lanes, Vec<T> grad) {
      if (row >= n) return store_grad_h0(row, j, lanes, grad);
      grad += load_lanes<T>(source(args_.grad_output) + (row_at(s) + row) * args_.grad_output_stride + j, lanes);
      if (projects()) {
        grad.store(grad_h_ + (row_at(s) - rows_.begin + row) * row_stride<F>(out_) + j, lanes);
      } else {
        run_cell(s, row, j, lanes, grad);
      }
    };
    const D* const deltas = s + 1 == chunk_end_ ? kept_deltas_ : deltas_at(s + 1);
    recurrent_.multiply(after, deltas + apart * hidden_, stride_, thread, count, arrive);
    const Range own = recurrent_.columns_of(thread, count);
    for (std::int64_t row = after; row < n; ++row) {
      for_each_vector_of<T>(own.begin, own.end, [&](std::int64_t j, int lanes) {
        const S* const last = source(args_.grad_h_n);
        arrive(row, j, lanes, last ? Vec<T>::load(last + row * out_ + j, lanes) : Vec<T>::zero());
      });
    }
  }

 private:
  // Gates first..first + count of w_ih, and the column of the deltas where theirs begin.
  struct InputGates {
    std::int64_t column;
    int first, count;
  };
  static constexpr int parts = apart > 0 ? 2 : 1;
  InputGates part(int index) const {
    return index == 0 ? InputGates{apart * hidden_, 0, gates - apart} : InputGates{0, gates - apart, apart};
  }

  static const S* source(const void* pointer) { return static_cast<const S*>(pointer); }
  static T* target(void* pointer) { return static_cast<T*>(pointer); }
  bool projects() const { return has_cells && shape_.projection > 0; }

  D* take_rows(std::int64_t rows, std::int64_t stride) {
    D* const memory = scratch_.take<D>(rows * stride);
    convert(static_cast<const S*>(nullptr), memory, rows * stride);  // for the padding of pairs
    return memory;
  }

  void pack_weights(std::int64_t chunk) {
    recurrent_.pack(Strided<S>{source(args_.weights.w_hh), 1, out_}, scratch_.take<F>(recurrent_.size()),
                    shape_.threads);
    if (projects()) {
      grad_h_ = take_rows(chunk, row_stride<F>(out_));
      unprojected_ = scratch_.take<D>(chunk * hidden_);
      unprojection_.pack(Strided<S>{source(args_.weights.w_hr), 1, hidden_}, scratch_.take<F>(unprojection_.size()),
                         shape_.threads);
    }
    if (!args_.grad_input) return;
    const std::int64_t features = shape_.in_features;
    for (int p = 0; p < parts; ++p) {
      const std::int64_t depth = part(p).count * hidden_;
      w_ih_[p] = scratch_.take<F>(packed_size<F>(depth, features));
      pack_b<F>(Strided<S>{source(args_.weights.w_ih) + part(p).first * hidden_ * features, 1, features}, depth,
                features, w_ih_[p], shape_.threads);
    }
  }

  void clear_grad_input() {
    if (args_.grad_input) {
      convert(static_cast<const T*>(nullptr), target(args_.grad_input), shape_.rows * shape_.in_features);
    }
  }

  std::int64_t size_at(std::int64_t s) const {
    return s < 0 || s >= shape_.steps ? 0 : sequence_.size(sequence_.step_at(s));
  }
  std::int64_t row_at(std::int64_t s) const { return sequence_.first_row(sequence_.step_at(s)); }
  D* deltas_at(std::int64_t s) const { return deltas_ + (row_at(s) - rows_.begin) * stride_; }

  void begin_chunk(std::int64_t s, std::int64_t end) {
    rows_ = sequence_.rows(s, end);
    chunk_end_ = end;
  }

  // The first step of the next chunk reads the deltas of this chunk's last one, whose memory it reuses.
  void end_chunk(std::int64_t s, std::int64_t end) {
    multiply_chunk(s, end);
    accumulate_ = true;
    convert(deltas_at(s), kept_deltas_, size_at(s) * stride_);
  }

  // For one vector of hidden units of one sequence, from the gradient of its h to its deltas.
  NNZOO_INLINE void run_cell(std::int64_t s, std::int64_t row, std::int64_t unit, int count, Vec<T> grad) const {
    const std::int64_t at = row_at(s) + row;
    Vec<T> fold[kept], deltas[apart + gates], now = Vec<T>::zero(), before = now, carried = now;
#pragma GCC unroll 4
    for (int k = 0; k < kept; ++k) {
      fold[k] = load_lanes<T>(static_cast<const T*>(args_.gates) + (at * kept + k) * hidden_ + unit, count);
    }
    T* const carry = carry_ + row * hidden_ + unit;
    if constexpr (has_cells || mixes_h) carried = load_lanes<T>(carry, count);
    if constexpr (has_cells) {
      now = load_lanes<T>(cells() + at * hidden_ + unit, count);
      before = load_lanes<T>(cells_before(s, row) + unit, count);
    }
    if constexpr (mixes_h) {
      grad += carried;
      const S* const h = h_before(s, row);
      if (h) before = load_lanes<T>(h + unit, count);
    }
    const Vec<T> h = cell_.backward(fold, grad, now, before, carried, deltas);
    if constexpr (has_cells || mixes_h) store_lanes(carried, carry, count);
    D* const to = deltas_ + (at - rows_.begin) * stride_ + unit;
#pragma GCC unroll 4
    for (int k = 0; k < apart + gates; ++k) store_lanes(deltas[k], to + k * hidden_, count);
    if (projects()) store_lanes(h, unprojected_ + (at - rows_.begin) * hidden_ + unit, count);
  }

  const T* cells() const { return static_cast<const T*>(args_.cells); }

  const T* cells_before(std::int64_t s, std::int64_t row) const {
    return row < size_at(s - 1) ? cells() + (row_at(s - 1) + row) * hidden_ : c0_ + row * hidden_;
  }

  // The state that a row's step started from; null for zeros.
  const S* h_before(std::int64_t s, std::int64_t row) const {
    if (row < size_at(s - 1)) return source(args_.output) + (row_at(s - 1) + row) * args_.output_stride;
    return args_.h0 ? source(args_.h0) + row * out_ : nullptr;
  }

  NNZOO_INLINE void store_grad_h0(std::int64_t row, std::int64_t j, int count, Vec<T> grad) const {
    if (!args_.grad_h0) return;
    if constexpr (mixes_h) grad += Vec<T>::load(carry_ + row * hidden_ + j, count);
    grad.store(target(args_.grad_h0) + row * out_ + j, count);
  }

  // What the deltas of the steps s..end add to the gradients of input and weights.
  void multiply_chunk(std::int64_t s, std::int64_t end) {
    const std::int64_t rows = rows_.count, features = shape_.in_features;
    const int threads = shape_.threads;
    for (int p = 0; p < parts && args_.grad_input; ++p) {
      gemm<F>(rows, features, part(p).count * hidden_, Strided<D>{deltas_ + part(p).column, stride_, 1},
              PackedB<F>{w_ih_[p], part(p).count * hidden_, features},
              Store<T>{target(args_.grad_input) + rows_.begin * features, features, add_input_ || p > 0}, threads);
    }
    // Both weights' gradients are summed transposed, so that one packed copy of the deltas, the larger operand, serves
    // both.
    const PackedB<F> packed[] = {{packed_deltas_, rows, gates_}, {packed_apart_, rows, apart * hidden_}};
    if (packed_deltas_) {
      pack_b<F>(Strided<D>{deltas_ + apart * hidden_, 1, stride_}, rows, gates_, packed_deltas_, threads);
      if (apart > 0) pack_b<F>(Strided<D>{deltas_, 1, stride_}, rows, apart * hidden_, packed_apart_, threads);
    }
    for (int p = 0; p < parts && args_.grad_w_ih; ++p) {
      gemm<F>(features, part(p).count * hidden_, rows,
              Strided<S>{source(args_.input) + rows_.begin * features, 1, features}, packed[p],
              Store<T>{grad_w_ih_ + part(p).first * hidden_, gates_, accumulate_}, threads);
    }
    if (args_.grad_w_hh) {
      gather_previous_h(s, end);
      gemm<F>(out_, gates_, rows, Strided<D>{previous_h_, 1, out_}, packed[0],
              Store<T>{grad_w_hh_, gates_, accumulate_}, threads);
    }
    if (bias_sums_) sum_deltas();
    if (args_.grad_w_hr) {
      gemm<F>(out_, hidden_, rows, Strided<D>{grad_h_, 1, row_stride<F>(out_)}, Strided<D>{unprojected_, 1, hidden_},
              Store<T>{target(args_.grad_w_hr), hidden_, accumulate_}, threads);
    }
  }

  // previous_h_[row] = the state that row of the chunk started from.
  void gather_previous_h(std::int64_t s, std::int64_t end) const {
    parallel_for(end - s, shape_.threads, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t now = s + first; now < s + last; ++now) {
        D* to = previous_h_ + (row_at(now) - rows_.begin) * out_;
        for (std::int64_t row = 0; row < size_at(now); ++row, to += out_) convert(h_before(now, row), to, out_);
      }
    });
  }

  // In blocks of rows: shorter chains of roundings than one running sum has.
  void sum_deltas() const {
    constexpr std::int64_t block = 32;
    parallel_for(apart * hidden_ + gates_, shape_.threads, [&](std::int64_t first, std::int64_t last) {
      if (!accumulate_) convert(static_cast<const T*>(nullptr), bias_sums_ + first, last - first);
      for (std::int64_t row = 0; row < rows_.count; row += block) {
        const std::int64_t end = rows_.count - row < block ? rows_.count : row + block;
        for_each_vector_of<T>(first, last, [&](std::int64_t j, int n) {
          Vec<T> sum = Vec<T>::zero();
          for (std::int64_t i = row; i < end; ++i) sum += Vec<T>::load(deltas_ + i * stride_ + j, n);
          (Vec<T>::load(bias_sums_ + j, n) + sum).store(bias_sums_ + j, n);
        });
      }
    });
  }

  // to[j][i] = from[i][j], in blocks that one transposition of registers turns.
  void transpose(const T* from, std::int64_t rows, T* to) const {
    constexpr std::int64_t block = sizeof(T) == 4 ? 4 : 2;
    parallel_for(ceil_div(gates_, block), shape_.threads, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t j = first * block; j < last * block && j < gates_; j += block) {
        std::int64_t i = 0;
        for (; i + block <= rows && j + block <= gates_; i += block) {
          const T* const f = from + i * gates_ + j;
          if constexpr (sizeof(T) == 4) {
            transpose4(f, f + gates_, f + 2 * gates_, f + 3 * gates_, to + j * rows + i, rows);
          } else {
            transpose2(f, f + gates_, to + j * rows + i, rows);
          }
        }
        for (; i < rows; ++i) {
          for (std::int64_t k = j; k < j + block && k < gates_; ++k) to[k * rows + i] = from[i * gates_ + k];
        }
      }
    });
  }

  void finish() {
    if (args_.grad_w_ih) transpose(grad_w_ih_, shape_.in_features, target(args_.grad_w_ih));
    if (args_.grad_w_hh) transpose(grad_w_hh_, out_, target(args_.grad_w_hh));
    if (args_.grad_b_hh) convert(bias_sums_ + apart * hidden_, target(args_.grad_b_hh), gates_);
    for (int p = 0; p < parts && args_.grad_b_ih; ++p) {
      convert(bias_sums_ + part(p).column, target(args_.grad_b_ih) + part(p).first * hidden_, part(p).count * hidden_);
    }
    if (args_.grad_h0) {
      parallel_team(threads_, [&](int thread, int count) {
        recurrent_.multiply(
            size_at(0), kept_deltas_ + apart * hidden_, stride_, thread, count,
            [&](std::int64_t row, std::int64_t j, int lanes, Vec<T> grad) { store_grad_h0(row, j, lanes, grad); });
      });
    }
    if constexpr (has_cells) {
      if (args_.grad_c0) convert(static_cast<const T*>(carry_), target(args_.grad_c0), shape_.batch * hidden_);
    }
  }

  const RecurrentBackward& args_;
  const RecurrentShape& shape_;
  const Cell cell_;
  const std::int64_t hidden_, gates_, out_, stride_;
  Scratch scratch_;
  const Sequence sequence_;
  const int threads_;     // of the steps of all directions
  const bool add_input_;  // another direction adds to the same gradient of the input
  ColumnPanels<F> recurrent_, unprojection_;
  Sequence::Rows rows_{0, 0};  // of the chunk; deltas_, grad_h_, unprojected_ and previous_h_ start with its first one
  std::int64_t chunk_end_ = 0;
  bool accumulate_ = false;
  T *c0_ = nullptr, *carry_ = nullptr, *grad_w_ih_ = nullptr, *grad_w_hh_ = nullptr, *bias_sums_ = nullptr;
  D *deltas_, *kept_deltas_, *previous_h_ = nullptr, *grad_h_ = nullptr, *unprojected_ = nullptr;
  F *packed_deltas_ = nullptr, *packed_apart_ = nullptr, *w_ih_[parts] = {};
};

// Without any sequence the weights' gradients are still there: zeros.
template <class T>
void backward_of_nothing(const RecurrentBackward& args, std::int64_t gates) {
  const std::int64_t out = args.shape.out(), features = args.shape.in_features;
  const auto zero = [](void* memory, std::int64_t count) {
    if (memory) convert(static_cast<const T*>(nullptr), static_cast<T*>(memory), count);
  };
  zero(args.grad_w_ih, gates * features);
  zero(args.grad_w_hh, gates * out);
  zero(args.grad_b_ih, gates);
  zero(args.grad_b_hh, gates);
  zero(args.grad_w_hr, out * args.shape.hidden);
}

template <template <class> class CellOf, class... Options>
void recurrent_backward(const RecurrentLayer<RecurrentBackward>& layer, Options... options) {
  const RecurrentShape& shape = layer.directions[0].shape;
  dispatch_dtype(shape.dtype, [&](auto tag) {
    using Run = BackwardRun<CellOf, typename decltype(tag)::Type>;
    using T = Compute<typename decltype(tag)::Type>;
    if (shape.batch > 0) return run_layer<Run>(layer, typename Run::Cell{options...});
    for (int d = 0; d < layer.count; ++d) backward_of_nothing<T>(layer.directions[d], Run::Cell::gates * shape.hidden);
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
