// The k nearest of the points x for each of the points y, in groups that don't see each other.
//
// What is near: the Euclidean distance, or 1 - <x, y> / (|x| |y|), which is 1 where a vector is zero. Distances are
// computed in double from differences of coordinates (each group scaled by a power of two, so that nothing overflows),
// and neighbours are ordered by them, then by index. A product of matrices only finds candidates: no point whose
// distance could be among the k least is passed over, whatever the product's rounding.
//
// Who initialises what: the kernel writes every element of index and distance. Nothing overlaps. The result does not
// depend on the number of threads.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

struct Knn {
  const void* x;                // [num_x, dim], dense
  const void* y;                // [num_y, dim], dense
  const std::int64_t* start_x;  // [num_groups + 1] group g holds rows start[g] .. start[g + 1], from 0 to num_x
  const std::int64_t* start_y;  // [num_groups + 1] the same of y
  std::int64_t* index;          // [num_y, k] rows of x, nearest first; -1 behind the last
  void* distance;               // [num_y, k]; infinity behind the last
  std::int64_t num_x, num_y, dim, num_groups, k;
  double radius;   // neighbours are no further away than this
  bool cosine;     // the second kind of distance
  bool skip_same;  // row i of x is no neighbour of row i of y
  DType dtype;     // of x, y and distance
  int threads;
  std::int64_t* first_invalid;  // -1; where a coordinate isn't finite its row of x, or num_x plus its row of y: outputs
                                // are unspecified then
};
NNZOO_KERNEL(knn, Knn)

}  // namespace nnzoo
