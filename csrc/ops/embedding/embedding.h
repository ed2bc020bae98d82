// Rows of a table by number, and the gradient of the table.
//
// Determinism: the gradients of a row are added up in the order of the numbers that ask for it, in float for float32
// and bfloat16 and in double for float64, and rounded once, whatever the number of threads.
#pragma once

#include <cstdint>

#include "common/kernel.h"

namespace nnzoo {

struct EmbeddingForward {
  const void* weight;           // [rows, features]
  const std::int64_t* indices;  // [count]
  void* out;                    // [count, features]
  std::int64_t rows, features, count, weight_stride;
  std::int64_t element_size;  // bytes of an element: rows are copied as they are
  int threads;
  std::int64_t* first_invalid;  // the first index out of range, -1 if there is none; its row is then unspecified
};
NNZOO_KERNEL(embedding_forward, EmbeddingForward)

// grad_weight[r] = sum of grad[order[k]] over the k from start[r] to start[r + 1]; divided by their number if
// `by_frequency`; 0 for the row `padding`.
struct EmbeddingBackward {
  const std::int32_t* start;  // [rows + 1]
  const std::int32_t* order;  // [count] the places in `indices` that ask for each row, as group_edges sorts them
  const void* grad;           // [count, features], dense
  void* grad_weight;          // [rows, features], dense
  std::int64_t rows, features, padding;
  bool by_frequency;
  DType dtype;
  int threads;
};
NNZOO_KERNEL(embedding_backward, EmbeddingBackward)

}  // namespace nnzoo
