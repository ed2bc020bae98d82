#include "common/stream.h"
#include "common/window_rows.h"
#include "ops/max_pool/max_pool.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

constexpr std::int64_t least_work = 1 << 15;

// Rows of grad_output and of the chosen taps, both as T, which the windows over a row of input share. Around each row
// are `margin` zeros of gradient.
template <class S>
class ChosenRows {
  using T = Compute<S>;

 public:
  ChosenRows(const MaxPoolBackward& args, std::int64_t width, std::int64_t margin, Scratch& scratch)
      : args_(args), width_(width), margin_(margin), row_size_(width + 2 * margin) {
    slots_ = static_cast<std::uint32_t>(
        (args.windows.kernel[1] - 1) * args.windows.dilation[1] / args.windows.stride[1] + 1);
    const std::int64_t rows = args.windows.kernel[0] * slots_;
    grads_ = scratch.take<T>(2 * rows * row_size_);
    taps_ = grads_ + rows * row_size_;
    held_ = scratch.take<std::int64_t>(rows);
    for (std::int64_t i = 0; i < rows; ++i) held_[i] = -1;
    for (std::int64_t i = 0; i < 2 * rows * row_size_; ++i) grads_[i] = T(0);
  }

  struct Row {
    const T *grad, *tap;
  };

  NNZOO_INLINE Row row(std::int64_t image, std::int64_t kd, std::int64_t d, std::int64_t h) {
    const std::int64_t wanted = (image * args_.windows.output[0] + d) * args_.windows.output[1] + h;
    const std::int64_t slot = kd * slots_ + static_cast<std::uint32_t>(h) % slots_;
    T* const grad = grads_ + slot * row_size_ + margin_;
    T* const tap = taps_ + slot * row_size_ + margin_;
    if (held_[slot] != wanted) {
      const S* const from = static_cast<const S*>(args_.grad_output) + wanted * width_;
      for_each_vector<T>(width_, [&](std::int64_t i, int some) { Vec<T>::load(from + i, some).store(grad + i, some); });
      const std::uint8_t* const offsets = args_.offsets + wanted * width_;
      for (std::int64_t i = 0; i < width_; ++i) tap[i] = static_cast<T>(static_cast<int>(offsets[i]));
      held_[slot] = wanted;
    }
    return {grad, tap};
  }

 private:
  const MaxPoolBackward& args_;
  const std::int64_t width_, margin_, row_size_;
  std::uint32_t slots_;
  T *grads_, *taps_;
  std::int64_t* held_;
};

// The taps that may have chosen an element, the window that comes first being the first of them.
template <class T>
struct Candidates {
  const T **grad, **tap;
  T* number;
  std::int64_t count = 0;

  Candidates(std::int64_t most, Scratch& scratch)
      : grad(scratch.take<const T*>(most)), tap(scratch.take<const T*>(most)), number(scratch.take<T>(most)) {}

  NNZOO_INLINE void add(const T* g, const T* t, T k) {
    grad[count] = g;
    tap[count] = t;
    number[count++] = k;
  }

  // As many candidates as a kernel of 3 with a stride of 2 has get a loop of their own, where nothing but rows is
  // loaded.
  template <class S>
  NNZOO_INLINE void sum(std::int64_t lanes, S* out) const {
    switch (count) {
      case 1:
        return sum_of<1>(lanes, out);
      case 2:
        return sum_of<2>(lanes, out);
      case 4:
        return sum_of<4>(lanes, out);
    }
    for_each_vector<T>(lanes, [&](std::int64_t i, int some) {
      Vec<T> total = Vec<T>::zero();
      for (std::int64_t t = 0; t < count; ++t) total += share(grad[t], tap[t], Vec<T>::set(number[t]), i, some);
      total.store(out + i, some);
    });
  }

 private:
  static NNZOO_INLINE Vec<T> share(const T* g, const T* t, Vec<T> mine, std::int64_t i, int some) {
    return select(Vec<T>::load(t + i, some) == mine, Vec<T>::load(g + i, some), Vec<T>::zero());
  }

