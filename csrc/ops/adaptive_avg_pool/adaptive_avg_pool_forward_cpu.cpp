#include "ops/adaptive_avg_pool/adaptive_avg_pool.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// Sums run in blocks of so many terms, whose sums are summed: rounding grows with the number of blocks, not of terms.
constexpr std::int64_t block_terms = 64;

// The sums of `count` vectors of `size` values, which begin at a `distance`: several streams at a time, far from each
// other, keep more lines on their way from memory than one does. A sum is the same beside others as on its own.
template <int count, class S, class T = Compute<S>>
void sums_of(const S* x, std::int64_t distance, std::int64_t size, T* sums) {
  constexpr std::int64_t width = Vec<T>::width;
  Vec<T> total[count];
  for (auto& sum : total) sum = Vec<T>::zero();
  std::int64_t i = 0;
  while (i + width <= size) {
    const std::int64_t end = size - i < block_terms * width ? size : i + block_terms * width;
    Vec<T> part[count];
    for (auto& sum : part) sum = Vec<T>::zero();
    for (; i + width <= end; i += width) {
      for (int c = 0; c < count; ++c) {
        prefetch(x + c * distance + i + 4 * width);
        part[c] += Vec<T>::load(x + c * distance + i);
      }
    }
    for (int c = 0; c < count; ++c) total[c] += part[c];
  }
  for (int c = 0; c < count; ++c) {
    if (i < size) total[c] += Vec<T>::load(x + c * distance + i, static_cast<int>(size - i));
    sums[c] = reduce_add(total[c]);
  }
}

template <class S>
class AdaptiveMean {
  using T = Compute<S>;

 public:
  explicit AdaptiveMean(const AdaptiveAvgPool& args)
      : windows_(args.windows), input_(static_cast<const S*>(args.from)), output_(static_cast<S*>(args.to)) {}

  void run() const {
    if (windows_.channels_last) {
      for_each_channel_block<T>(windows_, [&](auto&&... place) { sum_pixels(place...); });
      return;
    }
    const std::int64_t rows = images_of(windows_) * windows_.output[0] * windows_.output[1];
    const std::int64_t size = volume(windows_.input);
    parallel_for(
        rows, windows_.threads,
        [&](std::int64_t begin, std::int64_t end) {
          if (!is_global(windows_)) return sum_rows(begin, end);
          constexpr int streams = 8;
          const std::int64_t each = (end - begin) / streams;
          for (std::int64_t i = 0; i < each; ++i) mean_of_planes<streams>(begin + i, each, size);
          for (begin += streams * each; begin < end; ++begin) mean_of_planes<1>(begin, 0, size);
        },
        1 + least_adaptive_work / (1 + size / (windows_.output[0] * windows_.output[1])));
  }

 private:
  template <int count>
  void mean_of_planes(std::int64_t first, std::int64_t distance, std::int64_t size) const {
    T sums[count];
    sums_of<count>(input_ + first * size, distance * size, size, sums);
    for (int c = 0; c < count; ++c) output_[first + c * distance] = from_float<S>(sums[c] / static_cast<T>(size));
  }

  // Rows of output: the rows of a window are summed to one, of which the windows are parts.
  void sum_rows(std::int64_t begin, std::int64_t end) const {
    constexpr std::int64_t most = 16;
    Scratch scratch;
    const std::int64_t width = windows_.input[2];
    T* const sum = scratch.take<T>(width);
    RowPlace place(windows_.output, begin);
    for (std::int64_t row = begin; row < end; ++row, place.next()) {
      const S* const plane = input_ + place.image * volume(windows_.input);
      const S* rows[most];
      std::int64_t held = 0;
      bool first = true;
      const auto add = [&] {
        for_each_vector<T>(width, [&](std::int64_t i, int some) {
          Vec<T> part = Vec<T>::load(rows[0] + i, some);
          for (std::int64_t r = 1; r < held; ++r) part += Vec<T>::load(rows[r] + i, some);
          (first ? part : Vec<T>::load(sum + i, some) + part).store(sum + i, some);
        });
        first = false;
        held = 0;
      };
      const Box box(windows_, place.d, place.h, 0);
      for_each_row(box, [&](std::int64_t d, std::int64_t h) {
        rows[held++] = plane + flat_position(windows_.input, d, h, 0);
        if (held == most) add();
      });
      if (held) add();
      for (std::int64_t o = 0; o < windows_.output[2]; ++o) {
        const Range part = elements_of_window(windows_, 2, o);
        const std::int64_t count = length(part);
        T total = T(0);
        if (count > 2 * Vec<T>::width) {
          sums_of<1>(sum + part.begin, 0, count, &total);
        } else {
          for (std::int64_t i = part.begin; i < part.end; ++i) total += sum[i];
        }
        output_[row * windows_.output[2] + o] = from_float<S>(total / static_cast<T>(box.rows() * count));
      }
    }
  }

  template <int vectors>
  NNZOO_INLINE void sum_pixels(std::int64_t image, const Box& box, std::int64_t output, std::int64_t channel,
                               Vectors<vectors>, int lanes) const {
    const std::int64_t channels = windows_.channels;
    const S* const from = input_ + image * volume(windows_.input) * channels + channel;
    Vec<T> total[vectors], middle[vectors];  // a third level, since an image may have millions of pixels
    for (int v = 0; v < vectors; ++v) total[v] = middle[v] = Vec<T>::zero();
    std::int64_t parts = 0;
    for_each_row(box, [&](std::int64_t d, std::int64_t h) {
      const S* pixel = from + flat_position(windows_.input, d, h, box.w.begin) * channels;
      for (std::int64_t left = length(box.w); left > 0; left -= block_terms) {
        Vec<T> part[vectors];
        for (auto& sum : part) sum = Vec<T>::zero();
        for (std::int64_t i = left < block_terms ? left : block_terms; i > 0; --i, pixel += channels) {
          for (int v = 0; v < vectors; ++v) {
            part[v] += load_lanes<T>(pixel + v * Vec<T>::width, vectors == 1 ? lanes : Vec<T>::width);
          }
        }
        for (int v = 0; v < vectors; ++v) middle[v] += part[v];
        if (++parts % block_terms == 0) {
          for (int v = 0; v < vectors; ++v) {
            total[v] += middle[v];
            middle[v] = Vec<T>::zero();
          }
        }
      }
    });
    const Vec<T> count = Vec<T>::set(static_cast<T>(box.elements()));
    S* const to = output_ + output * channels + channel;
    for (int v = 0; v < vectors; ++v) {
      store_lanes((total[v] + middle[v]) / count, to + v * Vec<T>::width, vectors == 1 ? lanes : Vec<T>::width);
    }
  }

  const AdaptiveWindows& windows_;
  const S* const input_;
  S* const output_;
};

}  // namespace

void adaptive_avg_pool_forward(const AdaptiveAvgPool& args) {
  dispatch_dtype(args.dtype, [&](auto tag) { AdaptiveMean<typename decltype(tag)::Type>(args).run(); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
