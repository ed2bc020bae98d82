#include "common/parallel.h"
#include "common/scratch.h"
#include "ops/cross_entropy/cross_entropy_row.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

constexpr std::int64_t least_work = 1 << 13;

template <class S>
void forward(const CrossEntropyForward& args) {
  using T = Compute<S>;
  const CrossEntropy& call = args.call;
  const CrossEntropyRow<S> row(call);
  const bool reduces = call.reduction != LossReduction::none;
  Scratch scratch;
  T* const losses = scratch.take<T>(call.rows);
  parallel_for(
      call.rows, call.threads,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const S* const x = static_cast<const S*>(call.input) + i * call.classes;
          LogSumExp<T> sum{T(0), T(0)};
          losses[i] = T(0);
          if (!call.target || call.target[i] != call.ignore_index) {
            sum = log_sum_exp<T>(x, call.classes);
            losses[i] = call.target ? row.loss(x, call.target[i], sum)
                                    : row.loss(x, static_cast<const S*>(call.probabilities) + i * call.classes, sum);
          }
          if (args.kept) {
            static_cast<T*>(args.kept)[i] = sum.largest;
            static_cast<T*>(args.kept)[call.rows + i] = sum.log_sum;
          }
          if (!reduces) static_cast<S*>(args.loss)[i] = from_float<S>(losses[i]);
        }
      },
      1 + least_work / (1 + call.classes));
  double total = 0, denominator = 0;
  for (std::int64_t i = 0; i < call.rows; ++i) {
    total += losses[i];
    if (!call.target) {
      denominator += 1;
    } else if (call.target[i] != call.ignore_index) {
      denominator += row.weight_of(call.target[i]);
    }
  }
  *args.denominator = denominator;
  if (reduces) {
    const double loss = call.reduction == LossReduction::mean ? total / denominator : total;
    *static_cast<S*>(args.loss) = from_float<S>(loss);
  }
}

template <class S>
void backward(const CrossEntropyBackward& args) {
  using T = Compute<S>;
  const CrossEntropy& call = args.call;
  const CrossEntropyRow<S> row(call);
  const S* const grads = static_cast<const S*>(args.grad_loss);
  const T *const largest = static_cast<const T*>(args.kept), *const log_sum = largest + call.rows;
  parallel_for(
      call.rows, call.threads,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t at = i * call.classes;
          const S* const x = static_cast<const S*>(call.input) + at;
          S* const out = static_cast<S*>(args.grad_input) + at;
          double g = to_float(grads[call.reduction == LossReduction::none ? i : 0]);
          if (call.reduction == LossReduction::mean) g /= *args.denominator;
          const LogSumExp<T> sum{largest[i], log_sum[i]};
          if (!call.target) {
            row.gradient(x, static_cast<const S*>(call.probabilities) + at, sum, static_cast<T>(g), out);
            if (args.grad_probabilities) {
              row.gradient_of_probabilities(x, sum, static_cast<T>(g), static_cast<S*>(args.grad_probabilities) + at);
            }
          } else if (call.target[i] == call.ignore_index) {
            std::memset(out, 0, static_cast<std::size_t>(call.classes) * sizeof(S));
          } else {
            row.gradient(x, call.target[i], sum, static_cast<T>(g), out);
          }
        }
      },
      1 + least_work / (1 + call.classes));
}

}  // namespace

void cross_entropy_forward(const CrossEntropyForward& args) {
  dispatch_dtype(args.call.dtype, [&](auto tag) { forward<typename decltype(tag)::Type>(args); });
}

void cross_entropy_backward(const CrossEntropyBackward& args) {
  dispatch_dtype(args.call.dtype, [&](auto tag) { backward<typename decltype(tag)::Type>(args); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
