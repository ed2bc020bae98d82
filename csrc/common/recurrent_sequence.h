// What recurrent forward and backward share: where a step's rows lie, and how calls are cut.
#pragma once

#include "common/recurrent.h"
#include "common/scratch.h"
#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

// The rows of every step. Steps are numbered in time; `step_at(s)` is the s-th one in running order.
class Sequence {
 public:
  Sequence(const RecurrentShape& shape, bool reverse, Scratch& scratch)
      : shape_(shape), reverse_(reverse), offsets_(scratch.take<std::int64_t>(shape.steps + 1)) {
    offsets_[0] = 0;
    for (std::int64_t t = 0; t < shape.steps; ++t) offsets_[t + 1] = offsets_[t] + size(t);
  }

  std::int64_t size(std::int64_t t) const { return shape_.batch_sizes ? shape_.batch_sizes[t] : shape_.batch; }
  std::int64_t first_row(std::int64_t t) const { return offsets_[t]; }
  std::int64_t step_at(std::int64_t s) const { return reverse_ ? shape_.steps - 1 - s : s; }

  // The rows of the steps s..end in running order: they lie together.
  struct Rows {
    std::int64_t begin, count;
  };
  Rows rows(std::int64_t s, std::int64_t end) const {
    const std::int64_t first = step_at(reverse_ ? end - 1 : s), last = step_at(reverse_ ? s : end - 1);
    return {offsets_[first], offsets_[last + 1] - offsets_[first]};
  }

  // Where a chunk of about `wanted` rows that begins with step s ends; at least one step.
  std::int64_t chunk_end(std::int64_t s, std::int64_t wanted) const {
    std::int64_t end = s + 1;
    while (end < shape_.steps && rows(s, end + 1).count <= wanted) ++end;
    return end;
  }

  // Where one that ends before step `end` begins.
  std::int64_t chunk_begin(std::int64_t end, std::int64_t wanted) const {
    std::int64_t s = end - 1;
    while (s > 0 && rows(s - 1, end).count <= wanted) --s;
    return s;
  }

 private:
  const RecurrentShape& shape_;
  const bool reverse_;
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

}  // namespace NNZOO_ISA
}  // namespace nnzoo
