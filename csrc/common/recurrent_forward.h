// Forward of a direction: the input's part of all gates is one GEMM per chunk of steps; then each step adds the state's
// part and runs the cell while its sums are in the first-level cache. Threads own hidden units, so a thread's weights
// stay in its own cache.
//
// A cell says what the gates do with a vector of hidden units of one sequence:
//
//     static constexpr int gates;         // rows of w_ih and w_hh for each unit
//     static constexpr int apart;         // how many of the last gates use the state's part apart from the input's
//     static constexpr int kept;          // values that backward wants of each unit, at least `gates`
//     static constexpr bool has_cells;    // a state c besides h, and projections
//     static constexpr bool mixes_h;      // the new h takes part of the old one as it is
//     Vec<T> forward(input, state, h, Vec<T>& c, kept) const;     // the new h; arrays of Vec<T>, one of a gate each
#pragma once

#include "common/gemm.h"
#include "common/recurrent_product.h"
#include "common/recurrent_run.h"
#include "common/recurrent_sequence.h"

namespace nnzoo {
namespace NNZOO_ISA {

// C = sum + bias.
template <class T>
struct AddBias {
  static constexpr bool from_registers = true;
  T* c;
  std::int64_t stride;
  const T* bias;

  Partial<T> partial() const { return {c, stride}; }
  NNZOO_INLINE void operator()(std::int64_t row, std::int64_t column, int count, Vec<T> sum) const {
    (sum + Vec<T>::load(bias + column, count)).store(c + row * stride + column, count);
  }
};

template <template <class> class CellOf, class S>
class ForwardRun {
  using T = Compute<S>;
  using F = Factor<S>;
  using D = Element<F>;
  static constexpr int width = Vec<T>::width, gates = CellOf<T>::gates, kept = CellOf<T>::kept;
  static constexpr int apart = CellOf<T>::apart;
  // Enough rows for the GEMM; few enough to still be in cache at their steps.
  static constexpr std::int64_t chunk_rows = 256;

 public:
  using Cell = CellOf<T>;

  ForwardRun(const RecurrentForward& args, const Cell& cell, int directions)
      : args_(args),
        shape_(args.shape),
        cell_(cell),
        hidden_(args.shape.hidden),
        out_(args.shape.out()),
        sequence_(args.shape, args.reverse, scratch_),
        threads_(step_threads(args.shape, gates, directions, ceil_div(args.shape.hidden, width))),
        gate_weights_(GateWeights::for_threads(out_, round_up(hidden_, width) * gates, ceil_div(threads_, directions))),
        projection_(Projection::for_threads(hidden_, args.shape.projection, ceil_div(threads_, directions))) {
    add_biases();
    for (D*& h : h_) {
      h = scratch_.take<D>(shape_.batch * row_stride<F>(out_));
      convert_rows<F>(source(args_.h0), h, shape_.batch, out_);
    }
    pack_weights();
    if constexpr (Cell::has_cells) {
      convert(source(args_.c0), c_ = scratch_.take<T>(shape_.batch * hidden_), shape_.batch * hidden_);
    }
    if (!args_.gates) {
      chunk_gates_ = scratch_.take<T>((chunk_rows > shape_.batch ? chunk_rows : shape_.batch) * kept * hidden_);
    }
  }

  static void run(ForwardRun* const* runs, int directions) {
    const std::int64_t steps = runs[0]->shape_.steps;
    for (std::int64_t s = 0, end; s < steps; s = end) {
      end = steps;
      for (int d = 0; d < directions; ++d) {
        const std::int64_t own = runs[d]->sequence_.chunk_end(s, chunk_rows);
        if (own < end) end = own;
      }
      for (int d = 0; d < directions; ++d) runs[d]->project_input(runs[d]->sequence_.rows(s, end));
      run_steps(runs, directions, end - s, runs[0]->threads_, [=](std::int64_t i) { return s + i; });
    }
    for (int d = 0; d < directions; ++d) runs[d]->finish();
  }

