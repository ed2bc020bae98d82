#include <cstring>

#include "common/parallel.h"
#include "ops/embedding_bag/embedding_bag.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// Features at a time, in plain arrays that the compiler keeps in vectors.
constexpr std::int64_t tile = 64;
constexpr std::int64_t least_values = 1 << 13;

NNZOO_INLINE int lanes_from(std::int64_t begin, std::int64_t features) {
  return static_cast<int>(features - begin < tile ? features - begin : tile);
}

template <class S>
void largest_of_bag(const EmbeddingBagMaxForward& args, std::int64_t bag, std::int64_t begin) {
  using T = Compute<S>;
  const int lanes = lanes_from(begin, args.features);
  const std::int32_t first = args.start[bag], last = args.start[bag + 1];
  T best[tile] = {};
  std::int32_t place[tile];
  for (int f = 0; f < lanes; ++f) place[f] = first < last ? first : -1;
  for (std::int32_t k = first; k < last; ++k) {
    const S* const row = static_cast<const S*>(args.weight) + args.indices[k] * args.weight_stride + begin;
    for (int f = 0; f < lanes; ++f) {
      const T value = to_float(row[f]);
      const bool takes = k == first || value > best[f];
      best[f] = takes ? value : best[f];
      place[f] = takes ? k : place[f];
    }
  }
  const std::int64_t at = bag * args.features + begin;
  for (int f = 0; f < lanes; ++f) static_cast<S*>(args.out)[at + f] = from_float<S>(best[f]);
  if (args.place) std::memcpy(args.place + at, place, lanes * sizeof(std::int32_t));
}

template <class S>
void gradient_of_row(const EmbeddingBagMaxBackward& args, std::int64_t row, std::int64_t begin) {
  using T = Compute<S>;
  const int lanes = lanes_from(begin, args.features);
  T sum[tile] = {};
  for (std::int32_t k = args.row_start[row]; k < args.row_start[row + 1]; ++k) {
    const std::int64_t at = args.bag[k] * args.features + begin;
    const S* const grad = static_cast<const S*>(args.grad_out) + at;
    const std::int32_t* const place = args.place + at;
    const std::int32_t here = args.order[k];
    for (int f = 0; f < lanes; ++f) sum[f] += place[f] == here ? T(to_float(grad[f])) : T(0);
  }
  S* const out = static_cast<S*>(args.grad_weight) + row * args.features + begin;
  for (int f = 0; f < lanes; ++f) out[f] = from_float<S>(sum[f]);
}

}  // namespace

void embedding_bag_max_forward(const EmbeddingBagMaxForward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    parallel_for(
        args.bags, args.threads,
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t bag = begin; bag < end; ++bag) {
            for (std::int64_t f = 0; f < args.features; f += tile) {
              largest_of_bag<typename decltype(tag)::Type>(args, bag, f);
            }
          }
        },
        1 + least_values / (args.features + 1));
  });
}

void embedding_bag_max_backward(const EmbeddingBagMaxBackward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    parallel_for(
        args.rows, args.threads,
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t row = begin; row < end; ++row) {
            for (std::int64_t f = 0; f < args.features; f += tile) {
              gradient_of_row<typename decltype(tag)::Type>(args, row, f);
            }
          }
        },
        1 + least_values / (args.features + 1));
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
