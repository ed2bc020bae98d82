// Forward: the input's part of all gates is one GEMM per chunk of steps; then each step adds the state's part and runs
// the cell while its sums are in the first-level cache. Threads own hidden units, so a thread's weights stay in its own
// cache.
#include "common/gemm.h"
#include "common/vmath.h"
#include "ops/lstm/lstm_recurrent.h"
#include "ops/lstm/lstm_sequence.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// C = sum + bias, or C = sum without one.
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

template <class S>
class ForwardRun {
  using T = Compute<S>;
  using F = Factor<S>;
  using D = Element<F>;
  static constexpr int width = Vec<T>::width;
  static constexpr std::int64_t chunk_rows =
      256;  // enough for the GEMM; few enough to still be in cache at their steps

 public:
  explicit ForwardRun(const LstmForward& args)
      : args_(args),
        shape_(args.shape),
        hidden_(args.shape.hidden),
        out_(args.shape.out()),
        sequence_(args.shape, scratch_),
        threads_(step_threads(args.shape, ceil_div(args.shape.hidden, width))),
        gate_weights_(out_, round_up(hidden_, width) * 4, 4),
        projection_(ColumnPanels<F>::for_threads(hidden_, args.shape.projection, threads_)) {}

  void run() {
    prepare();
    for (std::int64_t s = 0, end; s < shape_.steps; s = end) {
      end = sequence_.chunk_end(s, chunk_rows);
      project_input(sequence_.rows(s, end));
      parallel_team(threads_, [&](int thread, int count) {
        for (std::int64_t now = s; now < end; ++now) {
          step(now, thread, count);
          team_barrier(count);
        }
      });
    }
    finish();
  }

 private:
  void prepare() {
    const std::int64_t batch = shape_.batch, gates = 4 * hidden_;
    bias_ = scratch_.take<T>(gates);
    const S *b_ih = static_cast<const S*>(args_.weights.b_ih), *b_hh = static_cast<const S*>(args_.weights.b_hh);
    for_each_vector<T>(gates, [&](std::int64_t j, int n) {
      const Vec<T> first = b_ih ? Vec<T>::load(b_ih + j, n) : Vec<T>::zero();
      (first + (b_hh ? Vec<T>::load(b_hh + j, n) : Vec<T>::zero())).store(bias_ + j, n);
    });
    for (D*& h : h_) {
      h = scratch_.take<D>(batch * row_stride<F>(out_));
      convert_rows<F>(static_cast<const S*>(args_.h0), h, batch, out_);
    }
    convert(static_cast<const S*>(args_.c0), c_ = scratch_.take<T>(batch * hidden_), batch * hidden_);
    gate_weights_.pack(GateColumns<T, S>{static_cast<const S*>(args_.weights.w_hh), hidden_, out_},
                       scratch_.take<F>(gate_weights_.size()), shape_.threads);
    if (shape_.projection > 0) {
      unprojected_ = scratch_.take<D>(batch * row_stride<F>(hidden_));
      convert_rows<F>(static_cast<const S*>(nullptr), unprojected_, batch, hidden_);
      projection_.pack(Strided<S>{static_cast<const S*>(args_.weights.w_hr), hidden_, 1},
                       scratch_.take<F>(projection_.size()), shape_.threads);
    }
    w_ih_ = scratch_.take<F>(packed_size<F>(shape_.in_features, gates));
    pack_b<F>(Strided<S>{static_cast<const S*>(args_.weights.w_ih), shape_.in_features, 1}, shape_.in_features, gates,
              w_ih_, shape_.threads);
    if (!args_.gates)
      chunk_gates_ = scratch_.take<T>((chunk_rows > batch ? chunk_rows : batch) * gates);
  }

