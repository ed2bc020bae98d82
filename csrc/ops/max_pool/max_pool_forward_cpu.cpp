#include "common/vmath.h"
#include "common/window_pairs.h"
#include "common/window_rows.h"
#include "ops/max_pool/max_pool.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// The taps of neighbouring windows (planes) or of one pixel's channels: where the first lane of each reads, and its
// number in the window. `T` counts taps too: it holds every integer that a kernel has.
template <class From, class T>
struct Taps {
  const From** from;
  T* number;
  std::int64_t count = 0;

  NNZOO_INLINE void add(const From* address, std::int64_t k) {
    from[count] = address;
    number[count++] = static_cast<T>(k);
  }

  // Calls tap(x, number) for lanes i to i + some of each.
  template <class Tap>
  NNZOO_INLINE void for_each(std::int64_t i, int some, const Tap& tap) const {
    for (std::int64_t t = 0; t < count; ++t) tap(Vec<T>::load(from[t] + i, some), number[t]);
  }
};

// What is better, and what is worse than all.
template <class T, bool minimum>
struct Order {
  static NNZOO_INLINE Vec<T> best(Vec<T> a, Vec<T> b) { return minimum ? min(a, b) : max(a, b); }
  static NNZOO_INLINE Mask<T> better(Vec<T> a, Vec<T> b) { return minimum ? a < b : a > b; }
  static NNZOO_INLINE Vec<T> worst() {
    const Vec<T> infinity = Vec<T>::from_bits(FloatFormat<T>::infinity);
    return minimum ? infinity : neg(infinity);
  }
};

// The chosen value and, if `chosen` isn't null, the tap of `lanes` windows. The first tap inside is `first` plus, where
// it isn't null, `more_first`: it is chosen where no value is better than the worst.
template <bool minimum, bool places, class S, class AnyTaps, class T>
NNZOO_INLINE void choose(const AnyTaps& taps, T first, const T* more_first, std::int64_t lanes, S* output, T* chosen) {
  using By = Order<T, minimum>;
  for_each_vector<T>(lanes, [&](std::int64_t i, int count) {
    Vec<T> start = Vec<T>::set(first);
    if (places && more_first) start += Vec<T>::load(more_first + i, count);
    Vec<T> best = By::worst(), at = start, sum = Vec<T>::zero();
    taps.for_each(i, count, [&](Vec<T> x, T number) {
      if (places) at = select(By::better(x, best), Vec<T>::set(number), at);
      best = By::best(x, best);
      sum += x;
    });
    // Of a NaN, min and max return the other value; the sum tells whether there was one, or infinities of both signs.
    if (__builtin_expect(any(is_nan(sum)), 0)) {
      best = By::worst();
      at = start;
      taps.for_each(i, count, [&](Vec<T> x, T number) {
        const Mask<T> better = By::better(x, best) | is_nan(x);
        if (places) at = select(better, Vec<T>::set(number), at);
        best = select(better, x, best);
      });
    }
    best.store(output + i, count);
    if (places) at.store(chosen + i, count);
  });
}

template <class S, class AnyTaps, class T>
void choose(const AnyTaps& taps, T first, const T* more_first, bool minimum, std::int64_t lanes, S* output, T* chosen) {
  if (minimum) {
    chosen ? choose<true, true>(taps, first, more_first, lanes, output, chosen)
           : choose<true, false>(taps, first, more_first, lanes, output, chosen);
  } else {
    chosen ? choose<false, true>(taps, first, more_first, lanes, output, chosen)
           : choose<false, false>(taps, first, more_first, lanes, output, chosen);
  }
}

