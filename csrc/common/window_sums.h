// Sums over windows, and the gradients of what is made of them: avg_pool and lp_pool. A Rule says what is summed and
// what becomes of a sum. The count of a window is what its mean divides by.
//
//     struct Rule {
//       static constexpr bool plain;                                   term(x) = x, gradient(shares, x) = shares, and
//                                                                      share doesn't read the output
//       Vec<T> term(Vec<T> x) const;                                   what an element adds to its windows
//       Vec<T> result(Vec<T> sum, Vec<T> count) const;                 the output of a window
//       Vec<T> share(Vec<T> g, Vec<T> output, Vec<T> count) const;     what a window gives each of its elements back
//       Vec<T> gradient(Vec<T> shares, Vec<T> x) const;                an element's gradient
//     };
#pragma once

#include "common/windows.h"

namespace nnzoo {

// Windows without dilation over [batch, channels, D, H, W], or [batch, D, H, W, channels] where channels_last. A window
// counts `divisor` if that isn't 0; else its elements inside the image and, with count_include_pad, in the padding on
// either side.
struct SummedWindows {
  std::int64_t batch, channels;
  Windows windows;
  std::int64_t divisor;
  bool count_include_pad, channels_last;
  int threads;
};

}  // namespace nnzoo

#if defined(NNZOO_ISA)
#include "common/stream.h"
#include "common/window_pairs.h"
#include "common/window_rows.h"

namespace nnzoo {
namespace NNZOO_ISA {

// The counts of the windows of a row.
template <class T>
class WindowCounts {
 public:
  WindowCounts(const SummedWindows& args, Scratch& scratch)
      : args_(args), widths_(scratch.take<T>(2 * args.windows.output[2])), counts_(widths_ + args.windows.output[2]) {
    for (std::int64_t o = 0; o < args.windows.output[2]; ++o) widths_[o] = static_cast<T>(counted(2, o));
  }

  const T* row(std::int64_t d, std::int64_t h) {
    const T area = static_cast<T>(counted(0, d) * counted(1, h));
    if (area != area_) {
      area_ = area;
      for (std::int64_t o = 0; o < args_.windows.output[2]; ++o) {
        counts_[o] = args_.divisor ? static_cast<T>(args_.divisor) : area * widths_[o];
      }
    }
    return counts_;
  }

 private:
  std::int64_t counted(int dimension, std::int64_t o) const {
    const Windows& windows = args_.windows;
    const std::int64_t start = o * windows.stride[dimension] - windows.padding[dimension];
    const std::int64_t after = args_.count_include_pad ? windows.padding[dimension] : 0;
    const std::int64_t begin = args_.count_include_pad || start > 0 ? start : 0;
    const std::int64_t limit = windows.input[dimension] + after, end = start + windows.kernel[dimension];
    return (end < limit ? end : limit) - begin;
  }

  const SummedWindows& args_;
  T *const widths_, *const counts_;
  T area_ = T(-1);
};

// The windows that hold an element, along one dimension.
NNZOO_INLINE Range windows_over(const Windows& windows, int dimension, std::int64_t position) {
  const std::int64_t stride = windows.stride[dimension], last = position + windows.padding[dimension];
  const std::int64_t before = last - windows.kernel[dimension] + 1;
  const std::int64_t begin = before > 0 ? steps(before, stride) : 0, end = last / stride + 1;
  return {begin, end < windows.output[dimension] ? end : windows.output[dimension]};
}

// Rows of shares, which the rows of the image that they go to wait for in a ring. Before each row are `before` zeros,
// and `after` zeros behind it.
template <class S, class Rule>
class ShareRows {
  using T = Compute<S>;

 public:
  ShareRows(const SummedWindows& args, const Rule& rule, const S* grad_output, const S* output, std::int64_t before,
            std::int64_t after, Scratch& scratch)
      : args_(args),
        rule_(rule),
        grad_output_(grad_output),
        output_(output),
        lanes_(args.channels_last ? args.channels : 1),
        before_(before),
        row_size_(before + args.windows.output[2] * lanes_ + after),
        counts_(args, scratch) {
    for (int i = 0; i < 2; ++i) {
      slots_[i] = static_cast<std::uint32_t>((args.windows.kernel[i] - 1) / args.windows.stride[i] + 1);
    }
    const std::int64_t rows = std::int64_t(slots_[0]) * slots_[1];
    rows_ = scratch.take<T>(rows * row_size_);
    held_ = scratch.take<std::int64_t>(rows);
    for (std::int64_t i = 0; i < rows; ++i) held_[i] = -1;
    for (std::int64_t i = 0; i < rows * row_size_; ++i) rows_[i] = T(0);
  }

