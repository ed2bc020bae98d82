#include "common/window_rows.h"
#include "ops/avg_pool/avg_pool.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

constexpr std::int64_t least_work = 1 << 15;

template <class S>
class AvgPooling {
  using T = Compute<S>;

 public:
  explicit AvgPooling(const AvgPool& args) : args_(args), windows_(args.windows) {}

  void forward() const {
    const std::int64_t lanes = windows_.output[2] * (args_.channels_last ? args_.channels : 1);
    const std::int64_t rows = images() * windows_.output[0] * windows_.output[1];
    parallel_for(
        rows, args_.threads,
        [&](std::int64_t begin, std::int64_t end) {
          args_.channels_last ? mean_channels(begin, end) : mean_planes(begin, end);
        },
        1 + least_work / (1 + lanes * volume(windows_.kernel)));
  }

  // A unit is a plane, or an image: nobody else adds to its elements.
  void backward() const {
    const std::int64_t channels = args_.channels_last ? args_.channels : 1;
    const std::int64_t size = volume(windows_.input) * channels;
    parallel_for(
        images(), args_.threads,
        [&](std::int64_t begin, std::int64_t end) {
          Scratch scratch;
          T* const sums = scratch.take<T>(size);
          T* const scale = row_scale(scratch);
          for (std::int64_t image = begin; image < end; ++image) {
            std::memset(sums, 0, static_cast<std::size_t>(size) * sizeof(T));
            spread(image, channels, scale, sums);
            S* const to = static_cast<S*>(args_.to) + image * size;
            for_each_vector<T>(size, [&](std::int64_t i, int n) { Vec<T>::load(sums + i, n).store(to + i, n); });
          }
        },
        1 + least_work / (1 + size));
  }

 private:
  std::int64_t images() const { return args_.channels_last ? args_.batch : args_.batch * args_.channels; }

  // How many elements a window has along a dimension that its mean counts.
  std::int64_t counted(int dimension, std::int64_t o) const {
    const std::int64_t start = o * windows_.stride[dimension] - windows_.padding[dimension];
    const std::int64_t after = args_.count_include_pad ? windows_.padding[dimension] : 0;
    const std::int64_t begin = args_.count_include_pad || start > 0 ? start : 0;
    const std::int64_t limit = windows_.input[dimension] + after, end = start + windows_.kernel[dimension];
    return (end < limit ? end : limit) - begin;
  }

  // Elements that count along the width, for each window.
  T* row_scale(Scratch& scratch) const {
    T* const count = scratch.take<T>(2 * windows_.output[2]);
    for (std::int64_t o = 0; o < windows_.output[2]; ++o) count[o] = static_cast<T>(counted(2, o));
    return count;
  }

  // What the windows of row (d, h) divide by; counts are behind the widths in `count`.
  const T* divisors(std::int64_t d, std::int64_t h, T* count) const {
    const std::int64_t width = windows_.output[2];
    const T area = static_cast<T>(counted(0, d) * counted(1, h));
    for (std::int64_t o = 0; o < width; ++o) {
      count[width + o] = args_.divisor ? static_cast<T>(args_.divisor) : area * count[o];
    }
    return count + width;
  }

  void mean_planes(std::int64_t begin, std::int64_t end) const {
    Scratch scratch;
    WindowRows<S> rows(static_cast<const S*>(args_.from), windows_, T(0), scratch);
    const T** const taps = scratch.take<const T*>(volume(windows_.kernel));
    T* const count = row_scale(scratch);
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
      const T* const divisor = divisors(place.d, place.h, count);
      S* const to = static_cast<S*>(args_.to) + row * width;
      for_each_vector<T>(width, [&](std::int64_t i, int n) {
        Vec<T> sum = Vec<T>::zero();
        for (std::int64_t t = 0; t < used; ++t) sum += Vec<T>::load(taps[t] + i, n);
        (sum / Vec<T>::load(divisor + i, n)).store(to + i, n);
      });
    }
  }

  void mean_channels(std::int64_t begin, std::int64_t end) const {
    Scratch scratch;
    T* const count = row_scale(scratch);
    const S** const taps = scratch.take<const S*>(volume(windows_.kernel));
    const std::int64_t width = windows_.output[2], channels = args_.channels;
    RowPlace place(windows_.output, begin);
    for (std::int64_t row = begin; row < end; ++row, place.next()) {
      const S* const from = static_cast<const S*>(args_.from) + place.image * volume(windows_.input) * channels;
      const T* const divisor = divisors(place.d, place.h, count);
      for (std::int64_t w = 0; w < width; ++w) {
        std::int64_t used = 0;
        for_each_inside(place.d, place.h, w, [&](std::int64_t at) { taps[used++] = from + at * channels; });
        S* const to = static_cast<S*>(args_.to) + (row * width + w) * channels;
        for_each_vector<T>(channels, [&](std::int64_t i, int n) {
          Vec<T> sum = Vec<T>::zero();
          for (std::int64_t t = 0; t < used; ++t) sum += Vec<T>::load(taps[t] + i, n);
          (sum / Vec<T>::set(divisor[w])).store(to + i, n);
        });
      }
    }
  }

  // Adds each window's share of its gradient to the elements inside.
  void spread(std::int64_t image, std::int64_t channels, T* count, T* sums) const {
    const S* g = static_cast<const S*>(args_.from) + image * volume(windows_.output) * channels;
    for (std::int64_t d = 0; d < windows_.output[0]; ++d) {
      for (std::int64_t h = 0; h < windows_.output[1]; ++h) {
        const T* const divisor = divisors(d, h, count);
        for (std::int64_t w = 0; w < windows_.output[2]; ++w, g += channels) {
          if (channels == 1) {
            const T share = to_float(g[0]) / divisor[w];
            for_each_inside(d, h, w, [&](std::int64_t at) { sums[at] += share; });
          } else {
            for_each_inside(d, h, w, [&](std::int64_t at) {
              T* const to = sums + at * channels;
              for (std::int64_t c = 0; c < channels; ++c) to[c] += to_float(g[c]) / divisor[w];
            });
          }
        }
      }
    }
  }

  template <class Function>
  NNZOO_INLINE void for_each_inside(std::int64_t d, std::int64_t h, std::int64_t w, const Function& element) const {
    const Range depths = taps_inside(windows_, 0, d), heights = taps_inside(windows_, 1, h);
    const Range widths = taps_inside(windows_, 2, w);
    for (std::int64_t kd = depths.begin; kd < depths.end; ++kd) {
      for (std::int64_t kh = heights.begin; kh < heights.end; ++kh) {
        const std::int64_t row = flat_position(windows_.input, tap_position(windows_, 0, d, kd),
                                               tap_position(windows_, 1, h, kh), tap_position(windows_, 2, w, 0));
        for (std::int64_t kw = widths.begin; kw < widths.end; ++kw) element(row + kw);
      }
    }
  }

  const AvgPool& args_;
  const Windows& windows_;
};

}  // namespace

void avg_pool_forward(const AvgPool& args) {
  dispatch_dtype(args.dtype, [&](auto tag) { AvgPooling<typename decltype(tag)::Type>(args).forward(); });
}

void avg_pool_backward(const AvgPool& args) {
  dispatch_dtype(args.dtype, [&](auto tag) { AvgPooling<typename decltype(tag)::Type>(args).backward(); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