  template <int n, class S>
  NNZOO_INLINE void sum_of(std::int64_t lanes, S* out) const {
    const T *g[n], *t[n];
    Vec<T> mine[n];
    for (int k = 0; k < n; ++k) g[k] = grad[k], t[k] = tap[k], mine[k] = Vec<T>::set(number[k]);
    for_each_vector<T>(lanes, [&](std::int64_t i, int some) {
      Vec<T> total = share(g[0], t[0], mine[0], i, some);
#pragma GCC unroll 4
      for (int k = 1; k < n; ++k) total += share(g[k], t[k], mine[k], i, some);
      total.store(out + i, some);
    });
  }
};

template <class S>
class Gradient {
  using T = Compute<S>;

 public:
  explicit Gradient(const MaxPoolBackward& args) : args_(args), windows_(args.windows) {}

  void run() const {
    const std::int64_t images = args_.channels_last ? args_.batch : args_.batch * args_.channels;
    const std::int64_t rows = images * windows_.input[0] * windows_.input[1];
    const std::int64_t work = 1 + windows_.input[2] * (args_.channels_last ? args_.channels : 1);
    parallel_for(
        rows, args_.threads,
        [&](std::int64_t begin, std::int64_t end) { args_.channels_last ? channels(begin, end) : planes(begin, end); },
        1 + least_work / work);
  }

 private:
  // Calls window(kd, d, kh, h) for the taps and windows that meet row (d, h) of the input, windows in order.
  template <class Window>
  NNZOO_INLINE void for_each_window(const RowPlace& place, const Window& window) const {
    for (std::int64_t kd = windows_.kernel[0] - 1; kd >= 0; --kd) {
      const std::int64_t d = window_of(0, place.d, kd);
      if (d < 0) continue;
      for (std::int64_t kh = windows_.kernel[1] - 1; kh >= 0; --kh) {
        const std::int64_t h = window_of(1, place.h, kh);
        if (h >= 0) window(kd, d, kh, h);
      }
    }
  }

  // The window whose tap k lies at `position`, -1 if there is none.
  NNZOO_INLINE std::int64_t window_of(int dimension, std::int64_t position, std::int64_t k) const {
    const std::int64_t start = position + windows_.padding[dimension] - k * windows_.dilation[dimension];
    if (start < 0) return -1;
    const std::int64_t stride = windows_.stride[dimension];
    const std::int64_t o = stride == 1 ? start : stride == 2 ? start >> 1 : start / stride;
    return start == o * stride && o < windows_.output[dimension] ? o : -1;
  }

  // Rows of input, one behind the other over all planes. Lanes are the elements of a phase.
  void planes(std::int64_t begin, std::int64_t end) const {
    Scratch scratch;
    const Phases phases(windows_, scratch);
    const std::int64_t stride = phases.stride, width = windows_.input[2];
    const std::int64_t longest = width + phases.padding;  // of a phase
    ChosenRows<S> rows(args_, windows_.output[2], longest + phases.longest_shift, scratch);
    Candidates<T> over(windows_.kernel[0] * windows_.kernel[1], scratch), candidates(volume(windows_.kernel), scratch);
    T* const sums = stride == 1 ? nullptr : scratch.take<T>(width);
    const T** const parts = scratch.take<const T*>(stride);
    RowPlace place(windows_.input, begin);
    const auto make = [&](T* line, const T*) {
      collect(place, rows, over);
      T* next = stride == 1 ? line : sums;
      for (std::int64_t phase = 0; phase < stride; ++phase) {
        candidates.count = 0;
        const std::int64_t first = phases.begin[phase], count = phases.end[phase] - first;
        for (std::int64_t r = 0; r < over.count; ++r) {
          for (std::int64_t kw = windows_.kernel[2] - 1; kw >= 0; --kw) {
            if (phases.phase[kw] != phase) continue;
            const std::int64_t shift = first - phases.shift[kw];
            candidates.add(over.grad[r] + shift, over.tap[r] + shift, over.number[r] + static_cast<T>(kw));
          }
        }
        candidates.sum(count, next);
        parts[phase] = next;
        next += count;
      }
      if (stride > 1) phases.interleave(parts, line);
      place.next();
    };
    const std::int64_t bytes = args_.batch * args_.channels * volume(windows_.input) * std::int64_t(sizeof(S));
    write_rows<T>(static_cast<S*>(args_.grad_input), width, {begin, end}, bytes >= least_streamed, make,
                  [](std::int64_t, Vec<T> sums, int) { return sums; });
  }