  NNZOO_INLINE const T* row(std::int64_t image, std::int64_t d, std::int64_t h) {
    const std::int64_t wanted = (image * args_.windows.output[0] + d) * args_.windows.output[1] + h;
    const std::int64_t slot =
        std::int64_t(static_cast<std::uint32_t>(d) % slots_[0]) * slots_[1] + static_cast<std::uint32_t>(h) % slots_[1];
    T* const row = rows_ + slot * row_size_ + before_;
    if (held_[slot] != wanted) {
      fill(wanted * args_.windows.output[2] * lanes_, counts_.row(d, h), row);
      held_[slot] = wanted;
    }
    return row;
  }

 private:
  void fill(std::int64_t at, const T* counts, T* row) const {
    const std::int64_t width = args_.windows.output[2];
    if (!args_.channels_last) {
      for_each_vector<T>(width, [&](std::int64_t i, int some) {
        share(at + i, Vec<T>::load(counts + i, some), some).store(row + i, some);
      });
      return;
    }
    for (std::int64_t w = 0; w < width; ++w) {
      const Vec<T> count = Vec<T>::set(counts[w]);
      const std::int64_t pixel = w * lanes_;
      for_each_vector<T>(
          lanes_, [&](std::int64_t i, int some) { share(at + pixel + i, count, some).store(row + pixel + i, some); });
    }
  }

  NNZOO_INLINE Vec<T> share(std::int64_t at, Vec<T> count, int some) const {
    const Vec<T> output = Rule::plain ? Vec<T>::zero() : Vec<T>::load(output_ + at, some);
    return rule_.share(Vec<T>::load(grad_output_ + at, some), output, count);
  }

  const SummedWindows& args_;
  const Rule& rule_;
  const S *const grad_output_, *const output_;
  const std::int64_t lanes_, before_, row_size_;
  WindowCounts<T> counts_;
  std::uint32_t slots_[2];
  T* rows_;
  std::int64_t* held_;
};

template <class S, class Rule>
class WindowSums {
  using T = Compute<S>;

 public:
  WindowSums(const SummedWindows& args, const Rule& rule) : args_(args), windows_(args.windows), rule_(rule) {}

  // input, output: laid out as `args` says.
  void forward(const S* input, S* output) const {
    const std::int64_t lanes = windows_.output[2] * channels();
    const std::int64_t rows = images() * windows_.output[0] * windows_.output[1];
    parallel_for(
        rows, args_.threads,
        [&](std::int64_t begin, std::int64_t end) {
          if (args_.channels_last) return sum_channels(input, output, begin, end);
          are_pairs(windows_) ? sum_pairs(input, output, begin, end) : sum_planes(input, output, begin, end);
        },
        1 + least_work / (1 + lanes * volume(windows_.kernel)));
  }

  // Of a plain rule, `output` and `input` aren't read.
  void backward(const S* grad_output, const S* output, const S* input, S* grad_input) const {
    const std::int64_t rows = images() * windows_.input[0] * windows_.input[1];
    parallel_for(
        rows, args_.threads,
        [&](std::int64_t begin, std::int64_t end) {
          args_.channels_last ? spread_channels(grad_output, output, input, grad_input, begin, end)
                              : spread_planes(grad_output, output, input, grad_input, begin, end);
        },
        1 + least_work / (1 + windows_.input[2] * channels()));
  }

 private:
  static constexpr std::int64_t least_work = 1 << 15;

  std::int64_t images() const { return args_.channels_last ? args_.batch : args_.batch * args_.channels; }
  std::int64_t channels() const { return args_.channels_last ? args_.channels : 1; }

  // Rows of output, one behind the other over all planes. Lanes are windows side by side.
  void sum_planes(const S* input, S* output, std::int64_t begin, std::int64_t end) const {
    Scratch scratch;
    WindowRows<S, Rule> rows(input, windows_, T(0), scratch, rule_);
    const T** const taps = scratch.take<const T*>(volume(windows_.kernel));
    WindowCounts<T> counts(args_, scratch);
    const std::int64_t width = windows_.output[2];
    RowPlace place(windows_.output, begin);
    for (std::int64_t row = begin; row < end; ++row, place.next()) {
      const Range depths = taps_inside(windows_, 0, place.d), heights = taps_inside(windows_, 1, place.h);
      std::int64_t used = 0;
      for (std::int64_t kd = depths.begin; kd < depths.end; ++kd) {
        for (std::int64_t kh = heights.begin; kh < heights.end; ++kh) {
          const T* const from =
              rows.row(place.image, kd, tap_position(windows_, 0, place.d, kd), tap_position(windows_, 1, place.h, kh));
          for (std::int64_t kw = 0; kw < windows_.kernel[2]; ++kw) taps[used++] = from + rows.tap(kw);
        }
      }
      const T* const count = counts.row(place.d, place.h);
      for_each_vector<T>(width, [&](std::int64_t i, int some) {
        Vec<T> sum = Vec<T>::zero();
        for (std::int64_t t = 0; t < used; ++t) sum += Vec<T>::load(taps[t] + i, some);
        rule_.result(sum, Vec<T>::load(count + i, some)).store(output + row * width + i, some);
      });
    }
  }

