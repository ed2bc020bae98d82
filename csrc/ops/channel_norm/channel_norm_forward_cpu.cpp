#include "common/parameters.h"
#include "ops/channel_norm/channel_sets.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S>
struct Forward {
  using T = Compute<S>;
  const ChannelNormForward& args;
  Sets sets;
  const T* weight;
  const T* bias;
  const S* input;
  S* output;

  T* mean() const { return static_cast<T*>(args.mean); }
  T* rstd() const { return static_cast<T*>(args.rstd); }

  NNZOO_INLINE void keep(std::int64_t set, const Moments& all) const {
    mean()[set] = static_cast<T>(all.mean);
    rstd()[set] = static_cast<T>(inverse_root(all.squares / all.count + args.eps));
    if (args.variance) static_cast<T*>(args.variance)[set] = static_cast<T>(all.squares / (all.count - 1));
  }

  NNZOO_INLINE void write_plane(std::int64_t set, std::int64_t p) const {
    const std::int64_t channel = sets.channel(set, p), at = sets.plane(set, p) * sets.shape.S;
    const Vec<T> center = Vec<T>::set(mean()[set]), scale = Vec<T>::set(rstd()[set] * weight[channel]);
    const Vec<T> shift = Vec<T>::set(bias[channel]);
    for_each_vector<T>(sets.shape.S, [&](std::int64_t i, int count) {
      store_lanes(fma(load_lanes<T>(input + at + i, count) - center, scale, shift), output + at + i, count);
    });
  }

  void planes(Scratch& scratch) const {
    Moments* const found = args.given ? nullptr : scratch.take<Moments>(sets.count * sets.planes);
    sets.visit(
        args.threads,
        [&](std::int64_t set, std::int64_t p) {
          if (found) {
            found[set * sets.planes + p] = moments<T>(input + sets.plane(set, p) * sets.shape.S, sets.shape.S);
          }
        },
        [&](std::int64_t set) {
          if (!found) return;
          Moments all{0, 0, 0};
          for (std::int64_t p = 0; p < sets.planes; ++p) all = merged(all, found[set * sets.planes + p]);
          keep(set, all);
        },
        [&](std::int64_t set, std::int64_t p) { write_plane(set, p); });
  }

  // The moments [C] of the rows begin..end: means, then squares.
  void column_moments(std::int64_t begin, std::int64_t end, std::int64_t block, double* found, T* sums) const {
    const std::int64_t C = sets.shape.C;
    T* const about = sums + 2 * C;
    for (std::int64_t c = 0; c < 2 * C; ++c) found[c] = 0;
    for (std::int64_t first = begin; first < end; first += block) {
      const std::int64_t last = first + block < end ? first + block : end;
      column_block<T, 1>(first, last, C, about, [&](std::int64_t row, std::int64_t j, int count, Vec<T>* sum) {
        sum[0] += load_lanes<T>(input + row * C + j, count);
      });
      const T inverse = T(1) / static_cast<T>(last - first);
      for (std::int64_t c = 0; c < C; ++c) about[c] *= inverse;
      column_block<T, 2>(first, last, C, sums, [&](std::int64_t row, std::int64_t j, int count, Vec<T>* sum) {
        const Vec<T> deviation = load_lanes<T>(input + row * C + j, count) - load_lanes<T>(about + j, count);
        sum[0] += deviation;
        sum[1] = fma(deviation, deviation, sum[1]);
      });
      const double n = static_cast<double>(last - first), before = static_cast<double>(first - begin);
      const double share = n / (before + n);
      for (std::int64_t c = 0; c < C; ++c) {
        const double missed = sums[c] / n, delta = about[c] + missed - found[c];
        found[c] += delta * share;
        found[C + c] += sums[C + c] - missed * missed * n + delta * delta * before * share;
      }
    }
  }

  void rows(Scratch& scratch) const {
    const RowParts split(sets.shape);
    const std::int64_t C = sets.shape.C;
    if (!args.given) {
      double* const found = scratch.take<double>(split.images * split.parts * 2 * C);
      split.each(args.threads, C, [&](std::int64_t image, std::int64_t part, std::int64_t begin, std::int64_t end) {
        Scratch own;
        column_moments(begin, end, split.block, found + (image * split.parts + part) * 2 * C, own.take<T>(3 * C));
      });
      for (std::int64_t set = 0; set < sets.count; ++set) {
        const std::int64_t image = sets.shape.over_batch ? 0 : set / sets.shape.G;
        Moments all{0, 0, 0};
        for (std::int64_t p = 0; p < (sets.shape.over_batch ? 1 : sets.planes); ++p) {
          for (std::int64_t part = 0; part < split.parts; ++part) {
            const Range range = split_range(split.rows, static_cast<int>(part), static_cast<int>(split.parts));
            const double* const of = found + (image * split.parts + part) * 2 * C + sets.channel(set, p);
            all = merged(all, {static_cast<double>(range.end - range.begin), of[0], of[C]});
          }
        }
        keep(set, all);
      }
    }
    T* const center = scratch.take<T>(split.images * C);
    T* const scale = scratch.take<T>(split.images * C);
    for (std::int64_t image = 0; image < split.images; ++image) {
      for (std::int64_t c = 0; c < C; ++c) {
        const std::int64_t set = sets.set_of(image, c);
        center[image * C + c] = mean()[set];
        scale[image * C + c] = rstd()[set] * weight[c];
      }
    }
    split.each(args.threads, C, [&](std::int64_t image, std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        for_each_vector<T>(C, [&](std::int64_t j, int count) {
          const std::int64_t at = image * C + j;
          const Vec<T> deviation = load_lanes<T>(input + row * C + j, count) - load_lanes<T>(center + at, count);
          const Vec<T> y = fma(deviation, load_lanes<T>(scale + at, count), load_lanes<T>(bias + j, count));
          store_lanes(y, output + row * C + j, count);
        });
      }
    });
  }
};

}  // namespace

void channel_norm_forward(const ChannelNormForward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    using T = Compute<S>;
    Scratch scratch;
    const Forward<S> forward{args,
                             Sets(args.shape),
                             parameters<T>(args.weight, args.parameter_dtype, args.shape.C, T(1), scratch),
                             parameters<T>(args.bias, args.parameter_dtype, args.shape.C, T(0), scratch),
                             static_cast<const S*>(args.input),
                             static_cast<S*>(args.output)};
    if (args.shape.channels_last) {
      forward.rows(scratch);
    } else {
      forward.planes(scratch);
    }
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
