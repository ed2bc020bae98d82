#include "common/vmath.h"
#include "ops/adaptive_max_pool/adaptive_max_pool.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// The best value so far of each lane, and its number among those that were shown; numbers are whole and held as T.
template <class T, bool places>
struct Best {
  Vec<T> value, at;

  static NNZOO_INLINE Best none() { return {neg(Vec<T>::from_bits(FloatFormat<T>::infinity)), Vec<T>::zero()}; }

  NNZOO_INLINE void show(Vec<T> x, T number) {
    const Mask<T> better = (x > value) | is_nan(x);
    value = select(better, x, value);
    if (places) at = select(better, Vec<T>::set(number), at);
  }
};

template <class S, bool places>
class AdaptiveMax {
  using T = Compute<S>;

 public:
  explicit AdaptiveMax(const AdaptiveMaxPool& args)
      : windows_(args.windows),
        input_(static_cast<const S*>(args.input)),
        output_(static_cast<S*>(args.output)),
        indices_(args.indices) {
    const std::int64_t elements = volume(windows_.input);
    if (windows_.channels_last || !is_global(windows_) || elements < 4 * line) return;
    const std::int64_t lines[3] = {1, elements / line, line};
    for (int i = 0; i < 3; ++i) windows_.input[i] = lines[i];
    rest_ = elements % line;
  }

  void run() const {
    if (windows_.channels_last) {
      for_each_channel_block<T>(windows_, [&](auto&&... place) { best_of_pixels(place...); });
      return;
    }
    const std::int64_t rows = images_of(windows_) * windows_.output[0] * windows_.output[1];
    parallel_for(
        rows, windows_.threads, [&](std::int64_t begin, std::int64_t end) { best_of_rows(begin, end); },
        1 + least_adaptive_work * windows_.output[0] * windows_.output[1] / (1 + volume(windows_.input)));
  }

 private:
  // Rows of output: the best of each column first, of which each window takes the best.
  void best_of_rows(std::int64_t begin, std::int64_t end) const {
    Scratch scratch;
    const std::int64_t width = windows_.input[2];
    T* const best = scratch.take<T>(2 * width);
    T* const number = best + width;
    RowPlace place(windows_.output, begin);
    for (std::int64_t row = begin; row < end; ++row, place.next()) {
      const S* const plane = input_ + place.image * (volume(windows_.input) + rest_);
      const Box box(windows_, place.d, place.h, 0);
      best_of_columns(plane, box, best, number);
      for (std::int64_t o = 0; o < windows_.output[2]; ++o) {
        const std::int64_t column = best_column(elements_of_window(windows_, 2, o), best, number);
        const std::int64_t at = row * windows_.output[2] + o;
        T value = best[column];
        std::int64_t index = places ? flat_row(box, static_cast<std::int64_t>(number[column])) * width + column : 0;
        for (std::int64_t i = volume(windows_.input), end = i + rest_; i < end; ++i) {
          const T x = to_float(plane[i]);
          if (!(x > value || x != x)) continue;
          value = x;
          index = i;
        }
        output_[at] = from_float<S>(value);
        if (places) indices_[at] = index;
      }
    }
  }

  void best_of_columns(const S* plane, const Box& box, T* best, T* number) const {
    std::int64_t i = 0;
    for (; i + line <= windows_.input[2]; i += line)
      best_of_columns(plane + i, box, Vectors<4>(), Vec<T>::width, best + i, number + i);
    for_each_vector<T>(windows_.input[2] - i, [&](std::int64_t more, int lanes) {
      best_of_columns(plane + i + more, box, Vectors<1>(), lanes, best + i + more, number + i + more);
    });
  }

  // Vectors side by side, since each waits for itself.
  template <int vectors>
  NNZOO_INLINE void best_of_columns(const S* plane, const Box& box, Vectors<vectors>, int lanes, T* best,
                                    T* number) const {
    Best<T, places> found[vectors];
    for (auto& one : found) one = Best<T, places>::none();
    T shown = T(0);
    for_each_row(box, [&](std::int64_t d, std::int64_t h) {
      const S* const row = plane + flat_position(windows_.input, d, h, 0);
      for (int v = 0; v < vectors; ++v) found[v].show(load_lanes<T>(row + v * Vec<T>::width, lanes), shown);
      shown += T(1);
    });
    for (int v = 0; v < vectors; ++v) {
      found[v].value.store(best + v * Vec<T>::width, lanes);
      if (places) found[v].at.store(number + v * Vec<T>::width, lanes);
    }
  }

  // Where the best of neighbouring columns is, equal ones in the order of rows.
  static std::int64_t best_column(Range columns, const T* best, const T* number) {
    std::int64_t column = columns.begin;
    for (std::int64_t i = columns.begin + 1; i < columns.end; ++i) {
      const T x = best[i], old = best[column];
      if (x > old || (x != x && (old == old || !places || number[i] >= number[column])) ||
          (places && x == old && number[i] < number[column])) {
        column = i;
      }
    }
    return column;
  }

  // Row `number` of a box, among all of the image.
  std::int64_t flat_row(const Box& box, std::int64_t number) const {
    const std::int64_t heights = length(box.h), d = number / heights;
    return (box.d.begin + d) * windows_.input[1] + box.h.begin + number - d * heights;
  }

  template <int vectors>
  NNZOO_INLINE void best_of_pixels(std::int64_t image, const Box& box, std::int64_t output, std::int64_t channel,
                                   Vectors<vectors>, int lanes) const {
    constexpr int width = Vec<T>::width;
    const std::int64_t channels = windows_.channels;
    const S* const from = input_ + image * volume(windows_.input) * channels + channel;
    Best<T, places> best[vectors];
    for (auto& one : best) one = Best<T, places>::none();
    T shown = T(0);
    for_each_row(box, [&](std::int64_t d, std::int64_t h) {
      const S* pixel = from + flat_position(windows_.input, d, h, box.w.begin) * channels;
      for (std::int64_t i = length(box.w); i > 0; --i, pixel += channels, shown += T(1)) {
        for (int v = 0; v < vectors; ++v) {
          best[v].show(load_lanes<T>(pixel + v * width, vectors == 1 ? lanes : width), shown);
        }
      }
    });
    const std::int64_t to = output * channels + channel, widths = length(box.w);
    for (int v = 0; v < vectors; ++v) {
      store_lanes(best[v].value, output_ + to + v * width, vectors == 1 ? lanes : width);
      if (!places) continue;
      T number[width];
      best[v].at.store(number);
      for (int i = 0; i < (vectors == 1 ? lanes : width); ++i) {
        const std::int64_t at = static_cast<std::int64_t>(number[i]), row = at / widths;
        indices_[to + v * width + i] = flat_row(box, row) * windows_.input[2] + box.w.begin + at - row * widths;
      }
    }
  }

  // Planes of which one window takes all are read as lines of this many elements, `rest_` more behind the last.
  static constexpr std::int64_t line = 4 * Vec<T>::width;

  AdaptiveWindows windows_;
  std::int64_t rest_ = 0;
  const S* const input_;
  S* const output_;
  std::int64_t* const indices_;
};

}  // namespace

void adaptive_max_pool_forward(const AdaptiveMaxPool& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    if (args.indices) {
      AdaptiveMax<S, true>(args).run();
    } else {
      AdaptiveMax<S, false>(args).run();
    }
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