  // As sum_planes.
  void sum_pairs(const S* input, S* output, std::int64_t begin, std::int64_t end) const {
    Scratch scratch;
    PairRows<S> rows(input, windows_, scratch);
    WindowCounts<T> counts(args_, scratch);
    const std::int64_t width = windows_.output[2];
    RowPlace place(windows_.output, begin);
    for (std::int64_t row = begin; row < end; ++row, place.next()) {
      rows.move_to(place);
      const T* const count = counts.row(place.d, place.h);
      for_each_vector<T>(width, [&](std::int64_t i, int some) {
        Vec<T> sum = Vec<T>::zero();
        rows.for_each(i, some, [&](Vec<T> x, T) { sum += rule_.term(x); });
        rule_.result(sum, Vec<T>::load(count + i, some)).store(output + row * width + i, some);
      });
    }
  }

  // Rows of output, one behind the other over all images. Lanes are the channels of a pixel.
  void sum_channels(const S* input, S* output, std::int64_t begin, std::int64_t end) const {
    Scratch scratch;
    WindowCounts<T> counts(args_, scratch);
    const S** const taps = scratch.take<const S*>(volume(windows_.kernel));
    const std::int64_t width = windows_.output[2];
    RowPlace place(windows_.output, begin);
    for (std::int64_t row = begin; row < end; ++row, place.next()) {
      const S* const from = input + place.image * volume(windows_.input) * args_.channels;
      const Range depths = taps_inside(windows_, 0, place.d), heights = taps_inside(windows_, 1, place.h);
      const T* const count = counts.row(place.d, place.h);
      for (std::int64_t w = 0; w < width; ++w) {
        const Range widths = taps_inside(windows_, 2, w);
        std::int64_t used = 0;
        for (std::int64_t kd = depths.begin; kd < depths.end; ++kd) {
          for (std::int64_t kh = heights.begin; kh < heights.end; ++kh) {
            const std::int64_t first =
                flat_position(windows_.input, tap_position(windows_, 0, place.d, kd),
                              tap_position(windows_, 1, place.h, kh), tap_position(windows_, 2, w, 0));
            for (std::int64_t kw = widths.begin; kw < widths.end; ++kw) {
              taps[used++] = from + (first + kw) * args_.channels;
            }
          }
        }
        S* const to = output + (row * width + w) * args_.channels;
        for_each_vector<T>(args_.channels, [&](std::int64_t i, int some) {
          Vec<T> sum = Vec<T>::zero();
          for (std::int64_t t = 0; t < used; ++t) sum += rule_.term(Vec<T>::load(taps[t] + i, some));
          rule_.result(sum, Vec<T>::set(count[w])).store(to + i, some);
        });
      }
    }
  }

  // Rows of input, one behind the other over all planes. Lanes are the elements of a phase.
  void spread_planes(const S* grad_output, const S* output, const S* input, S* grad_input, std::int64_t begin,
                     std::int64_t end) const {
    Scratch scratch;
    const Phases phases(windows_, scratch);
    const std::int64_t width = windows_.input[2], reach = width + phases.padding + 1;
    ShareRows<S, Rule> rows(args_, rule_, grad_output, output, phases.longest_shift, reach, scratch);
    T* const total = scratch.take<T>(phases.longest_shift + windows_.output[2] + reach);
    for (std::int64_t i = 0; i < phases.longest_shift + windows_.output[2] + reach; ++i) total[i] = T(0);
    T* const sums = scratch.take<T>(width + phases.stride);
    const T** const parts = scratch.take<const T*>(phases.stride);
    RowPlace place(windows_.input, begin);
    Range old_d{-1, -1}, old_h{-1, -1};
    write_rows<T>(
        grad_input, width, {begin, end}, streams(),
        [&](T* line, const T* previous) {
          const Range d = windows_over(windows_, 0, place.d), h = windows_over(windows_, 1, place.h);
          if (previous && place.h > 0 && same(d, old_d) && same(h, old_h)) {
            copy(previous, width, line);
          } else {
            widen(phases, over(rows, place.image, d, h, total + phases.longest_shift), sums, parts, line);
          }
          old_d = d;
          old_h = h;
          place.next();
        },
        [&](std::int64_t i, Vec<T> shares, int some) {
          return rule_.gradient(shares, Rule::plain ? Vec<T>::zero() : Vec<T>::load(input + i, some));
        });
  }

