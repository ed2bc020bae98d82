#include "common/log_sum_exp.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "ops/softmax/softmax.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

constexpr std::int64_t least_work = 1 << 13;

template <class S, class T>
void softmax_row(const S* x, std::int64_t n, T* terms, S* y) {
  const T largest = largest_of<T>(x, n);
  const T sum = sum_of_exp<T>(x, n, largest, [&](std::int64_t i, int count, Vec<T> e) { e.store(terms + i, count); });
  const Vec<T> scale = Vec<T>::set(T(1) / sum);
  for_each_vector<T>(n,
                     [&](std::int64_t i, int count) { (Vec<T>::load(terms + i, count) * scale).store(y + i, count); });
}

template <class S, class T>
void log_softmax_row(const S* x, std::int64_t n, S* y) {
  const LogSumExp<T> row = log_sum_exp<T>(x, n);
  const Vec<T> largest = Vec<T>::set(row.largest), log_sum = Vec<T>::set(row.log_sum);
  for_each_vector<T>(
      n, [&](std::int64_t i, int count) { ((Vec<T>::load(x + i, count) - largest) - log_sum).store(y + i, count); });
}

// `lanes` neighbouring columns of [n, stride].
template <class S, class T>
NNZOO_INLINE void softmax_columns(const SoftmaxForward& args, const S* x, int lanes, T* terms, S* y) {
  constexpr int width = Vec<T>::width;
  Vec<T> largest = Vec<T>::set(lowest<T>()), sum = Vec<T>::zero();
  for (std::int64_t i = 0; i < args.size; ++i) largest = max(Vec<T>::load(x + i * args.inner, lanes), largest);
  for (std::int64_t i = 0; i < args.size; ++i) {
    const Vec<T> e = exp(Vec<T>::load(x + i * args.inner, lanes) - largest);
    if (!args.logarithm) e.store(terms + i * width);
    sum += e;
  }
  if (args.logarithm) {
    const Vec<T> log_sum = log(sum);
    for (std::int64_t i = 0; i < args.size; ++i) {
      ((Vec<T>::load(x + i * args.inner, lanes) - largest) - log_sum).store(y + i * args.inner, lanes);
    }
  } else {
    const Vec<T> scale = Vec<T>::set(T(1)) / sum;
    for (std::int64_t i = 0; i < args.size; ++i) {
      (Vec<T>::load(terms + i * width) * scale).store(y + i * args.inner, lanes);
    }
  }
}

template <class S>
void forward(const SoftmaxForward& args) {
  using T = Compute<S>;
  constexpr int width = Vec<T>::width;
  const S* const input = static_cast<const S*>(args.input);
  S* const output = static_cast<S*>(args.output);
  const std::int64_t strips = args.inner == 1 ? 1 : (args.inner + width - 1) / width;
  const std::int64_t work = args.size * (args.inner == 1 ? 1 : width);
  parallel_for(
      args.outer * strips, args.threads,
      [&](std::int64_t begin, std::int64_t end) {
        Scratch scratch;
        const bool in_place = sizeof(S) == sizeof(T) && args.inner == 1;
        T* const terms = in_place || args.logarithm ? nullptr : scratch.take<T>(work);
        for (std::int64_t unit = begin; unit < end; ++unit) {
          const std::int64_t column = unit % strips * width;
          const std::int64_t at = unit / strips * args.size * args.inner + column;
          if (args.inner > 1) {
            const int lanes = static_cast<int>(args.inner - column < width ? args.inner - column : width);
            softmax_columns(args, input + at, lanes, terms, output + at);
          } else if (args.logarithm) {
            log_softmax_row<S, T>(input + at, args.size, output + at);
          } else {
            softmax_row(input + at, args.size, in_place ? reinterpret_cast<T*>(output + at) : terms, output + at);
          }
        }
      },
      1 + least_work / (1 + work));
}

// softmax: y * (g - sum of g * y); log_softmax: g - exp(y) * sum of g.
template <class T>
NNZOO_INLINE Vec<T> term(bool logarithm, Vec<T> g, Vec<T> y) {
  return logarithm ? g : g * y;
}
template <class T>
NNZOO_INLINE Vec<T> gradient(bool logarithm, Vec<T> g, Vec<T> y, Vec<T> sum) {
  return logarithm ? fnma(exp(y), sum, g) : y * (g - sum);
}

template <bool logarithm, class S>
void backward(const SoftmaxBackward& args) {
  using T = Compute<S>;
  constexpr int width = Vec<T>::width;
  const std::int64_t n = args.size, inner = args.inner, strips = inner == 1 ? 1 : (inner + width - 1) / width;
  parallel_for(
      args.outer * strips, args.threads,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t unit = begin; unit < end; ++unit) {
          const std::int64_t column = unit % strips * width, at = unit / strips * n * inner + column;
          const S* const g = static_cast<const S*>(args.grad_output) + at;
          const S* const y = static_cast<const S*>(args.output) + at;
          S* const out = static_cast<S*>(args.grad_input) + at;
          if (inner == 1) {
            FourSums<T> sums;
            for_each_vector_of_four<T>(n, [&](int lane, std::int64_t i, int count) {
              sums.sum[lane] += term(logarithm, Vec<T>::load(g + i, count), Vec<T>::load(y + i, count));
            });
            const Vec<T> sum = Vec<T>::set(sums.total());
            for_each_vector<T>(n, [&](std::int64_t i, int count) {
              gradient(logarithm, Vec<T>::load(g + i, count), Vec<T>::load(y + i, count), sum).store(out + i, count);
            });
          } else {
            const int lanes = static_cast<int>(inner - column < width ? inner - column : width);
            Vec<T> sum = Vec<T>::zero();
            for (std::int64_t i = 0; i < n * inner; i += inner) {
              sum += term(logarithm, Vec<T>::load(g + i, lanes), Vec<T>::load(y + i, lanes));
            }
            for (std::int64_t i = 0; i < n * inner; i += inner) {
              gradient(logarithm, Vec<T>::load(g + i, lanes), Vec<T>::load(y + i, lanes), sum).store(out + i, lanes);
            }
          }
        }
      },
      1 + least_work / (1 + n * (inner == 1 ? 1 : width)));
}

}  // namespace

void softmax_forward(const SoftmaxForward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) { forward<typename decltype(tag)::Type>(args); });
}

void softmax_backward(const SoftmaxBackward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    args.logarithm ? backward<true, S>(args) : backward<false, S>(args);
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
