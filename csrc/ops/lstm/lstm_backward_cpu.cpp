// Backward through time. Each step turns the gradient of h_t into those of the pre-activations ("deltas"), whose
// product with w_hh is the next step's gradient of h. Deltas of a chunk of steps are kept, so that the gradients of the
// weights and of the input are GEMMs over all rows of the chunk. Derivation: README.md of nnzoo_fast/ops/lstm.
#include "common/gemm.h"
#include "common/vmath.h"
#include "ops/lstm/lstm_recurrent.h"
#include "ops/lstm/lstm_sequence.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S>
class BackwardRun {
  using T = Compute<S>;
  using F = Factor<S>;
  using D = Element<F>;
  static constexpr int width = Vec<T>::width;
  // One block of the GEMM's depth: the weights' gradients need no memory for unfinished sums.
  static constexpr std::int64_t chunk_rows = values_per_factor<F> * 2048 / static_cast<std::int64_t>(sizeof(F));

 public:
  explicit BackwardRun(const LstmBackward& args)
      : args_(args),
        shape_(args.shape),
        hidden_(args.shape.hidden),
        gates_(4 * args.shape.hidden),
        out_(args.shape.out()),
        sequence_(args.shape, scratch_),
        threads_(step_threads(args.shape, ceil_div(args.shape.hidden, width))),
        recurrent_(ColumnPanels<F>::for_threads(gates_, out_, threads_)),
        unprojection_(ColumnPanels<F>::for_threads(args.shape.projection, hidden_, threads_)) {}

  void run() {
    prepare();
    for (std::int64_t end = shape_.steps, s; end > 0; end = s) {
      s = chunk_begin(end);
      rows_ = sequence_.rows(s, end);
      parallel_team(threads_, [&](int thread, int count) {
        for (std::int64_t now = end - 1; now >= s; --now) {
          step(now, now == end - 1, thread, count);
          team_barrier(count);
        }
      });
      multiply_chunk(s, end);
      accumulate_ = true;
      keep_deltas(s);
    }
    finish();
  }

 private:
  static const S* source(const void* pointer) { return static_cast<const S*>(pointer); }
  static T* target(void* pointer) { return static_cast<T*>(pointer); }

  void prepare() {
    const std::int64_t batch = shape_.batch, features = shape_.in_features;
    const std::int64_t chunk = chunk_rows > batch ? chunk_rows : batch;
    convert(source(args_.c0), c0_ = scratch_.take<T>(batch * hidden_), batch * hidden_);
    convert(source(args_.grad_c_n), grad_c_ = scratch_.take<T>(batch * hidden_), batch * hidden_);
    deltas_ = scratch_.take<D>(chunk * gates_);
    kept_deltas_ = scratch_.take<D>(batch * gates_);
    recurrent_.pack(Strided<S>{source(args_.weights.w_hh), 1, out_}, scratch_.take<F>(recurrent_.size()),
                    shape_.threads);
    if (shape_.projection > 0) {
      grad_h_ = scratch_.take<D>(chunk * row_stride<F>(out_));
      convert_rows<F>(static_cast<const S*>(nullptr), grad_h_, chunk, out_);
      unprojected_ = scratch_.take<D>(chunk * hidden_);
      unprojection_.pack(Strided<S>{source(args_.weights.w_hr), 1, hidden_}, scratch_.take<F>(unprojection_.size()),
                         shape_.threads);
    }
    if (args_.grad_input) {
      w_ih_ = scratch_.take<F>(packed_size<F>(gates_, features));
      pack_b<F>(Strided<S>{source(args_.weights.w_ih), 1, features}, gates_, features, w_ih_, shape_.threads);
    }
    if (args_.grad_w_ih || args_.grad_w_hh) packed_deltas_ = scratch_.take<F>(packed_size<F>(chunk, gates_));
    if (args_.grad_w_ih) grad_w_ih_ = scratch_.take<T>(features * gates_);
    if (args_.grad_w_hh) {
      grad_w_hh_ = scratch_.take<T>(out_ * gates_);
      previous_h_ = scratch_.take<D>(chunk * out_);
    }
  }

  std::int64_t chunk_begin(std::int64_t end) const {
    std::int64_t s = end - 1;
    while (s > 0 && sequence_.rows(s - 1, end).count <= chunk_rows) --s;
    return s;
  }

  std::int64_t size_at(std::int64_t s) const {
    return s < 0 || s >= shape_.steps ? 0 : sequence_.size(sequence_.step_at(s));
  }
  std::int64_t row_at(std::int64_t s) const { return sequence_.first_row(sequence_.step_at(s)); }
  D* deltas_at(std::int64_t s) const { return deltas_ + (row_at(s) - rows_.begin) * gates_; }

