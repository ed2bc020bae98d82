#include "common/log_sum_exp.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "ops/elementwise_loss/elementwise_loss.h"
#include "ops/elementwise_loss/losses.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// Rows in pieces, the same for any number of threads.
struct Pieces {
  static constexpr std::int64_t longest = 4096;
  std::int64_t rows, columns;

  std::int64_t per_row() const { return (columns + longest - 1) / longest; }
  std::int64_t count() const { return rows * per_row(); }
  std::int64_t column(std::int64_t piece) const { return piece % per_row() * longest; }
  std::int64_t start(std::int64_t piece) const { return piece / per_row() * columns + column(piece); }
  std::int64_t size(std::int64_t piece) const {
    const std::int64_t left = columns - column(piece);
    return left < longest ? left : longest;
  }
  std::int64_t worth_a_thread() const { return 1 + longest / (columns + 1); }
};

// What a loss or a derivative is written in, at an element.
template <class S, class Loss>
class Elements {
  using T = Compute<S>;

 public:
  explicit Elements(const ElementwiseLoss& call) : call_(call) {}

  NNZOO_INLINE Vec<T> value(std::int64_t at, std::int64_t column, int lanes) const {
    return Loss::value(of(call_.input, at, lanes), of(call_.target, at, lanes), weight(at, column, lanes),
                       rise(at, column, lanes));
  }
  NNZOO_INLINE Vec<T> derivative(std::int64_t at, std::int64_t column, int lanes) const {
    return Loss::derivative(of(call_.input, at, lanes), of(call_.target, at, lanes), weight(at, column, lanes),
                            rise(at, column, lanes));
  }

 private:
  static NNZOO_INLINE Vec<T> of(const void* tensor, std::int64_t at, int lanes) {
    return tensor ? load_lanes<T>(static_cast<const S*>(tensor) + at, lanes) : Vec<T>::set(T(1));
  }
  NNZOO_INLINE Vec<T> weight(std::int64_t at, std::int64_t column, int lanes) const {
    return of(call_.weight, call_.weight_of_column ? column : at, lanes);
  }
  NNZOO_INLINE Vec<T> rise(std::int64_t at, std::int64_t column, int lanes) const {
    return of(call_.rise, call_.rise_of_column ? column : at, lanes);
  }

  const ElementwiseLoss& call_;
};

template <class S, class Loss>
void forward(const ElementwiseLossForward& args) {
  using T = Compute<S>;
  const ElementwiseLoss& call = args.call;
  const Elements<S, Loss> elements(call);
  const Pieces pieces{call.rows, call.columns};
  S* const loss = static_cast<S*>(args.loss);
  Scratch scratch;
  double* const sums = call.reduces ? scratch.take<double>(pieces.count()) : nullptr;
  parallel_for(
      pieces.count(), call.threads,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t piece = begin; piece < end; ++piece) {
          const std::int64_t start = pieces.start(piece), column = pieces.column(piece), size = pieces.size(piece);
          if (call.reduces) {
            FourSums<T> four;
            for_each_vector_of_four<T>(size, [&](int lane, std::int64_t i, int lanes) {
              const Vec<T> value = elements.value(start + i, column + i, lanes);
              four.sum[lane] += lanes == Vec<T>::width ? value : select(first_lanes<T>(lanes), value, Vec<T>::zero());
            });
            sums[piece] = static_cast<double>(four.total());
          } else {
            for_each_vector<T>(size, [&](std::int64_t i, int lanes) {
              store_lanes(elements.value(start + i, column + i, lanes), loss + start + i, lanes);
            });
          }
        }
      },
      pieces.worth_a_thread());
  if (call.reduces) {
    double total = 0;
    for (std::int64_t piece = 0; piece < pieces.count(); ++piece) total += sums[piece];
    *loss = from_float<S>(total * call.scale);
  }
}

template <class S, class Loss>
void backward(const ElementwiseLossBackward& args) {
  using T = Compute<S>;
  const ElementwiseLoss& call = args.call;
  const Elements<S, Loss> elements(call);
  const Pieces pieces{call.rows, call.columns};
  const S* const grads = static_cast<const S*>(args.grad_loss);
  S* const out = static_cast<S*>(args.grad_input);
  const Vec<T> shared = Vec<T>::set(call.reduces ? static_cast<T>(to_float(*grads) * call.scale) : T(1));
  parallel_for(
      pieces.count(), call.threads,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t piece = begin; piece < end; ++piece) {
          const std::int64_t start = pieces.start(piece), column = pieces.column(piece);
          for_each_vector<T>(pieces.size(piece), [&](std::int64_t i, int lanes) {
            const Vec<T> g = call.reduces ? shared : load_lanes<T>(grads + start + i, lanes);
            store_lanes(g * elements.derivative(start + i, column + i, lanes), out + start + i, lanes);
          });
        }
      },
      pieces.worth_a_thread());
}

// Calls run(storage type, loss).
template <class Run>
NNZOO_INLINE void dispatch(const ElementwiseLoss& call, const Run& run) {
  dispatch_dtype(call.dtype, [&](auto tag) {
    switch (call.kind) {
      case ElementLoss::binary_cross_entropy:
        return call.rise ? run(tag, BinaryCrossEntropy<true>()) : run(tag, BinaryCrossEntropy<false>());
      case ElementLoss::kl_div:
        return run(tag, KlDiv());
      case ElementLoss::kl_div_of_logarithms:
        return run(tag, KlDivOfLogarithms());
    }
  });
}

}  // namespace

void elementwise_loss_forward(const ElementwiseLossForward& args) {
  dispatch(args.call, [&](auto tag, auto loss) { forward<typename decltype(tag)::Type, decltype(loss)>(args); });
}

void elementwise_loss_backward(const ElementwiseLossBackward& args) {
  dispatch(args.call, [&](auto tag, auto loss) { backward<typename decltype(tag)::Type, decltype(loss)>(args); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