// Where a tap lies, from where its window's first tap would.
std::int64_t* tap_distances(const Windows& windows, Scratch& scratch) {
  std::int64_t* const distance = scratch.take<std::int64_t>(volume(windows.kernel));
  std::int64_t* next = distance;
  for (std::int64_t kd = 0; kd < windows.kernel[0]; ++kd) {
    for (std::int64_t kh = 0; kh < windows.kernel[1]; ++kh) {
      for (std::int64_t kw = 0; kw < windows.kernel[2]; ++kw) {
        *next++ =
            flat_position(windows.input, kd * windows.dilation[0], kh * windows.dilation[1], kw * windows.dilation[2]);
      }
    }
  }
  return distance;
}

// Writes the taps of `lanes` windows in the form that is wanted; windows begin at `start` and are `step` apart.
template <class T>
NNZOO_INLINE void record(const MaxPoolForward& args, const T* chosen, std::int64_t lanes, std::int64_t at,
                         std::int64_t start, std::int64_t step, const std::int64_t* distance) {
  if (args.offsets) {
    for (std::int64_t i = 0; i < lanes; ++i)
      args.offsets[at + i] = static_cast<std::uint8_t>(static_cast<int>(chosen[i]));
  }
  if (args.indices) {
    for (std::int64_t i = 0; i < lanes; ++i) {
      args.indices[at + i] = start + i * step + distance[static_cast<std::int64_t>(chosen[i])];
    }
  }
}

template <class S>
class MaxPooling {
  using T = Compute<S>;

 public:
  explicit MaxPooling(const MaxPoolForward& args) : args_(args), windows_(args.windows) {}

  void run() const {
    const std::int64_t images = args_.channels_last ? args_.batch : args_.batch * args_.channels;
    const std::int64_t rows = images * windows_.output[0] * windows_.output[1];
    const std::int64_t lanes = windows_.output[2] * (args_.channels_last ? args_.channels : 1);
    const std::int64_t work = 1 + lanes * volume(windows_.kernel);
    parallel_for(
        rows, args_.threads,
        [&](std::int64_t begin, std::int64_t end) {
          if (args_.channels_last) return channels(begin, end);
          are_pairs(windows_) ? pairs(begin, end) : planes(begin, end);
        },
        1 + least_work / work);
  }

 private:
  static constexpr std::int64_t least_work = 1 << 15;

  // Rows of output, one behind the other over all planes. Lanes are windows side by side.
  void planes(std::int64_t begin, std::int64_t end) const {
    Scratch scratch;
    const T filler = reduce_max(args_.minimum ? Order<T, true>::worst() : Order<T, false>::worst());
    WindowRows<S> rows(static_cast<const S*>(args_.input), windows_, filler, scratch);
    Taps<T, T> taps = make_taps<T>(scratch);
    const std::int64_t width = windows_.output[2], *distance = tap_distances(windows_, scratch);
    T* const chosen = has_places() ? scratch.take<T>(width) : nullptr;
    T* const first = scratch.take<T>(width);
    for (std::int64_t o = 0; o < width; ++o) first[o] = static_cast<T>(taps_inside(windows_, 2, o).begin);
    RowPlace place(windows_.output, begin);
    for (std::int64_t row = begin; row < end; ++row, place.next()) {
      const std::int64_t plane = place.image, d = place.d, h = place.h;
      const Range depths = taps_inside(windows_, 0, d), heights = taps_inside(windows_, 1, h);
      taps.count = 0;
      for (std::int64_t kd = depths.begin; kd < depths.end; ++kd) {
        for (std::int64_t kh = heights.begin; kh < heights.end; ++kh) {
          const T* const from = rows.row(plane, kd, tap_position(windows_, 0, d, kd), tap_position(windows_, 1, h, kh));
          for (std::int64_t kw = 0; kw < windows_.kernel[2]; ++kw) {
            taps.add(from + rows.tap(kw), flat_position(windows_.kernel, kd, kh, kw));
          }
        }
      }
      const T before_first = static_cast<T>(flat_position(windows_.kernel, depths.begin, heights.begin, 0));
      choose(taps, before_first, first, args_.minimum, width, static_cast<S*>(args_.output) + row * width, chosen);
      if (chosen) record(args_, chosen, width, row * width, window_start(d, h, 0), windows_.stride[2], distance);
    }
  }

