#include <cstring>

#include "common/stream.h"
#include "ops/max_unpool/max_unpool.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

constexpr std::int64_t least_work = 1 << 14;

void report(std::int64_t* bad, std::int64_t position) {
  std::int64_t known = __atomic_load_n(bad, __ATOMIC_RELAXED);
  while ((known < 0 || position < known) &&
         !__atomic_compare_exchange_n(bad, &known, position, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

// A unit is a plane, or an image: nobody else writes there. image(i) returns whether all of its indices are in range.
template <class Image>
void for_each_image(const MaxUnpool& args, const Image& image) {
  const std::int64_t channels = args.channels_last ? args.channels : 1;
  const std::int64_t images = args.channels_last ? args.batch : args.batch * args.channels;
  parallel_for(
      images, args.threads,
      [&](std::int64_t begin, std::int64_t end) {
        while (begin < end && image(begin)) ++begin;
        stream_fence();
      },
      1 + least_work / (1 + (args.count + args.size) * channels));
}

// Calls pair(value, element) with the positions of each value and of the element of an image that its index names, in
// the order of the values. Stops at an index that is out of range.
template <class Pair>
bool for_each_pair(const MaxUnpool& args, std::int64_t image, const Pair& pair) {
  const std::int64_t channels = args.channels_last ? args.channels : 1;
  std::int64_t value = image * args.count * channels;
  for (std::int64_t i = 0; i < args.count; ++i) {
    for (std::int64_t c = 0; c < channels; ++c, ++value) {
      const std::int64_t index = args.indices[value];
      if (static_cast<std::uint64_t>(index) >= static_cast<std::uint64_t>(args.size)) {
        report(args.bad, value);
        return false;
      }
      pair(value, index * channels + c);
    }
  }
  return true;
}

// Large results are made in a plane of zeros that stays in the cache, and written past it.
template <class S>
class Unpooling {
  using T = Compute<S>;

 public:
  explicit Unpooling(const MaxUnpool& args)
      : args_(args),
        values_(static_cast<S*>(args.values)),
        planes_(static_cast<S*>(args.planes)),
        image_size_(args.size * (args.channels_last ? args.channels : 1)) {}

  void forward() const {
    const std::int64_t bytes = image_size_ * std::int64_t(sizeof(S));
    const std::int64_t images = args_.channels_last ? args_.batch : args_.batch * args_.channels;
    if (sizeof(S) != sizeof(T) || bytes > most_kept || images * bytes < least_streamed) {
      for_each_image(args_, [&](std::int64_t image) { return put(image, zeroed(planes_ + image * image_size_)); });
      return;
    }
    for_each_image(args_, [&](std::int64_t image) {
      Scratch scratch;
      S* const plane = zeroed(scratch.take<S>(image_size_));
      if (!put(image, plane)) return false;
      write_vectors<T>(planes_ + image * image_size_, image_size_, true,
                       [&](std::int64_t i, int some) { return Vec<T>::load(plane + i, some); });
      return true;
    });
  }

  void backward() const {
    for_each_image(args_, [&](std::int64_t image) {
      const S* const plane = planes_ + image * image_size_;
      return for_each_pair(args_, image,
                           [&](std::int64_t value, std::int64_t element) { values_[value] = plane[element]; });
    });
  }

 private:
  static constexpr std::int64_t most_kept = std::int64_t(1) << 18;

  S* zeroed(S* plane) const {
    std::memset(plane, 0, static_cast<std::size_t>(image_size_) * sizeof(S));
    return plane;
  }

  bool put(std::int64_t image, S* plane) const {
    return for_each_pair(args_, image,
                         [&](std::int64_t value, std::int64_t element) { plane[element] = values_[value]; });
  }

  const MaxUnpool& args_;
  S *const values_, *const planes_;
  const std::int64_t image_size_;
};

}  // namespace

void max_unpool_forward(const MaxUnpool& args) {
  dispatch_dtype(args.dtype, [&](auto tag) { Unpooling<typename decltype(tag)::Type>(args).forward(); });
}

void max_unpool_backward(const MaxUnpool& args) {
  dispatch_dtype(args.dtype, [&](auto tag) { Unpooling<typename decltype(tag)::Type>(args).backward(); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