  // The rows of windows that meet a row of the input, each with the number of its first tap there.
  NNZOO_INLINE void collect(const RowPlace& place, ChosenRows<S>& rows, Candidates<T>& over) const {
    over.count = 0;
    for_each_window(place, [&](std::int64_t kd, std::int64_t d, std::int64_t kh, std::int64_t h) {
      const auto chosen = rows.row(place.image, kd, d, h);
      over.add(chosen.grad, chosen.tap, static_cast<T>(flat_position(windows_.kernel, kd, kh, 0)));
    });
  }

  // Rows of input, one behind the other over all images. Lanes are the channels of a pixel.
  void channels(std::int64_t begin, std::int64_t end) const {
    Scratch scratch;
    const std::int64_t channels = args_.channels, width = windows_.input[2];
    ChosenRows<S> rows(args_, windows_.output[2] * channels, 0, scratch);
    Candidates<T> over(windows_.kernel[0] * windows_.kernel[1], scratch), candidates(volume(windows_.kernel), scratch);
    // The windows that meet a column: entries first[w] to first[w + 1] of `tap` and `at`.
    std::int64_t* const first = scratch.take<std::int64_t>(width + 1);
    std::int64_t* const tap = scratch.take<std::int64_t>(2 * width * windows_.kernel[2]);
    std::int64_t* const at = tap + width * windows_.kernel[2];
    std::int64_t entries = 0;
    for (std::int64_t w = 0; w < width; ++w) {
      first[w] = entries;
      for (std::int64_t kw = windows_.kernel[2] - 1; kw >= 0; --kw) {
        const std::int64_t o = window_of(2, w, kw);
        if (o < 0) continue;
        tap[entries] = kw;
        at[entries++] = o * channels;
      }
    }
    first[width] = entries;
    RowPlace place(windows_.input, begin);
    for (std::int64_t row = begin; row < end; ++row, place.next()) {
      collect(place, rows, over);
      for (std::int64_t w = 0; w < width; ++w) {
        candidates.count = 0;
        for (std::int64_t r = 0; r < over.count; ++r) {
          for (std::int64_t i = first[w]; i < first[w + 1]; ++i) {
            candidates.add(over.grad[r] + at[i], over.tap[r] + at[i], over.number[r] + static_cast<T>(tap[i]));
          }
        }
        candidates.sum(channels, static_cast<S*>(args_.grad_input) + (row * width + w) * channels);
      }
    }
  }

  const MaxPoolBackward& args_;
  const Windows& windows_;
};

// For kernels whose taps no byte can number: adds grad_output where the indices point, image by image, to zeros that
// are restored behind each.
template <class S>
void scatter(const MaxPoolBackward& args) {
  using T = Compute<S>;
  const std::int64_t channels = args.channels_last ? args.channels : 1;
  const std::int64_t images = args.channels_last ? args.batch : args.batch * args.channels;
  const std::int64_t count = volume(args.windows.output) * channels, size = volume(args.windows.input) * channels;
  const bool streamed = images * size * std::int64_t(sizeof(S)) >= least_streamed;
  parallel_for(images, args.threads, [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    T* const sums = scratch.take<T>(size);
    std::memset(sums, 0, static_cast<std::size_t>(size) * sizeof(T));
    for (std::int64_t image = begin; image < end; ++image) {
      const S* const grad = static_cast<const S*>(args.grad_output) + image * count;
      const std::int64_t* const indices = args.indices + image * count;
      const auto for_each_index = [&](const auto& chosen) {
        for (std::int64_t i = 0; i < count; i += channels) {
          for (std::int64_t c = 0; c < channels; ++c) chosen(sums[indices[i + c] * channels + c], grad[i + c]);
        }
      };
      for_each_index([](T& sum, S g) { sum += to_float(g); });
      write_vectors<T>(static_cast<S*>(args.grad_input) + image * size, size, streamed,
                       [&](std::int64_t i, int some) { return Vec<T>::load(sums + i, some); });
      for_each_index([](T& sum, S) { sum = T(0); });
    }
    if (streamed) stream_fence();
  });
}

}  // namespace

void max_pool_backward(const MaxPoolBackward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    if (args.offsets) {
      Gradient<S>(args).run();
    } else {
      scatter<S>(args);
    }
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