  bool streams() const {
    return images() * volume(windows_.input) * channels() * static_cast<std::int64_t>(sizeof(S)) >= least_streamed;
  }

  static void copy(const T* from, std::int64_t n, T* to) {
    for_each_vector<T>(n, [&](std::int64_t i, int some) { Vec<T>::load(from + i, some).store(to + i, some); });
  }

  static bool same(Range a, Range b) { return a.begin == b.begin && a.end == b.end; }

  // The sum of the rows of shares over one row of the image; `total` holds it if there are several.
  NNZOO_INLINE const T* over(ShareRows<S, Rule>& rows, std::int64_t image, Range d, Range h, T* total) const {
    if (d.end - d.begin == 1 && h.end - h.begin == 1) return rows.row(image, d.begin, h.begin);
    const std::int64_t width = windows_.output[2];
    bool first = true;
    for (std::int64_t od = d.begin; od < d.end; ++od) {
      for (std::int64_t oh = h.begin; oh < h.end; ++oh) {
        const T* const row = rows.row(image, od, oh);
        for_each_vector<T>(width, [&](std::int64_t i, int some) {
          const Vec<T> share = Vec<T>::load(row + i, some);
          (first ? share : Vec<T>::load(total + i, some) + share).store(total + i, some);
        });
        first = false;
      }
    }
    if (first) {
      for (std::int64_t i = 0; i < width; ++i) total[i] = T(0);
    }
    return total;
  }

  // A row of the image from a row of shares.
  void widen(const Phases& phases, const T* shares, T* sums, const T** parts, T* line) const {
    T* next = phases.stride == 1 ? line : sums;
    for (std::int64_t phase = 0; phase < phases.stride; ++phase) {
      const std::int64_t first = phases.begin[phase], count = phases.end[phase] - first;
      const std::int64_t taps =
          phase < windows_.kernel[2] ? (windows_.kernel[2] - phase + phases.stride - 1) / phases.stride : 0;
      if (taps == 1) {
        parts[phase] = shares + first;
        continue;
      }
      parts[phase] = next;
      for_each_vector<T>(count, [&](std::int64_t i, int some) {
        Vec<T> sum = Vec<T>::zero();
        for (std::int64_t tap = taps - 1; tap >= 0; --tap) sum += Vec<T>::load(shares + first - tap + i, some);
        sum.store(next + i, some);
      });
      next += count;
    }
    if (parts[0] != line) phases.interleave(parts, line);
  }

  // Rows of input, one behind the other over all images. Lanes are the channels of a pixel.
  void spread_channels(const S* grad_output, const S* output, const S* input, S* grad_input, std::int64_t begin,
                       std::int64_t end) const {
    Scratch scratch;
    const std::int64_t channels = args_.channels, width = windows_.input[2];
    ShareRows<S, Rule> rows(args_, rule_, grad_output, output, 0, 0, scratch);
    std::int64_t most = 1;  // windows over an element
    for (int i = 0; i < 3; ++i) most *= (windows_.kernel[i] - 1) / windows_.stride[i] + 1;
    const T** const held = scratch.take<const T*>(2 * most);
    const T** const shares = held + most;
    RowPlace place(windows_.input, begin);
    for (std::int64_t row = begin; row < end; ++row, place.next()) {
      const Range d = windows_over(windows_, 0, place.d), h = windows_over(windows_, 1, place.h);
      std::int64_t lines = 0;
      for (std::int64_t od = d.begin; od < d.end; ++od) {
        for (std::int64_t oh = h.begin; oh < h.end; ++oh) held[lines++] = rows.row(place.image, od, oh);
      }
      for (std::int64_t w = 0; w < width; ++w) {
        const Range over = windows_over(windows_, 2, w);
        std::int64_t used = 0;
        for (std::int64_t i = 0; i < lines; ++i) {
          for (std::int64_t ow = over.begin; ow < over.end; ++ow) shares[used++] = held[i] + ow * channels;
        }
        const std::int64_t at = (row * width + w) * channels;
        for_each_vector<T>(channels, [&](std::int64_t i, int some) {
          Vec<T> sum = Vec<T>::zero();
          for (std::int64_t t = 0; t < used; ++t) sum += Vec<T>::load(shares[t] + i, some);
          const Vec<T> x = Rule::plain ? Vec<T>::zero() : Vec<T>::load(input + at + i, some);
          rule_.gradient(sum, x).store(grad_input + at + i, some);
        });
      }
    }
  }

  const SummedWindows& args_;
  const Windows& windows_;
  const Rule rule_;
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
#endif
