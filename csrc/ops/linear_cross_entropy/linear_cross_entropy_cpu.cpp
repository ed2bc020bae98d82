#include "common/gemm.h"
#include "common/reduce.h"
#include "ops/cross_entropy/cross_entropy_row.h"
#include "ops/linear_cross_entropy/linear_cross_entropy.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S>
class Chunks {
  using T = Compute<S>;
  using F = Factor<S>;

 public:
  explicit Chunks(const LinearCrossEntropy& args)
      : args_(args),
        row_(CrossEntropy{nullptr, args.target, nullptr, nullptr, args.rows, args.classes, args.ignore_index,
                          args.smoothing, args.reduction, args.dtype, args.threads}),
        chunk_(static_cast<S*>(args.chunk)) {
    std::int64_t counted = 0;
    for (std::int64_t i = 0; i < args.rows; ++i) counted += args.target[i] != args.ignore_index;
    divisor_ = args.reduction == LossReduction::mean ? static_cast<double>(counted) : 1.0;
  }

  void run() {
    Scratch scratch;
    losses_ = scratch.take<T>(args_.rows);
    bias_sums_ = scratch.take<T>(2 * args_.classes);
    for (std::int64_t i = 0; i < args_.classes; ++i) bias_sums_[i] = T(0);
    for (std::int64_t begin = 0; begin < args_.rows; begin += args_.chunk_rows) {
      const std::int64_t left = args_.rows - begin;
      run_chunk(begin, left < args_.chunk_rows ? left : args_.chunk_rows);
    }
    double total = 0;
    for (std::int64_t i = 0; i < args_.rows; ++i) total += losses_[i];
    *static_cast<S*>(args_.loss) = from_float<S>(total / divisor_);
    if (args_.grad_weight && args_.rows > 0 && args_.sums) round_weight_sums();
    if (args_.grad_bias) {
      for (std::int64_t i = 0; i < args_.classes; ++i) {
        static_cast<S*>(args_.grad_bias)[i] = from_float<S>(bias_sums_[i]);
      }
    }
  }

 private:
  void run_chunk(std::int64_t begin, std::int64_t rows) {
    const std::int64_t K = args_.features, V = args_.classes;
    const S* const input = static_cast<const S*>(args_.input) + begin * K;
    const S* const weight = static_cast<const S*>(args_.weight);
    gemm<F>(rows, V, K, Strided<S>{input, K, 1}, Strided<S>{weight, K, 1},
            Store<T, S>{chunk_, V, false, static_cast<const S*>(args_.bias)}, args_.threads);
    const bool differentiates = args_.grad_input || args_.grad_weight || args_.grad_bias;
    parallel_for(rows, args_.threads, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) lose(begin + i, chunk_ + i * V, differentiates);
    });
    // The chunk holds the gradient of the scores now.
    if (args_.grad_input) {
      gemm<F>(rows, K, V, Strided<S>{chunk_, V, 1}, Strided<S>{weight, 1, K},
              Store<T, S>{static_cast<S*>(args_.grad_input) + begin * K, K}, args_.threads);
    }
    if (args_.grad_weight) {
      T* const sums = static_cast<T*>(args_.sums ? args_.sums : args_.grad_weight);
      gemm<F>(V, K, rows, Strided<S>{chunk_, 1, V}, Strided<S>{input, 1, K}, Store<T>{sums, K, begin > 0},
              args_.threads);
    }
    if (args_.grad_bias) {
      T* const here = bias_sums_ + V;
      column_sums<T>(rows, V, chunk_, V, here, args_.threads);
      for (std::int64_t i = 0; i < V; ++i) bias_sums_[i] += here[i];
    }
  }

  // The loss of a row, whose gradient takes the place of its scores.
  void lose(std::int64_t row, S* scores, bool differentiates) {
    const std::int64_t target = args_.target[row];
    losses_[row] = T(0);
    if (target == args_.ignore_index) {
      std::memset(scores, 0, static_cast<std::size_t>(args_.classes) * sizeof(S));
      return;
    }
    const LogSumExp<T> sum = log_sum_exp<T>(scores, args_.classes);
    losses_[row] = row_.loss(scores, target, sum);
    if (differentiates) row_.gradient(scores, target, sum, static_cast<T>(1.0 / divisor_), scores);
  }

  void round_weight_sums() const {
    const T* const sums = static_cast<const T*>(args_.sums);
    S* const out = static_cast<S*>(args_.grad_weight);
    parallel_for(args_.classes, args_.threads, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t at = begin * args_.features;
      for_each_vector<T>((end - begin) * args_.features, [&](std::int64_t i, int count) {
        Vec<T>::load(sums + at + i, count).store(out + at + i, count);
      });
    });
  }

  const LinearCrossEntropy& args_;
  const CrossEntropyRow<S> row_;
  S* const chunk_;
  double divisor_;
  T* losses_ = nullptr;
  T* bias_sums_ = nullptr;
};

}  // namespace

void linear_cross_entropy(const LinearCrossEntropy& args) {
  dispatch_dtype(args.dtype, [&](auto tag) { Chunks<typename decltype(tag)::Type>(args).run(); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
