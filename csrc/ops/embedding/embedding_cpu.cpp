#include <cstring>

#include "common/elementwise.h"
#include "common/stream.h"
#include "ops/embedding/embedding.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

constexpr std::int64_t kBytesPerThread = 1 << 16;

// Each element of the gradient is written once, runs of rows that nobody asked for as zeros.
template <class S>
class Backward {
 public:
  using T = Compute<S>;

  explicit Backward(const EmbeddingBackward& args)
      : args_(args),
        grad_(static_cast<const S*>(args.grad)),
        out_(static_cast<S*>(args.grad_weight)),
        streams_(args.rows * args.features * static_cast<std::int64_t>(sizeof(S)) >= streamed_bytes),
        streams_rows_(streams_ && rows_are_lines()) {}

  void run() const {
    const std::int64_t bytes = args_.features * static_cast<std::int64_t>(sizeof(S));
    // Blocks of rows: the table's size says little about where the work is.
    const std::int64_t per_block = 1 + (std::int64_t(1) << 21) / (bytes + 1);
    const std::int64_t blocks = (args_.rows + per_block - 1) / per_block;
    parallel_for_dynamic(blocks, args_.threads, [&](std::int64_t block) {
      const std::int64_t begin = block * per_block, end = begin + per_block;
      write_rows(begin, end < args_.rows ? end : args_.rows);
      store_fence();
    });
  }

 private:
  bool rows_are_lines() const {
    constexpr std::uintptr_t line = 64;
    return reinterpret_cast<std::uintptr_t>(out_) % line == 0 && args_.features * sizeof(S) % line == 0;
  }

  void write_rows(std::int64_t begin, std::int64_t end) const {
    std::int64_t zeros = begin;
    for (std::int64_t row = begin; row < end; ++row) {
      if (args_.start[row] == args_.start[row + 1] || row == args_.padding) continue;
      fill_zeros(zeros, row);
      streams_rows_ ? add_up<true>(row) : add_up<false>(row);
      zeros = row + 1;
    }
    fill_zeros(zeros, end);
  }

  void fill_zeros(std::int64_t begin, std::int64_t end) const {
    if (begin < end) {
      clear(out_ + begin * args_.features, (end - begin) * args_.features);
    }
  }

  // A large gradient streams: no line of it is read before it is overwritten.
  void clear(S* out, std::int64_t count) const {
    std::int64_t i = 0;
    if (streams_) {
      constexpr std::int64_t bytes = Vec<T>::width * sizeof(S);
      const std::int64_t ahead = -reinterpret_cast<std::intptr_t>(out) & (bytes - 1);
      i = ahead / static_cast<std::int64_t>(sizeof(S)) < count ? ahead / static_cast<std::int64_t>(sizeof(S)) : count;
      std::memset(static_cast<void*>(out), 0, i * sizeof(S));
      for (; i + Vec<T>::width <= count; i += Vec<T>::width) Vec<T>::zero().stream(out + i);
    }
    std::memset(static_cast<void*>(out + i), 0, (count - i) * sizeof(S));
  }

  template <bool past>
  void add_up(std::int64_t row) const {
    const std::int32_t first = args_.start[row], last = args_.start[row + 1];
    if (last + 8 < args_.start[args_.rows]) prefetch(grad_ + args_.order[last + 8] * args_.features);
    const Vec<T> part = Vec<T>::set(args_.by_frequency ? T(1) / T(last - first) : T(1));
    for_each_vector<T>(args_.features, [&](std::int64_t f, int count) {
      Vec<T> sum = Vec<T>::load(grad_ + args_.order[first] * args_.features + f, count);
      for (std::int32_t k = first + 1; k < last; ++k) {
        sum += Vec<T>::load(grad_ + args_.order[k] * args_.features + f, count);
      }
      store_result<past>(sum * part, out_ + row * args_.features + f, count);
    });
  }

  const EmbeddingBackward& args_;
  const S* grad_;
  S* out_;
  const bool streams_, streams_rows_;
};

}  // namespace

void embedding_forward(const EmbeddingForward& args) {
  const std::int64_t bytes = args.features * args.element_size, stride = args.weight_stride * args.element_size;
  const char* const weight = static_cast<const char*>(args.weight);
  char* const out = static_cast<char*>(args.out);
  *args.first_invalid = -1;
  for (std::int64_t i = 0; i < args.count; ++i) {
    if (static_cast<std::uint64_t>(args.indices[i]) >= static_cast<std::uint64_t>(args.rows)) {
      *args.first_invalid = i;
      return;
    }
  }
  parallel_for(
      args.count, args.threads,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          std::memcpy(out + i * bytes, weight + args.indices[i] * stride, bytes);
        }
      },
      1 + kBytesPerThread / (bytes + 1));
}

void embedding_backward(const EmbeddingBackward& args) {
  dispatch_dtype(args.dtype, [&](auto type) { Backward<typename decltype(type)::Type>(args).run(); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
