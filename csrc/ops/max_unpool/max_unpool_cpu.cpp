#include <cstring>

#include "common/dtype.h"
#include "common/parallel.h"
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

// Calls pair(value, element) with the positions of each value and of the element of `planes` that its index names,
// image by image, in the order of the values; before(image) comes first. A unit is a plane, or an image: nobody else
// writes there.
template <class Before, class Pair>
void for_each_pair(const MaxUnpool& args, const Before& before, const Pair& pair) {
  const std::int64_t channels = args.channels_last ? args.channels : 1;
  const std::int64_t images = args.channels_last ? args.batch : args.batch * args.channels;
  parallel_for(
      images, args.threads,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t image = begin; image < end; ++image) {
          before(image);
          std::int64_t value = image * args.count * channels;
          for (std::int64_t i = 0; i < args.count; ++i) {
            for (std::int64_t c = 0; c < channels; ++c, ++value) {
              const std::int64_t index = args.indices[value];
              if (static_cast<std::uint64_t>(index) >= static_cast<std::uint64_t>(args.size)) {
                return report(args.bad, value);
              }
              pair(value, (image * args.size + index) * channels + c);
            }
          }
        }
      },
      1 + least_work / (1 + (args.count + args.size) * channels));
}

}  // namespace

void max_unpool_forward(const MaxUnpool& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    const S* const values = static_cast<const S*>(args.values);
    S* const planes = static_cast<S*>(args.planes);
    const std::int64_t image_size = args.size * (args.channels_last ? args.channels : 1);
    for_each_pair(
        args,
        [&](std::int64_t image) {
          std::memset(planes + image * image_size, 0, static_cast<std::size_t>(image_size) * sizeof(S));
        },
        [&](std::int64_t value, std::int64_t element) { planes[element] = values[value]; });
  });
}

void max_unpool_backward(const MaxUnpool& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    S* const values = static_cast<S*>(args.values);
    const S* const planes = static_cast<const S*>(args.planes);
    for_each_pair(
        args, [](std::int64_t) {}, [&](std::int64_t value, std::int64_t element) { values[value] = planes[element]; });
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
