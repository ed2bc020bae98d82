#include "common/parameters.h"
#include "common/stream.h"
#include "ops/channel_norm/channel_sets.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// Of a plane: the sums of the gradient, and of its products with the deviations from the mean.
struct GradSums {
  double alone, with_deviation;
};

// grad_input = of_grad * grad + of_deviation * deviation + constant
template <class T>
struct Coefficients {
  T of_deviation, constant;
};

template <class S, bool past>
struct Backward {
  using T = Compute<S>;
  const ChannelNormBackward& args;
  Sets sets;
  const T* weight;
  const S* grad;
  const S* input;
  S* grad_input;

  T mean(std::int64_t set) const { return static_cast<const T*>(args.mean)[set]; }
  T rstd(std::int64_t set) const { return static_cast<const T*>(args.rstd)[set]; }
  bool wants_sums() const { return args.grad_weight || args.grad_bias || (grad_input && !args.given); }

  // Given the set's sums, each weighted by its channel's weight.
  Coefficients<T> coefficients(std::int64_t set, GradSums total) const {
    if (args.given) return {0, 0};
    const double count = static_cast<double>(sets.values), scale = rstd(set);
    double of_deviation = -scale * scale * scale * total.with_deviation / count,
           constant = -scale * total.alone / count;
    if (args.grad_mean) constant += static_cast<const T*>(args.grad_mean)[set] / count;
    if (args.grad_variance) of_deviation += 2 * static_cast<const T*>(args.grad_variance)[set] / (count - 1);
    return {static_cast<T>(of_deviation), static_cast<T>(constant)};
  }

  // sums [N, C] of every image, or [C] of the batch, as they come.
  void write_parameters(const GradSums* sums, std::int64_t images, Scratch& scratch) const {
    const std::int64_t C = sets.shape.C;
    T* const of_weight = scratch.take<T>(2 * C);
    T* const of_bias = of_weight + C;
    for (std::int64_t c = 0; c < C; ++c) {
      double scaled = 0, alone = 0;
      for (std::int64_t image = 0; image < images; ++image) {
        const GradSums sum = sums[image * C + c];
        scaled += sum.with_deviation * rstd(sets.set_of(image, c));
        alone += sum.alone;
      }
      of_weight[c] = static_cast<T>(scaled);
      of_bias[c] = static_cast<T>(alone);
    }
    if (args.grad_weight) store_parameters(of_weight, args.grad_weight, args.parameter_dtype, C);
    if (args.grad_bias) store_parameters(of_bias, args.grad_bias, args.parameter_dtype, C);
  }

  NNZOO_INLINE GradSums plane_sums(std::int64_t at, T center_value) const {
    const Vec<T> center = Vec<T>::set(center_value);
    GradSums sums{0, 0};
    for (std::int64_t begin = 0; begin < sets.shape.S; begin += moments_chunk) {
      const std::int64_t left = sets.shape.S - begin, from = at + begin;
      T found[2];
      vector_sums<T, 2>(left < moments_chunk ? left : moments_chunk, found,
                        [&](std::int64_t i, int count, Vec<T>* sum) {
                          const Vec<T> g = load_lanes<T>(grad + from + i, count);
                          sum[0] += g;
                          sum[1] = fma(g, load_lanes<T>(input + from + i, count) - center, sum[1]);
                        });
      sums.alone += found[0];
      sums.with_deviation += found[1];
    }
    return sums;
  }

  NNZOO_INLINE void write_plane(std::int64_t set, std::int64_t p, Coefficients<T> k) const {
    const std::int64_t at = sets.plane(set, p) * sets.shape.S;
    const Vec<T> center = Vec<T>::set(mean(set)), constant = Vec<T>::set(k.constant);
    const Vec<T> of_grad = Vec<T>::set(rstd(set) * weight[sets.channel(set, p)]);
    const Vec<T> of_deviation = Vec<T>::set(k.of_deviation);
    const std::int64_t ahead = at + sets.to_next();
    if (args.given) {
      for_each_vector<T>(sets.shape.S, [&](std::int64_t i, int count) {
        store_result<past>(load_lanes<T>(grad + at + i, count) * of_grad, grad_input + at + i, count);
      });
      return past ? stream_fence() : void();
    }
    for_each_vector<T>(sets.shape.S, [&](std::int64_t i, int count) {
      prefetch_to_level2(input + ahead + i);
      prefetch_to_level2(grad + ahead + i);
      const Vec<T> deviation = load_lanes<T>(input + at + i, count) - center;
      const Vec<T> rest = fma(deviation, of_deviation, constant);
      store_result<past>(fma(load_lanes<T>(grad + at + i, count), of_grad, rest), grad_input + at + i, count);
    });
    if (past) stream_fence();
  }

  void planes(Scratch& scratch) const {
    GradSums* const sums = scratch.take<GradSums>(sets.count * sets.planes);  // [N, C]
    Coefficients<T>* const found = scratch.take<Coefficients<T>>(sets.count);
    sets.visit(
        args.threads, sets.planes,
        [&](std::int64_t set, std::int64_t p) {
          const std::int64_t plane = sets.plane(set, p);
          if (wants_sums()) sums[plane] = plane_sums(plane * sets.shape.S, mean(set));
        },
        [&](std::int64_t set) {
          GradSums total{0, 0};
          for (std::int64_t p = 0; p < sets.planes && !args.given; ++p) {
            const double w = weight[sets.channel(set, p)];
            total.alone += w * sums[sets.plane(set, p)].alone;
            total.with_deviation += w * sums[sets.plane(set, p)].with_deviation;
          }
          found[set] = coefficients(set, total);
        },
        [&](std::int64_t set, std::int64_t p) {
          if (grad_input) write_plane(set, p, found[set]);
        });
    if (args.grad_weight || args.grad_bias) write_parameters(sums, sets.shape.N, scratch);
  }

