#include "common/parameters.h"
#include "common/stream.h"
#include "ops/channel_norm/channel_sets.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S, bool past>
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
    const std::int64_t ahead = at + sets.to_next();
    for_each_vector<T>(sets.shape.S, [&](std::int64_t i, int count) {
      prefetch_to_level2(input + ahead + i);
      store_result<past>(fma(load_lanes<T>(input + at + i, count) - center, scale, shift), output + at + i, count);
    });
    if (past) stream_fence();
  }

  void planes(Scratch& scratch) const {
    const std::int64_t pieces = args.given ? 0 : sets.pieces();
    Moments* const found = scratch.take<Moments>(sets.count * pieces);
    sets.visit(
        args.threads, pieces,
        [&](std::int64_t set, std::int64_t p) {
          const Sets::Piece piece = sets.piece(set, p);
          found[set * pieces + p] = moments<T>(input + piece.begin, piece.size);
        },
        [&](std::int64_t set) {
          if (args.given) return;
          Moments all{0, 0, 0};
          for (std::int64_t p = 0; p < pieces; ++p) all = merged(all, found[set * pieces + p]);
          keep(set, all);
        },
        [&](std::int64_t set, std::int64_t p) { write_plane(set, p); });
  }

  // The moments [C] of the rows begin..end: means, then squares. `sums` has room for 3 * C numbers.
  void column_moments(std::int64_t begin, std::int64_t end, std::int64_t block, double* found, T* sums) const {
    const std::int64_t C = sets.shape.C;
    T* const about = sums + 2 * C;
    if (begin == end) {
      for (std::int64_t c = 0; c < 2 * C; ++c) found[c] = 0;
      return;
    }
    const std::int64_t few = end - begin < 4 ? end - begin : 4;
    for (std::int64_t c = 0; c < C; ++c) {
      T sum = 0;
      for (std::int64_t row = begin; row < begin + few; ++row) sum += static_cast<T>(to_float(input[row * C + c]));
      about[c] = usable_guess(sum / static_cast<T>(few));
    }
    if (add_deviations(begin, end, block, found, sums)) {
      for (std::int64_t c = 0; c < C; ++c) about[c] = usable_guess(static_cast<T>(found[c]));
      add_deviations(begin, end, block, found, sums);
    }
  }

  // The moments [C] of the rows begin..end, from deviations from sums[2 * C + c]; whether that was too far off.
  bool add_deviations(std::int64_t begin, std::int64_t end, std::int64_t block, double* found, T* sums) const {
    const std::int64_t C = sets.shape.C;
    const T* const about = sums + 2 * C;
    for (std::int64_t c = 0; c < 2 * C; ++c) found[c] = 0;
    for (std::int64_t first = begin; first < end; first += block) {
      const std::int64_t last = first + block < end ? first + block : end;
      column_block<T, 2>(first, last, C, sums, [&](std::int64_t row, std::int64_t j, int count, Vec<T>* sum) {
        prefetch_to_level2(input + (row + block) * C + j);
        const Vec<T> deviation = load_lanes<T>(input + row * C + j, count) - load_lanes<T>(about + j, count);
        sum[0] += deviation;
        sum[1] = fma(deviation, deviation, sum[1]);
      });
      for (std::int64_t c = 0; c < 2 * C; ++c) found[c] += sums[c];
    }
    bool far = false;
    for (std::int64_t c = 0; c < C; ++c) {
      const Moments all = moments_of(static_cast<double>(end - begin), about[c], found[c], found[C + c]);
      far = far || is_far(all, about[c]);
      found[c] = all.mean;
      found[C + c] = all.squares;
    }
    return far;
  }

  // Merges the moments of an image's parts, found [parts, 2, C], into those of the first: as `merged`, but divides once
  // for all channels, which have as many values.
  void merge_parts(const RowParts& split, double* found) const {
    const std::int64_t C = sets.shape.C;
    double count = 0;
    for (std::int64_t part = 0; part < split.parts; ++part) {
      const Range range = split_range(split.rows, static_cast<int>(part), static_cast<int>(split.parts));
      const double size = static_cast<double>(range.end - range.begin), share = size / (count + size);
      const double* const more = found + part * 2 * C;
      for (std::int64_t c = 0; c < C && part > 0; ++c) {
        const double delta = more[c] - found[c];
        found[c] += is_finite(delta) ? delta * share : more[c];  // an infinite mean stays so
        found[C + c] += more[C + c] + delta * delta * count * share;
      }
      count += size;
    }
  }

  void rows(Scratch& scratch) const {
    const RowParts split(sets.shape);
    const std::int64_t C = sets.shape.C;
    if (!args.given) {
      double* const found = scratch.take<double>(split.images * split.parts * 2 * C);
      split.each(args.threads, C, [&](std::int64_t image, std::int64_t part, std::int64_t begin, std::int64_t end) {
        Scratch own;
        column_moments(begin, end, split.run, found + (image * split.parts + part) * 2 * C, own.take<T>(3 * C));
      });
      for (std::int64_t image = 0; image < split.images; ++image)
        merge_parts(split, found + image * split.parts * 2 * C);
      for (std::int64_t set = 0; set < sets.count; ++set) {
        const std::int64_t image = sets.shape.over_batch ? 0 : set / sets.shape.G;
        Moments all{0, 0, 0};
        for (std::int64_t p = 0; p < (sets.shape.over_batch ? 1 : sets.planes); ++p) {
          const double* const of = found + image * split.parts * 2 * C + sets.channel(set, p);
          all = merged(all, {static_cast<double>(split.rows), of[0], of[C]});
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
          store_result<past>(y, output + row * C + j, count);
        });
      }
      if (past) stream_fence();
    });
  }
};

}  // namespace

void channel_norm_forward(const ChannelNormForward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    using T = Compute<S>;
    const ChannelShape& shape = args.shape;
    const std::int64_t size = sizeof(S), row = (shape.channels_last ? shape.C : shape.S) * size;
    const auto run = [&](auto past) {
      Scratch scratch;
      const Forward<S, past.value> forward{args,
                                           Sets(shape),
                                           parameters<T>(args.weight, args.parameter_dtype, shape.C, T(1), scratch),
                                           parameters<T>(args.bias, args.parameter_dtype, shape.C, T(0), scratch),
                                           static_cast<const S*>(args.input),
                                           static_cast<S*>(args.output)};
      shape.channels_last ? forward.rows(scratch) : forward.planes(scratch);
    };
    streams(args.output, row, 2 * size * shape.N * shape.C * shape.S) ? run(Flag<true>()) : run(Flag<false>());
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
