// What a core asks of memory while it computes. The rows of a head are read once and its output is written once, so a
// core that waits for each of them loses more time than their bytes take: with 128 keys a third of it.
#pragma once

#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Rows that will be read or written soon, fetched a few at a time into the second-level cache.
template <class S>
class Ahead {
 public:
  void add(const S* rows, std::int64_t stride, std::int64_t count, std::int64_t size) {
    places_[used_++] = {rows, stride, count, size};
  }

  NNZOO_INLINE void fetch() {
    for (int i = 0; i < used_; ++i) {
      Rows& rows = places_[i];
      for (int step = 0; step < rows_a_time && rows.count > 0; ++step, --rows.count, rows.data += rows.stride) {
        for (std::int64_t j = 0; j < rows.size; j += line) prefetch_to_level2(rows.data + j);
      }
    }
  }

 private:
  static constexpr int most = 6, rows_a_time = 8, line = 64 / sizeof(S);
  struct Rows {
    const S* data;
    std::int64_t stride, count, size;
  };
  Rows places_[most];
  int used_ = 0;
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
