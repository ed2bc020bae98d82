// The largest of each feature over the rows of a table in a bag, and the gradient of the table.
//
//   weight       [rows, features]  rows `weight_stride` apart
//   start        [bags + 1]        where in `indices` each bag begins, rising
//   indices      [count]           rows, checked by the caller
//   out          [bags, features]  0 for an empty bag
//   place        [bags, features]  where in `indices` the value comes from: the first of equal ones, -1 in an empty bag
//
// Values are float32, bfloat16 or float64. As in torch a value replaces another only if it is greater: NaN stays if it
// comes first in its bag, and is passed over later.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

struct EmbeddingBagMaxForward {
  const void* weight;
  const std::int32_t* start;
  const std::int32_t* indices;
  void* out;
  std::int32_t* place;  // null: not wanted
  std::int64_t bags, features, weight_stride;
  DType dtype;
  int threads;
};

// grad_weight[r] = the sum of grad_out[bag[order[k]]] over the k from row_start[r] to row_start[r + 1], of each feature
// that comes from the place order[k]. Each element is written once, sums run in the order of the places.
struct EmbeddingBagMaxBackward {
  const std::int32_t* row_start;  // [rows + 1]
  const std::int32_t* bag;        // [count] the bag of order[k]
  const std::int32_t* order;      // [count]
  const std::int32_t* place;
  const void* grad_out;  // [bags, features]
  void* grad_weight;     // [rows, features], dense
  std::int64_t rows, features;
  DType dtype;
  int threads;
};

NNZOO_KERNEL(embedding_bag_max_forward, EmbeddingBagMaxForward)
NNZOO_KERNEL(embedding_bag_max_backward, EmbeddingBagMaxBackward)

}  // namespace nnzoo
