// Rows [heads, channels] cut into vectors, in two ways: where something is added up for each head, into vectors that no
// two heads share; where each head has a factor, into full vectors, each lane of which picks the factor of its head.
#pragma once

#include "common/pick.h"
#include "common/scratch.h"

namespace nnzoo {
namespace NNZOO_ISA {

struct Column {
  std::int64_t feature, head;
  int lanes;
  bool ends_head;
};

template <class T>
struct Columns {
  const Column* list;
  std::int64_t count;

  static Columns make(std::int64_t heads, std::int64_t channels, Scratch& scratch) {
    constexpr int width = Vec<T>::width;
    const std::int64_t each = (channels + width - 1) / width;
    Column* list = scratch.take<Column>(heads * each);
    for (std::int64_t i = 0; i < heads * each; ++i) {
      const std::int64_t head = i / each, first = i % each * width;
      const std::int64_t left = channels - first;
      list[i] = {head * channels + first, head, static_cast<int>(left < width ? left : width), left <= width};
    }
    return {list, heads * each};
  }
};

template <class T, class S>
NNZOO_INLINE Vec<T> at(const S* row, const Column& column) {
  return Vec<T>::load(row + column.feature, column.lanes);
}

// sums[h] = the sum of `product(column)` over the lanes of head h's columns.
template <class T, class Product>
NNZOO_INLINE void head_sums(const Columns<T>& columns, T* sums, const Product& product) {
  Vec<T> sum = Vec<T>::zero();
  for (std::int64_t i = 0; i < columns.count; ++i) {
    const Column& column = columns.list[i];
    sum += product(column);
    if (column.ends_head) {
      sums[column.head] = reduce_add(sum);
      sum = Vec<T>::zero();
    }
  }
}

// A vector of a row: lane l belongs to the head `head + place[l]`.
template <class T>
struct Spread {
  std::int64_t feature, head;
  int lanes;
  std::int32_t place[Vec<T>::width];

  // Of factors of each head, with a vector's width of readable memory behind the last.
  NNZOO_INLINE Vec<T> factors(const T* of_heads) const { return pick(of_heads + head, place); }
};

template <class T>
struct Spreads {
  const Spread<T>* list;
  std::int64_t count;

  static Spreads make(std::int64_t heads, std::int64_t channels, Scratch& scratch) {
    constexpr int width = Vec<T>::width;
    const std::int64_t features = heads * channels, count = (features + width - 1) / width;
    Spread<T>* list = scratch.take<Spread<T>>(count);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t first = i * width, left = features - first;
      Spread<T>& spread = list[i];
      spread.lanes = static_cast<int>(left < width ? left : width);
      const std::int64_t last_head = (first + spread.lanes - 1) / channels;
      const std::int64_t aligned = first / channels / width * width;  // then the factors are read from whole lines
      spread.feature = first;
      spread.head = last_head - aligned < width ? aligned : first / channels;
      for (int l = 0; l < width; ++l) {
        const std::int64_t head = l < spread.lanes ? (first + l) / channels : last_head;
        spread.place[l] = static_cast<std::int32_t>(head - spread.head);
      }
    }
    return {list, count};
  }
};

// What add_rows adds to: for each of `sets` sets, factors [edges, lanes] with a vector's width of memory behind them,
// and sums of the row's features in whole vectors.
template <int sets, class T>
struct RowSums {
  const T* factors[sets];
  T* sums[sets];
};

template <int n, int sets, class T, class S>
NNZOO_INLINE void add_spreads(const Spread<T>* spreads, const S* const* rows, std::int64_t lanes, int edges,
                              const RowSums<sets, T>& into) {
  Vec<T> sum[sets][n];
  for (int set = 0; set < sets; ++set) {
#pragma GCC unroll 4
    for (int i = 0; i < n; ++i) sum[set][i] = Vec<T>::load(into.sums[set] + spreads[i].feature);
  }
  for (int e = 0; e < edges; ++e) {
#pragma GCC unroll 4
    for (int i = 0; i < n; ++i) {
      const S* const p = rows[e] + spreads[i].feature;
      const Vec<T> row = n > 1 ? Vec<T>::load(p) : load_lanes<T>(p, spreads[i].lanes);
#pragma GCC unroll 2
      for (int set = 0; set < sets; ++set) {
        sum[set][i] = fma(spreads[i].factors(into.factors[set] + e * lanes), row, sum[set][i]);
      }
    }
  }
  for (int set = 0; set < sets; ++set) {
#pragma GCC unroll 4
    for (int i = 0; i < n; ++i) sum[set][i].store(into.sums[set] + spreads[i].feature);
  }
}

// sums[set][f] += sum over the edges e of factors[set][e][head of f] * rows[e][f], edges in order.
template <int sets, class T, class S>
void add_rows(const Spreads<T>& spreads, const S* const* rows, std::int64_t lanes, int edges,
              const RowSums<sets, T>& into) {
  std::int64_t i = 0;
  for (; i + 4 < spreads.count; i += 4) add_spreads<4>(spreads.list + i, rows, lanes, edges, into);
  const bool whole = spreads.list[spreads.count - 1].lanes == Vec<T>::width;
  if (whole && i + 4 == spreads.count) return add_spreads<4>(spreads.list + i, rows, lanes, edges, into);
  for (; i < spreads.count; ++i) add_spreads<1>(spreads.list + i, rows, lanes, edges, into);
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
