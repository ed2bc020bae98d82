// How the queries of a head are cut into tiles, and which keys a tile has to look at.
#pragma once

#include "common/gemm_blocking.h"
#include "common/scratch.h"
#include "ops/attention/attention.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Queries [first, first + count) of one sequence.
struct QueryTile {
  std::int64_t first;
  int count;
  std::int64_t diagonal;    // the key at the place of `first`
  std::int64_t begin, end;  // keys outside are hidden from all of its queries
};

// Tiles of up to `size` queries, none of which reaches over two sequences.
class QueryTiles {
 public:
  QueryTiles(const AttentionInputs& in, std::int64_t size, Scratch& scratch) : in_(in), size_(size) {
    count_ = ceil_div(in.queries, size);
    if (!in.query_starts) return;
    first_ = scratch.take<std::int64_t>(in.sequences + 1);
    first_[0] = 0;
    for (std::int64_t s = 0; s < in.sequences; ++s) {
      first_[s + 1] = first_[s] + ceil_div(in.query_starts[s + 1] - in.query_starts[s], size);
    }
    count_ = first_[in.sequences];
  }

  std::int64_t count() const { return count_; }

  QueryTile operator[](std::int64_t index) const {
    if (!first_) return tile(index * size_, 0, in_.queries, 0, in_.keys);
    std::int64_t low = 0, high = in_.sequences;  // first_[low] <= index < first_[high]
    while (high - low > 1) {
      const std::int64_t middle = (low + high) / 2;
      (first_[middle] <= index ? low : high) = middle;
    }
    const std::int64_t start = in_.query_starts[low];
    return tile(start + (index - first_[low]) * size_, start, in_.query_starts[low + 1], in_.key_starts[low],
                in_.key_starts[low + 1]);
  }

 private:
  // The tile at query `first` of the sequence with queries [start, stop) and keys [begin, end).
  QueryTile tile(std::int64_t first, std::int64_t start, std::int64_t stop, std::int64_t begin,
                 std::int64_t end) const {
    const std::int64_t count = stop - first < size_ ? stop - first : size_;
    const std::int64_t diagonal = begin + first - start + in_.query_offset;
    const std::int64_t earliest = diagonal - in_.before, latest = diagonal + count + in_.after;
    if (earliest > begin) begin = earliest;
    if (latest < end) end = latest;
    return {first, static_cast<int>(count), diagonal, begin, end < begin ? begin : end};
  }

  const AttentionInputs& in_;
  std::int64_t size_, count_;
  std::int64_t* first_ = nullptr;  // [sequences + 1]: the first tile of each sequence
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