  // As planes.
  void pairs(std::int64_t begin, std::int64_t end) const {
    Scratch scratch;
    PairRows<S> rows(static_cast<const S*>(args_.input), windows_, scratch);
    const std::int64_t width = windows_.output[2], *distance = tap_distances(windows_, scratch);
    T* const chosen = has_places() ? scratch.take<T>(width) : nullptr;
    RowPlace place(windows_.output, begin);
    for (std::int64_t row = begin; row < end; ++row, place.next()) {
      rows.move_to(place);
      choose(rows, rows.first(), static_cast<const T*>(nullptr), args_.minimum, width,
             static_cast<S*>(args_.output) + row * width, chosen);
      if (!chosen) continue;
      record(args_, chosen, width, row * width, window_start(place.d, place.h, 0), windows_.stride[2], distance);
    }
  }

  // Rows of output, one behind the other over all images. Lanes are the channels of a pixel.
  void channels(std::int64_t begin, std::int64_t end) const {
    Scratch scratch;
    Taps<S, T> taps = make_taps<S>(scratch);
    const std::int64_t channels = args_.channels, *distance = tap_distances(windows_, scratch);
    T* const chosen = has_places() ? scratch.take<T>(channels) : nullptr;
    RowPlace place(windows_.output, begin);
    for (std::int64_t row = begin; row < end; ++row, place.next()) {
      const std::int64_t image = place.image, d = place.d, h = place.h;
      const S* const from = static_cast<const S*>(args_.input) + image * volume(windows_.input) * channels;
      for (std::int64_t w = 0; w < windows_.output[2]; ++w) {
        taps.count = 0;
        for_each_tap_inside(
            d, h, w, [&](std::int64_t position, std::int64_t number) { taps.add(from + position * channels, number); });
        const std::int64_t at = (row * windows_.output[2] + w) * channels;
        choose(taps, taps.number[0], static_cast<const T*>(nullptr), args_.minimum, channels,
               static_cast<S*>(args_.output) + at, chosen);
        if (chosen) record(args_, chosen, channels, at, window_start(d, h, w), 0, distance);
      }
    }
  }

  template <class Function>
  NNZOO_INLINE void for_each_tap_inside(std::int64_t d, std::int64_t h, std::int64_t w, const Function& tap) const {
    const Range depths = taps_inside(windows_, 0, d), heights = taps_inside(windows_, 1, h);
    const Range widths = taps_inside(windows_, 2, w);
    for (std::int64_t kd = depths.begin; kd < depths.end; ++kd) {
      for (std::int64_t kh = heights.begin; kh < heights.end; ++kh) {
        for (std::int64_t kw = widths.begin; kw < widths.end; ++kw) {
          tap(flat_position(windows_.input, tap_position(windows_, 0, d, kd), tap_position(windows_, 1, h, kh),
                            tap_position(windows_, 2, w, kw)),
              flat_position(windows_.kernel, kd, kh, kw));
        }
      }
    }
  }

  template <class From>
  Taps<From, T> make_taps(Scratch& scratch) const {
    const std::int64_t most = volume(windows_.kernel);
    return {scratch.take<const From*>(most), scratch.take<T>(most)};
  }

  bool has_places() const { return args_.offsets || args_.indices; }

  std::int64_t window_start(std::int64_t d, std::int64_t h, std::int64_t w) const {
    return flat_position(windows_.input, tap_position(windows_, 0, d, 0), tap_position(windows_, 1, h, 0),
                         tap_position(windows_, 2, w, 0));
  }

  const MaxPoolForward& args_;
  const Windows& windows_;
};

}  // namespace

void max_pool_forward(const MaxPoolForward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) { MaxPooling<typename decltype(tag)::Type>(args).run(); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
