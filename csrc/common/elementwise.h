// Loops that write each element of an output once.
#pragma once

#include "common/parallel.h"
#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Outputs of this many bytes would push everything else out of the caches, and be gone themselves before anyone reads
// them: they stream past, which also saves reading the lines that are about to be overwritten.
constexpr std::int64_t streamed_bytes = std::int64_t(1) << 25;

// output[i] = value(i, count) for vectors of neighbours i..i + count, `count` being the vector's width but at the end.
template <class S, class Value>
NNZOO_INLINE void write_each(std::int64_t n, S* output, int threads, const Value& value) {
  using T = Compute<S>;
  constexpr int width = Vec<T>::width;
  constexpr std::int64_t block = 2048, blocks_per_thread = 2;
  const bool aligned = reinterpret_cast<std::uintptr_t>(output) % (width * sizeof(S)) == 0;
  const bool streams = aligned && n * static_cast<std::int64_t>(sizeof(S)) >= streamed_bytes;
  parallel_for((n + block - 1) / block, threads,
               [&](std::int64_t begin, std::int64_t end) {
                 const std::int64_t last = end * block < n ? end * block : n;
                 std::int64_t i = begin * block;
                 if (streams) {
                   for (; i + width <= last; i += width) value(i, width).stream(output + i);
                   store_fence();
                 } else {
                   for (; i + width <= last; i += width) value(i, width).store(output + i);
                 }
                 if (i < last) {
                   const int count = static_cast<int>(last - i);
                   value(i, count).store(output + i, count);
                 }
               },
               blocks_per_thread);
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