  void project_input(Sequence::Rows rows) {
    const std::int64_t gates = 4 * hidden_, features = shape_.in_features;
    const S* input = static_cast<const S*>(args_.input) + rows.begin * features;
    chunk_begin_ = args_.gates ? 0 : rows.begin;
    if (args_.gates) chunk_gates_ = static_cast<T*>(args_.gates);
    gemm<F>(rows.count, gates, features, Strided<S>{input, features, 1}, PackedB<F>{w_ih_, features, gates},
            AddBias<T>{chunk_gates_ + (rows.begin - chunk_begin_) * gates, gates, bias_}, shape_.threads);
  }

  void step(std::int64_t s, int thread, int count) {
    const std::int64_t t = sequence_.step_at(s), n = sequence_.size(t);
    const Range share = split_range(gate_weights_.panels, thread, count);
    for (std::int64_t p = share.begin; p < share.end; ++p) {
      multiply_panel<F, 4>(
          n, out_, h_[s & 1], row_stride<F>(out_), gate_weights_.panel(p),
          [&](std::int64_t row, const T* sums) { cell(s, sequence_.first_row(t), row, p * width, sums); });
    }
    if (shape_.projection > 0) {
      team_barrier(count);
      projection_.multiply(n, unprojected_, row_stride<F>(hidden_), thread, count,
                           [&](std::int64_t row, std::int64_t j, int lanes, Vec<T> h) {
                             store_h(s, sequence_.first_row(t) + row, row, j, lanes, h);
                           });
    }
  }

  // One vector of hidden units from `unit` on of one sequence: gates, new cell state, new output.
  NNZOO_INLINE void cell(std::int64_t s, std::int64_t first_row, std::int64_t row, std::int64_t unit, const T* sums) {
    const int count = static_cast<int>(hidden_ - unit < width ? hidden_ - unit : width);
    T* const kept = chunk_gates_ + (first_row + row - chunk_begin_) * 4 * hidden_ + unit;
    const auto preactivation = [&](int gate) {
      return Vec<T>::load(kept + gate * hidden_, count) + Vec<T>::load(sums + gate * width);
    };
    const auto keep = [&](int gate, Vec<T> folded) {
      if (args_.gates) folded.store(kept + gate * hidden_, count);
    };
    const auto open = [&](int gate) {
      const Vec<T> folded = folded_sigmoid(preactivation(gate));
      keep(gate, folded);
      return unfold_sigmoid(folded).value;
    };
    const Vec<T> i = open(0), f = open(1), a = preactivation(2), g = tanh(a), o = open(3);
    keep(2, folded_tanh(a));
    T* const state = c_ + row * hidden_ + unit;
    const Vec<T> c = fma(f, Vec<T>::load(state, count), i * g);
    c.store(state, count);
    const Vec<T> h = o * tanh(c);
    if (args_.cells) c.store(static_cast<T*>(args_.cells) + (first_row + row) * hidden_ + unit, count);
    if (shape_.projection > 0) {
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
    convert(c_, static_cast<S*>(args_.c_n), shape_.batch * hidden_);
    if (!args_.h_n) return;
    // A sequence that ended early has its last state in the buffer that its own last step wrote.
    std::int64_t steps = shape_.steps;
    for (std::int64_t row = 0; row < shape_.batch; ++row) {
      if (!shape_.reverse) {
        while (sequence_.size(steps - 1) <= row) --steps;
      }
      convert(h_[steps & 1] + row * row_stride<F>(out_), static_cast<S*>(args_.h_n) + row * out_, out_);
    }
  }

  const LstmForward& args_;
  const LstmShape& shape_;
  const std::int64_t hidden_, out_;
  Scratch scratch_;
  const Sequence sequence_;
  const int threads_;
  ColumnPanels<F> gate_weights_, projection_;
  T *bias_, *c_;
  D *h_[2], *unprojected_ = nullptr;
  F* w_ih_;
  T* chunk_gates_ = nullptr;  // [., 4 * hidden] see LstmForward::gates, from row chunk_begin_ on
  std::int64_t chunk_begin_ = 0;
};

}  // namespace

void lstm_forward(const LstmForward& args) {
  if (args.shape.batch == 0) return;
  dispatch_dtype(args.shape.dtype, [&](auto tag) { ForwardRun<typename decltype(tag)::Type>(args).run(); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