  void step(std::int64_t s, bool first_of_chunk, int thread, int count) {
    const std::int64_t n = size_at(s), after = size_at(s + 1);
    const D* const deltas = first_of_chunk ? kept_deltas_ : deltas_at(s + 1);
    const auto arrive = [&](std::int64_t row, std::int64_t j, int lanes, Vec<T> grad) {
      if (row >= n) return store_grad_h0(row, j, lanes, grad);
      grad += Vec<T>::load(source(args_.grad_output) + (row_at(s) + row) * args_.grad_output_stride + j, lanes);
      if (shape_.projection > 0) {
        grad.store(grad_h_ + (row_at(s) - rows_.begin + row) * row_stride<F>(out_) + j, lanes);
      } else {
        cell(s, row, j, lanes, grad);
      }
    };
    recurrent_.multiply(after, deltas, gates_, thread, count, arrive);
    const Range own = recurrent_.columns_of(thread, count);
    for (std::int64_t row = after; row < n; ++row) {
      for_each_vector_of<T>(own.begin, own.end, [&](std::int64_t j, int lanes) {
        const S* const last = source(args_.grad_h_n);
        arrive(row, j, lanes, last ? Vec<T>::load(last + row * out_ + j, lanes) : Vec<T>::zero());
      });
    }
    if (shape_.projection > 0) {
      team_barrier(count);
      const D* const grad_h = grad_h_ + (row_at(s) - rows_.begin) * row_stride<F>(out_);
      unprojection_.multiply(
          n, grad_h, row_stride<F>(out_), thread, count,
          [&](std::int64_t row, std::int64_t unit, int lanes, Vec<T> grad) { cell(s, row, unit, lanes, grad); });
    }
  }

  // From the gradient of o * tanh(c), for one vector of hidden units of one sequence, to its deltas.
  NNZOO_INLINE void cell(std::int64_t s, std::int64_t row, std::int64_t unit, int count, Vec<T> grad) const {
    const std::int64_t at = row_at(s) + row;
    const auto kept = [&](int gate) {
      return Vec<T>::load(static_cast<const T*>(args_.gates) + at * gates_ + gate * hidden_ + unit, count);
    };
    const auto i = unfold_sigmoid(kept(0)), f = unfold_sigmoid(kept(1));
    const auto g = unfold_tanh(kept(2)), o = unfold_sigmoid(kept(3));
    const auto squashed = unfold_tanh(folded_tanh(Vec<T>::load(cells() + at * hidden_ + unit, count)));
    const Vec<T> before = Vec<T>::load(cells_before(s, row) + unit, count);
    T* const grad_c = grad_c_ + row * hidden_ + unit;
    const Vec<T> dc = fma(grad * o.value, squashed.derivative, Vec<T>::load(grad_c, count));
    (dc * f.value).store(grad_c, count);
    D* const deltas = deltas_ + (at - rows_.begin) * gates_ + unit;
    (dc * g.value * i.derivative).store(deltas, count);
    (dc * before * f.derivative).store(deltas + hidden_, count);
    (dc * i.value * g.derivative).store(deltas + 2 * hidden_, count);
    (grad * squashed.value * o.derivative).store(deltas + 3 * hidden_, count);
    if (shape_.projection > 0) {
      (o.value * squashed.value).store(unprojected_ + (at - rows_.begin) * hidden_ + unit, count);
    }
  }

  const T* cells() const { return static_cast<const T*>(args_.cells); }

  const T* cells_before(std::int64_t s, std::int64_t row) const {
    return row < size_at(s - 1) ? cells() + (row_at(s - 1) + row) * hidden_ : c0_ + row * hidden_;
  }

  NNZOO_INLINE void store_grad_h0(std::int64_t row, std::int64_t j, int count, Vec<T> grad) const {
    if (args_.grad_h0) grad.store(target(args_.grad_h0) + row * out_ + j, count);
  }