  int phases() const { return projects() ? 2 : 1; }

  void step(std::int64_t s, int phase, int thread, int count) {
    const std::int64_t t = sequence_.step_at(s), n = sequence_.size(t), first_row = sequence_.first_row(t);
    if (phase == 0) {
      gate_weights_.multiply_rows_of_panels(n, h_[s & 1], row_stride<F>(out_), thread, count,
                                            [&](std::int64_t row, std::int64_t column, auto vectors, const T* sums) {
                                              std::int64_t unit = column / gates;
                                              for (int v = 0; v < vectors.value && unit < hidden_;
                                                   v += gates, unit += width) {
                                                run_cell(s, first_row, row, unit, sums + v * width);
                                              }
                                            });
    } else {
      projection_.multiply(n, unprojected_, row_stride<F>(hidden_), thread, count,
                           [&](std::int64_t row, std::int64_t j, int lanes, Vec<T> h) {
                             store_h(s, first_row + row, row, j, lanes, h);
                           });
    }
  }

 private:
  using GateWeights = ColumnPanels<F, gates == 1 ? 0 : gates>;
  using Projection = ColumnPanels<F>;

  static const S* source(const void* pointer) { return static_cast<const S*>(pointer); }
  bool projects() const { return Cell::has_cells && shape_.projection > 0; }

  void add_biases() {
    const S *b_ih = source(args_.weights.b_ih), *b_hh = source(args_.weights.b_hh);
    const std::int64_t joint = (gates - apart) * hidden_;
    bias_ = scratch_.take<T>(gates * hidden_);
    convert(b_ih, bias_, gates * hidden_);
    for_each_vector<T>(b_hh ? joint : 0, [&](std::int64_t j, int n) {
      (Vec<T>::load(bias_ + j, n) + Vec<T>::load(b_hh + j, n)).store(bias_ + j, n);
    });
    if constexpr (apart > 0) {
      state_bias_ = scratch_.take<T>(apart * hidden_);
      convert(b_hh ? b_hh + joint : nullptr, state_bias_, apart * hidden_);
    }
  }

  void pack_weights() {
    gate_weights_.pack(GateColumns<T, S, gates>{source(args_.weights.w_hh), hidden_, out_},
                       scratch_.take<F>(gate_weights_.size()), shape_.threads);
    if (projects()) {
      unprojected_ = scratch_.take<D>(shape_.batch * row_stride<F>(hidden_));
      convert_rows<F>(static_cast<const S*>(nullptr), unprojected_, shape_.batch, hidden_);
      projection_.pack(Strided<S>{source(args_.weights.w_hr), hidden_, 1}, scratch_.take<F>(projection_.size()),
                       shape_.threads);
    }
    w_ih_ = scratch_.take<F>(packed_size<F>(shape_.in_features, gates * hidden_));
    pack_b<F>(Strided<S>{source(args_.weights.w_ih), shape_.in_features, 1}, shape_.in_features, gates * hidden_, w_ih_,
              shape_.threads);
  }

  void project_input(Sequence::Rows rows) {
    const std::int64_t columns = gates * hidden_, features = shape_.in_features;
    chunk_begin_ = args_.gates ? 0 : rows.begin;
    if (args_.gates) chunk_gates_ = static_cast<T*>(args_.gates);
    gemm<F>(rows.count, columns, features, Strided<S>{source(args_.input) + rows.begin * features, features, 1},
            PackedB<F>{w_ih_, features, columns}, AddBias<T>{kept_at(rows.begin), kept * hidden_, bias_},
            shape_.threads);
  }

  T* kept_at(std::int64_t row) const { return chunk_gates_ + (row - chunk_begin_) * kept * hidden_; }

