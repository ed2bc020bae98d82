#include "common/stream.h"
#include "ops/adaptive_avg_pool/adaptive_avg_pool.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S>
class AdaptiveMeanGradient {
  using T = Compute<S>;

 public:
  explicit AdaptiveMeanGradient(const AdaptiveAvgPool& args)
      : windows_(args.windows), grad_(static_cast<const S*>(args.from)), grad_input_(static_cast<S*>(args.to)) {}

  void run() const {
    if (is_global(windows_) && !windows_.channels_last) {
      const std::int64_t least = 1 + least_adaptive_work / volume(windows_.input);
      parallel_for(
          images_of(windows_), windows_.threads, [&](std::int64_t begin, std::int64_t end) { planes_of(begin, end); },
          least);
      return;
    }
    const std::int64_t rows = images_of(windows_) * windows_.input[0] * windows_.input[1];
    parallel_for(
        rows, windows_.threads,
        [&](std::int64_t begin, std::int64_t end) {
          windows_.channels_last ? pixels(begin, end) : rows_of(begin, end);
        },
        1 + least_adaptive_work / (1 + windows_.input[2] * (windows_.channels_last ? windows_.channels : 1)));
  }

 private:
  // Rows of input, one behind the other over all planes.
  void rows_of(std::int64_t begin, std::int64_t end) const {
    Scratch scratch;
    const std::int64_t width = windows_.input[2], outputs = windows_.output[2];
    Range* const over = scratch.take<Range>(width);  // the windows over each column
    bool alone = true;
    for (std::int64_t w = 0; w < width; ++w) {
      over[w] = windows_of_element(windows_, 2, w);
      alone = alone && length(over[w]) == 1;
    }
    T* const shares = scratch.take<T>(outputs);
    T* const widths = scratch.take<T>(outputs);
    for (std::int64_t o = 0; o < outputs; ++o) widths[o] = static_cast<T>(length(elements_of_window(windows_, 2, o)));
    Range old_d{-1, -1}, old_h{-1, -1};
    std::int64_t old_image = -1;
    RowPlace place(windows_.input, begin);
    const auto make = [&](T* line, const T* previous) {
      const Range d = windows_of_element(windows_, 0, place.d), h = windows_of_element(windows_, 1, place.h);
      const bool repeats = place.image == old_image && same(d, old_d) && same(h, old_h);
      old_image = place.image;
      old_d = d;
      old_h = h;
      if (!repeats) sum_shares(place.image, d, h, widths, shares);
      place.next();
      if (repeats && previous) {
        for_each_vector<T>(width,
                           [&](std::int64_t i, int some) { Vec<T>::load(previous + i, some).store(line + i, some); });
      } else if (outputs == 1) {
        for_each_vector<T>(width, [&](std::int64_t i, int some) { Vec<T>::set(shares[0]).store(line + i, some); });
      } else if (alone) {
        for (std::int64_t w = 0; w < width; ++w) line[w] = shares[over[w].begin];
      } else {
        for (std::int64_t w = 0; w < width; ++w) {
          T sum = T(0);
          for (std::int64_t o = over[w].begin; o < over[w].end; ++o) sum += shares[o];
          line[w] = sum;
        }
      }
    };
    write_rows<T>(grad_input_, width, {begin, end}, streams(), make,
                  [](std::int64_t, Vec<T> made, int) { return made; });
  }

  // Every plane is one share.
  void planes_of(std::int64_t begin, std::int64_t end) const {
    const std::int64_t size = volume(windows_.input);
    for (std::int64_t image = begin; image < end; ++image) {
      const Vec<T> share = Vec<T>::set(to_float(grad_[image]) / static_cast<T>(size));
      write_vectors<T>(grad_input_ + image * size, size, streams(), [&](std::int64_t, int) { return share; });
    }
    if (streams()) stream_fence();
  }

  bool streams() const {
    return windows_.batch * windows_.channels * volume(windows_.input) * std::int64_t(sizeof(S)) >= least_streamed;
  }

  static bool same(Range a, Range b) { return a.begin == b.begin && a.end == b.end; }

  // What the rows of windows, whose windows have these widths, give the elements of a row of input.
  void sum_shares(std::int64_t image, Range d, Range h, const T* widths, T* shares) const {
    const std::int64_t outputs = windows_.output[2];
    for (std::int64_t o = 0; o < outputs; ++o) shares[o] = T(0);
    for (std::int64_t od = d.begin; od < d.end; ++od) {
      for (std::int64_t oh = h.begin; oh < h.end; ++oh) {
        const S* const grad = grad_ + image * volume(windows_.output) + flat_position(windows_.output, od, oh, 0);
        const std::int64_t rows =
            length(elements_of_window(windows_, 0, od)) * length(elements_of_window(windows_, 1, oh));
        const Vec<T> area = Vec<T>::set(static_cast<T>(rows));
        for_each_vector<T>(outputs, [&](std::int64_t i, int some) {
          const Vec<T> share = Vec<T>::load(grad + i, some) / (area * Vec<T>::load(widths + i, some));
          (Vec<T>::load(shares + i, some) + share).store(shares + i, some);
        });
      }
    }
  }

  // Rows of input, one behind the other over all images. Lanes are the channels of a pixel.
  void pixels(std::int64_t begin, std::int64_t end) const {
    Scratch scratch;
    const std::int64_t channels = windows_.channels, width = windows_.input[2];
    T* const line = scratch.take<T>(channels);
    RowPlace place(windows_.input, begin);
    for (std::int64_t row = begin; row < end; ++row, place.next()) {
      const Range d = windows_of_element(windows_, 0, place.d), h = windows_of_element(windows_, 1, place.h);
      Range old{-1, -1};
      for (std::int64_t w = 0; w < width; ++w) {
        const Range over = windows_of_element(windows_, 2, w);
        if (!same(over, old)) sum_channels(place.image, d, h, over, line);
        old = over;
        S* const to = grad_input_ + (row * width + w) * channels;
        for_each_vector<T>(channels,
                           [&](std::int64_t i, int some) { Vec<T>::load(line + i, some).store(to + i, some); });
      }
    }
  }

  void sum_channels(std::int64_t image, Range d, Range h, Range w, T* line) const {
    const std::int64_t channels = windows_.channels;
    bool first = true;
    for (std::int64_t od = d.begin; od < d.end; ++od) {
      for (std::int64_t oh = h.begin; oh < h.end; ++oh) {
        for (std::int64_t ow = w.begin; ow < w.end; ++ow) {
          const std::int64_t at = image * volume(windows_.output) + flat_position(windows_.output, od, oh, ow);
          const Vec<T> count = Vec<T>::set(static_cast<T>(Box(windows_, od, oh, ow).elements()));
          for_each_vector<T>(channels, [&](std::int64_t i, int some) {
            const Vec<T> share = Vec<T>::load(grad_ + at * channels + i, some) / count;
            (first ? share : Vec<T>::load(line + i, some) + share).store(line + i, some);
          });
          first = false;
        }
      }
    }
  }

  const AdaptiveWindows& windows_;
  const S* const grad_;
  S* const grad_input_;
};

}  // namespace

void adaptive_avg_pool_backward(const AdaptiveAvgPool& args) {
  dispatch_dtype(args.dtype, [&](auto tag) { AdaptiveMeanGradient<typename decltype(tag)::Type>(args).run(); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