  // What the deltas of the steps s..end add to the gradients of input and weights.
  void multiply_chunk(std::int64_t s, std::int64_t end) {
    const std::int64_t rows = rows_.count, features = shape_.in_features;
    const int threads = shape_.threads;
    if (args_.grad_input) {
      gemm<F>(rows, features, gates_, Strided<D>{deltas_, gates_, 1}, PackedB<F>{w_ih_, gates_, features},
              Store<T>{target(args_.grad_input) + rows_.begin * features, features, args_.accumulate_input}, threads);
    }
    // Both weights' gradients are summed transposed, so that one packed copy of the deltas, the larger operand, serves
    // both.
    const PackedB<F> deltas{packed_deltas_, rows, gates_};
    if (packed_deltas_) pack_b<F>(Strided<D>{deltas_, 1, gates_}, rows, gates_, packed_deltas_, threads);
    if (args_.grad_w_ih) {
      gemm<F>(features, gates_, rows, Strided<S>{source(args_.input) + rows_.begin * features, 1, features}, deltas,
              Store<T>{grad_w_ih_, gates_, accumulate_}, threads);
    }
    if (args_.grad_w_hh) {
      gather_previous_h(s, end);
      gemm<F>(out_, gates_, rows, Strided<D>{previous_h_, 1, out_}, deltas, Store<T>{grad_w_hh_, gates_, accumulate_},
              threads);
    }
    if (args_.grad_bias) sum_deltas(target(args_.grad_bias));
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
        for (std::int64_t row = 0; row < size_at(now); ++row, to += out_) {
          if (row < size_at(now - 1)) {
            convert(source(args_.output) + (row_at(now - 1) + row) * args_.output_stride, to, out_);
          } else {
            convert(args_.h0 ? source(args_.h0) + row * out_ : nullptr, to, out_);
          }
        }
      }
    });
  }

  // In blocks of rows: shorter chains of roundings than one running sum has.
  void sum_deltas(T* sums) const {
    constexpr std::int64_t block = 32;
    parallel_for(gates_, shape_.threads, [&](std::int64_t first, std::int64_t last) {
      if (!accumulate_) convert(static_cast<const T*>(nullptr), sums + first, last - first);
      for (std::int64_t row = 0; row < rows_.count; row += block) {
        const std::int64_t end = rows_.count - row < block ? rows_.count : row + block;
        for_each_vector_of<T>(first, last, [&](std::int64_t j, int n) {
          Vec<T> sum = Vec<T>::zero();
          for (std::int64_t i = row; i < end; ++i) sum += Vec<T>::load(deltas_ + i * gates_ + j, n);
          (Vec<T>::load(sums + j, n) + sum).store(sums + j, n);
        });
      }
    });
  }

  // The first step of the next chunk reads the deltas of this chunk's last one, whose memory it reuses.
  void keep_deltas(std::int64_t s) { convert(deltas_at(s), kept_deltas_, size_at(s) * gates_); }

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
    if (args_.grad_h0) {
      parallel_team(threads_, [&](int thread, int count) {
        recurrent_.multiply(
            size_at(0), kept_deltas_, gates_, thread, count,
            [&](std::int64_t row, std::int64_t j, int lanes, Vec<T> grad) { store_grad_h0(row, j, lanes, grad); });
      });
    }
    if (args_.grad_c0) convert(static_cast<const T*>(grad_c_), target(args_.grad_c0), shape_.batch * hidden_);
  }

  const LstmBackward& args_;
  const LstmShape& shape_;
  const std::int64_t hidden_, gates_, out_;
  Scratch scratch_;
  const Sequence sequence_;
  const int threads_;
  ColumnPanels<F> recurrent_, unprojection_;
  Sequence::Rows rows_{0, 0};  // of the chunk; deltas_, grad_h_, unprojected_ and previous_h_ start with its first one
  bool accumulate_ = false;
  T *c0_, *grad_c_, *grad_w_ih_ = nullptr, *grad_w_hh_ = nullptr;
  D *deltas_, *kept_deltas_, *previous_h_ = nullptr, *grad_h_ = nullptr, *unprojected_ = nullptr;
  F *packed_deltas_ = nullptr, *w_ih_ = nullptr;
};

template <class T>
void zero(void* memory, std::int64_t count) {
  if (memory) convert(static_cast<const T*>(nullptr), static_cast<T*>(memory), count);
}

// Without any sequence the weights' gradients are still there: zeros.
template <class T>
void backward_of_nothing(const LstmBackward& args) {
  const std::int64_t gates = 4 * args.shape.hidden, out = args.shape.out();
  zero<T>(args.grad_w_ih, gates * args.shape.in_features);
  zero<T>(args.grad_w_hh, gates * out);
  zero<T>(args.grad_bias, gates);
  zero<T>(args.grad_w_hr, out * args.shape.hidden);
}

}  // namespace

void lstm_backward(const LstmBackward& args) {
  dispatch_dtype(args.shape.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    if (args.shape.batch == 0) {
      backward_of_nothing<Compute<S>>(args);
    } else {
      BackwardRun<S>(args).run();
    }
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