  // One vector of hidden units from `unit` on of one sequence.
  NNZOO_INLINE void run_cell(std::int64_t s, std::int64_t first_row, std::int64_t row, std::int64_t unit,
                             const T* sums) {
    const int count = static_cast<int>(hidden_ - unit < width ? hidden_ - unit : width);
    T* const at = kept_at(first_row + row) + unit;
    Vec<T> input[gates], state[gates], fold[kept], c = Vec<T>::zero(), before = c;
#pragma GCC unroll 4
    for (int g = 0; g < gates; ++g) {
      input[g] = Vec<T>::load(at + g * hidden_, count);
      state[g] = Vec<T>::load(sums + g * width);
      if (g >= gates - apart) state[g] += Vec<T>::load(state_bias_ + (g - gates + apart) * hidden_ + unit, count);
    }
    if constexpr (Cell::has_cells) c = Vec<T>::load(c_ + row * hidden_ + unit, count);
    if constexpr (Cell::mixes_h) before = Vec<T>::load(h_[s & 1] + row * row_stride<F>(out_) + unit, count);
    const Vec<T> h = cell_.forward(input, state, before, c, fold);
    if (args_.gates) {
#pragma GCC unroll 4
      for (int k = 0; k < kept; ++k) fold[k].store(at + k * hidden_, count);
    }
    if constexpr (Cell::has_cells) {
      c.store(c_ + row * hidden_ + unit, count);
      if (args_.cells) c.store(static_cast<T*>(args_.cells) + (first_row + row) * hidden_ + unit, count);
    }
    if (projects()) {
      h.store(unprojected_ + row * row_stride<F>(hidden_) + unit, count);
    } else {
      store_h(s, first_row + row, row, unit, count, h);
    }
  }

  // The next step sees h as the caller does: rounded to S.
  NNZOO_INLINE void store_h(std::int64_t s, std::int64_t output_row, std::int64_t row, std::int64_t j, int count,
                            Vec<T> h) {
    S* const to = static_cast<S*>(args_.output) + output_row * args_.output_stride + j;
    h.store(to, count);
    if constexpr (sizeof(S) != sizeof(D)) h = Vec<T>::load(to, count);
    h.store(h_[(s + 1) & 1] + row * row_stride<F>(out_) + j, count);
  }

  void finish() {
    if constexpr (Cell::has_cells) convert(c_, static_cast<S*>(args_.c_n), shape_.batch * hidden_);
    if (!args_.h_n) return;
    // A sequence that ended early has its last state in the buffer that its own last step wrote.
    std::int64_t steps = shape_.steps;
    for (std::int64_t row = 0; row < shape_.batch; ++row) {
      if (!args_.reverse) {
        while (sequence_.size(steps - 1) <= row) --steps;
      }
      convert(h_[steps & 1] + row * row_stride<F>(out_), static_cast<S*>(args_.h_n) + row * out_, out_);
    }
  }

  const RecurrentForward& args_;
  const RecurrentShape& shape_;
  const Cell cell_;
  const std::int64_t hidden_, out_;
  Scratch scratch_;
  const Sequence sequence_;
  const int threads_;  // of the steps of all directions
  GateWeights gate_weights_;
  Projection projection_;
  T *bias_, *state_bias_ = nullptr, *c_ = nullptr;
  D *h_[2], *unprojected_ = nullptr;
  F* w_ih_;
  T* chunk_gates_ = nullptr;  // [., kept * hidden], from row chunk_begin_ on: the input's parts, then what is kept
  std::int64_t chunk_begin_ = 0;
};

template <template <class> class CellOf, class... Options>
void recurrent_forward(const RecurrentLayer<RecurrentForward>& layer, Options... options) {
  const RecurrentShape& shape = layer.directions[0].shape;
  if (shape.batch == 0) return;
  dispatch_dtype(shape.dtype, [&](auto tag) {
    using Run = ForwardRun<CellOf, typename decltype(tag)::Type>;
    run_layer<Run>(layer, typename Run::Cell{options...});
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