  // For each channel, the sums over the rows begin..end.
  void column_grad_sums(std::int64_t begin, std::int64_t end, std::int64_t block, const T* center, GradSums* found,
                        T* sums) const {
    const std::int64_t C = sets.shape.C;
    for (std::int64_t c = 0; c < C; ++c) found[c] = {0, 0};
    for (std::int64_t first = begin; first < end; first += block) {
      const std::int64_t last = first + block < end ? first + block : end;
      column_block<T, 2>(first, last, C, sums, [&](std::int64_t row, std::int64_t j, int count, Vec<T>* sum) {
        prefetch_to_level2(input + (row + block) * C + j);
        prefetch_to_level2(grad + (row + block) * C + j);
        const Vec<T> g = load_lanes<T>(grad + row * C + j, count);
        sum[0] += g;
        sum[1] = fma(g, load_lanes<T>(input + row * C + j, count) - load_lanes<T>(center + j, count), sum[1]);
      });
      for (std::int64_t c = 0; c < C; ++c) {
        found[c].alone += sums[c];
        found[c].with_deviation += sums[C + c];
      }
    }
  }

  void rows(Scratch& scratch) const {
    const RowParts split(sets.shape);
    const std::int64_t C = sets.shape.C, channels = split.images * C;
    T* const center = scratch.take<T>(channels);
    for (std::int64_t i = 0; i < channels; ++i) center[i] = mean(sets.set_of(i / C, i % C));
    GradSums* const totals = scratch.take<GradSums>(channels);
    if (wants_sums()) {
      GradSums* const found = scratch.take<GradSums>(channels * split.parts);
      split.each(args.threads, C, [&](std::int64_t image, std::int64_t part, std::int64_t begin, std::int64_t end) {
        Scratch own;
        GradSums* const mine = found + (image * split.parts + part) * C;
        column_grad_sums(begin, end, split.run, center + image * C, mine, own.take<T>(2 * C));
      });
      for (std::int64_t i = 0; i < channels; ++i) {
        totals[i] = {0, 0};
        for (std::int64_t part = 0; part < split.parts; ++part) {
          const GradSums share = found[(i / C * split.parts + part) * C + i % C];
          totals[i].alone += share.alone;
          totals[i].with_deviation += share.with_deviation;
        }
      }
    }
    if (args.grad_weight || args.grad_bias) write_parameters(totals, split.images, scratch);
    if (grad_input) write_rows(split, center, totals, scratch);
  }

  void write_rows(const RowParts& split, const T* center, const GradSums* totals, Scratch& scratch) const {
    const std::int64_t C = sets.shape.C, channels = split.images * C;
    T* const of_grad = scratch.take<T>(channels);
    T* const of_deviation = scratch.take<T>(channels);
    T* const constant = scratch.take<T>(channels);
    const std::int64_t together = sets.shape.over_batch ? 1 : sets.planes;  // adjacent channels with common statistics
    for (std::int64_t i = 0; i < channels; i += together) {
      const std::int64_t set = sets.set_of(i / C, i % C);
      GradSums total{0, 0};
      for (std::int64_t p = i; p < i + together && !args.given; ++p) {
        total.alone += weight[p % C] * totals[p].alone;
        total.with_deviation += weight[p % C] * totals[p].with_deviation;
      }
      const Coefficients<T> k = coefficients(set, total);
      for (std::int64_t p = i; p < i + together; ++p) {
        of_grad[p] = rstd(set) * weight[p % C];
        of_deviation[p] = k.of_deviation;
        constant[p] = k.constant;
      }
    }
    split.each(args.threads, C, [&](std::int64_t image, std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        for_each_vector<T>(C, [&](std::int64_t j, int count) {
          const std::int64_t at = image * C + j, here = row * C + j;
          const Vec<T> g = load_lanes<T>(grad + here, count), slope = load_lanes<T>(of_grad + at, count);
          if (args.given) return store_result<past>(g * slope, grad_input + here, count);
          const Vec<T> deviation = load_lanes<T>(input + here, count) - load_lanes<T>(center + at, count);
          const Vec<T> rest =
              fma(deviation, load_lanes<T>(of_deviation + at, count), load_lanes<T>(constant + at, count));
          store_result<past>(fma(g, slope, rest), grad_input + here, count);
        });
      }
      if (past) stream_fence();
    });
  }
};

}  // namespace

void channel_norm_backward(const ChannelNormBackward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    using T = Compute<S>;
    const ChannelShape& shape = args.shape;
    const std::int64_t size = sizeof(S), row = (shape.channels_last ? shape.C : shape.S) * size;
    const auto run = [&](auto past) {
      Scratch scratch;
      const Backward<S, past.value> backward{args,
                                             Sets(shape),
                                             parameters<T>(args.weight, args.parameter_dtype, shape.C, T(1), scratch),
                                             static_cast<const S*>(args.grad_output),
                                             static_cast<const S*>(args.input),
                                             static_cast<S*>(args.grad_input)};
      shape.channels_last ? backward.rows(scratch) : backward.planes(scratch);
    };
    streams(args.grad_input, row, 3 * size * shape.N * shape.C * shape.S) ? run(Flag<true>()) : run(Flag<false>());
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
