// What forward and backward share: where a step's rows lie, and how calls are cut.
#pragma once

#include "common/scratch.h"
#include "common/simd.h"
#include "ops/lstm/lstm.h"

namespace nnzoo {
namespace NNZOO_ISA {

// The rows of every step. Steps are numbered in time; `step_at(s)` is the s-th one in running order.
class Sequence {
 public:
  Sequence(const LstmShape& shape, Scratch& scratch)
      : shape_(shape), offsets_(scratch.take<std::int64_t>(shape.steps + 1)) {
    offsets_[0] = 0;
    for (std::int64_t t = 0; t < shape.steps; ++t) offsets_[t + 1] = offsets_[t] + size(t);
  }

  std::int64_t size(std::int64_t t) const { return shape_.batch_sizes ? shape_.batch_sizes[t] : shape_.batch; }
  std::int64_t first_row(std::int64_t t) const { return offsets_[t]; }
  std::int64_t step_at(std::int64_t s) const { return shape_.reverse ? shape_.steps - 1 - s : s; }

  // The rows of the steps s..end in running order: they lie together.
  struct Rows {
    std::int64_t begin, count;
  };
  Rows rows(std::int64_t s, std::int64_t end) const {
    const std::int64_t first = step_at(shape_.reverse ? end - 1 : s), last = step_at(shape_.reverse ? s : end - 1);
    return {offsets_[first], offsets_[last + 1] - offsets_[first]};
  }

  // Where a chunk of about `wanted` rows that begins with step s ends; at least one step.
  std::int64_t chunk_end(std::int64_t s, std::int64_t wanted) const {
    std::int64_t end = s + 1;
    while (end < shape_.steps && rows(s, end + 1).count <= wanted) ++end;
    return end;
  }

 private:
  const LstmShape& shape_;
  std::int64_t* const offsets_;
};

// Runs `vector(i, count)` over the lanes first..last.
template <class T, class Function>
NNZOO_INLINE void for_each_vector_of(std::int64_t first, std::int64_t last, const Function& vector) {
  for_each_vector<T>(last - first, [&](std::int64_t i, int count) { vector(first + i, count); });
}

// Elements from one row of `columns` to the next, where rows are whole factors F.
template <class F>
std::int64_t row_stride(std::int64_t columns) {
  return factors<F>(columns) * values_per_factor<F>;
}

// to[i] = from[i], converted; zeros if `from` is null.
template <class From, class To>
void convert(const From* from, To* to, std::int64_t count) {
  using T = Compute<To>;
  for_each_vector<T>(
      count, [&](std::int64_t i, int n) { (from ? Vec<T>::load(from + i, n) : Vec<T>::zero()).store(to + i, n); });
}

// convert() for `rows` rows of which each begins a new factor F: behind an odd row of bfloat16 lies a zero.
template <class F, class From>
void convert_rows(const From* from, Element<F>* to, std::int64_t rows, std::int64_t columns) {
  const std::int64_t stride = row_stride<F>(columns);
  for (std::int64_t row = 0; row < rows; ++row, to += stride) {
    convert(from ? from + row * columns : nullptr, to, columns);
    for (std::int64_t j = columns; j < stride; ++j) to[j] = Element<F>{};
  }
}

// Threads for the steps of one direction: a barrier ends each, so a thread must have enough work between two of them.
inline int step_threads(const LstmShape& shape, std::int64_t units) {
  const std::int64_t products = shape.rows / shape.steps * 4 * shape.hidden * shape.out();
  const std::int64_t least = 1 << 15;
  const std::int64_t worth = products / least;
  const std::int64_t most = units < worth ? units : worth;
  return most < shape.threads ? static_cast<int>(most < 1 ? 1 : most) : shape.threads;
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
