// What a block of queries has found so far: for each a short list of points, cut to the best when it is full.
#pragma once

#include "common/mask_bits.h"
#include "ops/knn/products.h"

namespace nnzoo {
namespace NNZOO_ISA {

struct Neighbour {
  double distance, value;  // exact, and as the product has it
  std::int32_t point;

  NNZOO_INLINE bool operator<(const Neighbour& other) const {
    return distance < other.distance || (distance == other.distance && point < other.point);
  }
};

// The first `count` of a list that `sift` has made a heap, its last on top.
inline void sift(Neighbour* heap, std::int64_t root, std::int64_t count) {
  const Neighbour moved = heap[root];
  for (std::int64_t child = 2 * root + 1; child < count; child = 2 * root + 1) {
    if (child + 1 < count && heap[child] < heap[child + 1]) ++child;
    if (!(moved < heap[child])) break;
    heap[root] = heap[child];
    root = child;
  }
  heap[root] = moved;
}

// By insertion where the list is short.
inline void sort(Neighbour* list, std::int64_t count) {
  if (count <= 48) {
    for (std::int64_t i = 1; i < count; ++i) {
      const Neighbour moved = list[i];
      std::int64_t place = i;
      for (; place > 0 && moved < list[place - 1]; --place) list[place] = list[place - 1];
      list[place] = moved;
    }
    return;
  }
  for (std::int64_t root = count / 2; root-- > 0;) sift(list, root, count);
  for (std::int64_t last = count; last-- > 1;) {
    const Neighbour top = list[0];
    list[0] = list[last];
    list[last] = top;
    sift(list, 0, last);
  }
}

template <class T>
std::int64_t count_up_to(const T* values, std::int64_t count, T limit) {
  std::int64_t found = 0;
  for_each_vector<T>(count, [&](std::int64_t i, int lanes) {
    const Mask<T> below = load_lanes<T>(values + i, lanes) <= Vec<T>::set(limit);
    found += __builtin_popcount(mask_bits(below) & ((1u << lanes) - 1u));
  });
  return found;
}

// A limit that at least `wanted` of the values don't exceed, and not many more: halving the range of the values, which
// takes some vectors a step, mostly finds one; where these lie too unevenly, sorting does.
template <class T>
T limit_for(const T* values, std::int64_t count, std::int64_t wanted, T* workspace) {
  Vec<T> least = Vec<T>::set(values[0]), most = least;
  for_each_vector<T>(count, [&](std::int64_t i, int lanes) {
    const Vec<T> value = load_lanes<T>(values + i, lanes);
    const Vec<T> inside = lanes == Vec<T>::width ? value : select(first_lanes<T>(lanes), value, least);
    least = min(least, inside);
    most = max(most, inside);
  });
  T low = reduce_min(least), high = reduce_max(most);
  for (int step = 0; step < 16; ++step) {
    const T middle = low + (high - low) / 2;
    const std::int64_t found = count_up_to(values, count, middle);
    if (found >= wanted && found <= wanted + wanted / 4 + 2) return middle;
    (found < wanted ? low : high) = middle;
  }
  for (std::int64_t i = 0; i < count; ++i) workspace[i] = values[i];
  return value_at(workspace, count, wanted - 1);
}

// Distances in double, of one group's points as the caller gave them.
template <class S>
struct Exact {
  const S *x, *y;  // row 0 of the group's x, and of all of y
  std::int64_t dim;
  double scale;
  bool cosine;

  // Squared and scaled where it isn't cosine. Sums run in eight parts, which compilers turn into vectors.
  double operator()(std::int64_t point, std::int64_t query) const {
    constexpr int parts = 8;
    const S *const a = x + point * dim, *const b = y + query * dim;
    double sum[parts] = {}, in_a[parts] = {}, in_b[parts] = {};
    const auto add = [&](std::int64_t d, int i) {
      const double p = scale * static_cast<double>(to_float(a[d])), q = scale * static_cast<double>(to_float(b[d]));
      if (cosine) {
        sum[i] += p * q;
        in_a[i] += p * p;
        in_b[i] += q * q;
      } else {
        sum[i] += (p - q) * (p - q);
      }
    };
    std::int64_t d = 0;
    for (; d + parts <= dim; d += parts) {
      for (int i = 0; i < parts; ++i) add(d + i, i);
    }
    for (int i = 0; d < dim; ++d, ++i) add(d, i);
    const auto total = [](const double* s) {
      return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
    };
    if (!cosine) return total(sum);
    const double lengths = __builtin_sqrt(total(in_a)) * __builtin_sqrt(total(in_b));
    return lengths > 0 ? 1 - total(sum) / lengths : 1;
  }

  void fetch(std::int64_t point) const {
    constexpr std::int64_t line = 64 / std::int64_t(sizeof(S)), most = 8 * line;
    for (std::int64_t d = 0; d < dim && d < most; d += line) prefetch(x + point * dim + d);
  }

  double final(double distance) const { return cosine ? distance : __builtin_sqrt(distance) / scale; }
};

template <class S>
class Candidates {
 public:
  using T = Compute<S>;

  // Queries first .. first + rows of a group whose x begins with row `offset`. `low` are those of the group's points,
  // as are `square`, beside those of all queries.
  Candidates(const Knn& args, const Exact<S>& exact, const T* low, const T* square, const T* query_square,
             Rounding<T> rounding, std::int64_t offset, std::int64_t first, std::int64_t rows, Scratch& scratch)
      : args_(args),
        exact_(exact),
        low_(low),
        square_(square),
        query_square_(query_square),
        rounding_(rounding),
        offset_(offset),
        first_(first),
        room_(room(args.k)),
        bound_(scratch.take<T>(rows)),
        count_(scratch.take<std::int32_t>(rows)),
        value_(scratch.take<T>(rows * room_)),
        point_(scratch.take<std::int32_t>(rows * room_)),
        upper_(scratch.take<T>(room_)),
        sorted_(scratch.take<T>(room_)),
        list_(scratch.take<Neighbour>(room_)) {
    for (std::int64_t row = 0; row < rows; ++row) {
      count_[row] = 0;
      bound_[row] = T(__builtin_inf());
    }
  }

  void limit(std::int64_t row, double bound) { bound_[row] = static_cast<T>(bound); }

  // A query's list. A long one is seldom cut, but while it fills its bound is an old one, and lets more points in.
  static std::int64_t room(std::int64_t k) { return 3 * k + 16; }

  // The epilogue of the product: columns are points, and what is added makes it a distance but for a constant of the
  // row.
  static constexpr bool from_registers = true;
  Partial<T> partial() const { return {nullptr, 0}; }
  NNZOO_INLINE void operator()(std::int64_t row, std::int64_t column, int lanes, Vec<T> product) const {
    const Vec<T> value = product + load_lanes<T>(low_ + column, lanes);
    const Mask<T> near = value <= Vec<T>::set(bound_[row]);
    if (any(near)) take(row, column, mask_bits(near) & ((1u << lanes) - 1u), value);
  }

  // How often a list was too full of points that are too much alike.
  std::int64_t settled() const { return settled_; }

  // Writes the query's neighbours.
  void finish(std::int64_t row) const {
    const std::int64_t query = first_ + row, k = args_.k;
    if (count_[row] > k) cut(row);
    const std::int64_t count = settle(row);
    S* const distance = static_cast<S*>(args_.distance) + query * k;
    std::int64_t* const index = args_.index + query * k;
    std::int64_t i = 0;
    for (; i < count && i < k; ++i) {
      const double found = exact_.final(list_[i].distance);
      if (!(found <= args_.radius)) break;
      index[i] = offset_ + list_[i].point;
      distance[i] = from_float<S>(found);
    }
    for (; i < k; ++i) {
      index[i] = -1;
      distance[i] = from_float<S>(__builtin_inf());
    }
  }

 private:
  __attribute__((noinline)) void take(std::int64_t row, std::int64_t column, std::uint32_t bits, Vec<T> value) const {
    T lanes[Vec<T>::width];
    value.store(lanes);
    for_each_bit(bits, [&](int lane) {
      const std::int64_t point = column + lane;
      if ((args_.skip_same && offset_ + point == first_ + row) || !(lanes[lane] <= bound_[row])) return;
      const std::int64_t place = row * room_ + count_[row]++;
      value_[place] = lanes[lane];
      point_[place] = static_cast<std::int32_t>(point);
      if (count_[row] == room_) cut(row);
    });
  }

  // Drops what can't be among the k nearest, k points being nearer even if all distances are off by as much as they can
  // be. Where so many are alike that this frees little, distances are settled.
  void cut(std::int64_t row) const {
    T* const value = value_ + row * room_;
    std::int32_t* const point = point_ + row * room_;
    const std::int32_t count = count_[row];
    for (std::int32_t i = 0; i < count; ++i) upper_[i] = value[i] + 2 * rounding_.error(square_[point[i]]);
    const T limit = limit_for(upper_, count, args_.k, sorted_) + 2 * rounding_.error(query_square_[first_ + row]);
    bound_[row] = limit < bound_[row] ? limit : bound_[row];
    std::int32_t kept = 0;
    for (std::int32_t i = 0; i < count; ++i) {
      value[kept] = value[i];
      point[kept] = point[i];
      kept += value[i] <= bound_[row];
    }
    count_[row] = kept;
    if (kept <= room_ / 4 * 3) return;
    ++settled_;
    settle(row);
    count_[row] = static_cast<std::int32_t>(args_.k);
    for (std::int64_t i = 0; i < args_.k; ++i) {
      value[i] = static_cast<T>(list_[i].value);
      point[i] = list_[i].point;
    }
  }

  // The row's list, settled and sorted, in `list_`. Returns its length.
  std::int64_t settle(std::int64_t row) const {
    const std::int64_t count = count_[row];
    for (std::int64_t i = 0; i < count; ++i) exact_.fetch(point_[row * room_ + i]);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t place = row * room_ + i;
      list_[i] = {exact_(point_[place], first_ + row), static_cast<double>(value_[place]), point_[place]};
    }
    sort(list_, count);
    return count;
  }

  const Knn& args_;
  const Exact<S>& exact_;
  const T *low_, *square_, *query_square_;
  Rounding<T> rounding_;
  std::int64_t offset_, first_, room_;
  mutable std::int64_t settled_ = 0;
  T* bound_;  // [rows] what is above it is no candidate
  std::int32_t* count_;
  T* value_;
  std::int32_t* point_;
  T *upper_, *sorted_;
  Neighbour* list_;
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
