// One loop for every reduction of edges into rows: forward, the shares of winners, the gradient of x.
//
// An `Op` says what is reduced. It has `kValues` running results for each of a pack's features, loads the rows of
// `kAhead` edges before it uses the first of them, and has
//     start(totals)                                   before the first edge
//     add(totals, row, edges, feature)                some edges, in their order
//     merge(totals, others)                           the results of two parts of a row
//     store(totals, row, feature, edges of the row)   after the last
//     weighted()                                      whether it wants the places of edges, to find their weights
//
// Rows come in two buckets. Most are reduced by a team of lanes. One with more than `hub_edges` edges is a hub, which a
// team would be at for long after all others have finished: hubs are cut into pieces, a block reduces each, and one
// more pass merges the pieces of each hub. Where hubs are is found on the device, from the rows' starts alone: a hub
// holds every `hub_edges`-th position of some interval, so block k looks for the row of position k * hub_edges. The
// order in which edges are added depends on nothing but the graph and the number of features.
#pragma once

#include "ops/gather_scatter/gather_scatter.cuh"

namespace nnzoo::cuda {

template <class A, int values, int width>
struct Totals {
  A of[values][width];
};

template <class Op>
using TotalsOf = Totals<typename Op::Sum, Op::kValues, Op::kWidth>;

struct Hubs {
  std::int64_t edges;  // the most edges of a row that is no hub, and the positions of a piece
  void* pieces;        // [number of intervals, 2, values, features]
};

// Adds the edges at positions first, first + stride, ... below `end`.
template <class Op>
__device__ void add_edges(const Op& op, TotalsOf<Op>& totals, const EdgeGroups& groups, std::int64_t row,
                          std::int64_t first, std::int64_t end, int stride, int feature) {
  std::int64_t k = first;
  for (; k + (Op::kAhead - 1) * stride < end; k += Op::kAhead * stride)
    op.add(totals, row, Edges<Op::kAhead>(groups, k, stride, op.weighted()), feature);
  for (; k < end; k += stride) op.add(totals, row, Edges<1>(groups, k, stride, op.weighted()), feature);
}

template <class Op>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    rows_kernel(EdgeGroups groups, Op op, int features, std::int64_t most_edges, Team team) {
  const std::int64_t row = team.in_grid();
  if (row >= groups.num_groups) return;
  const Span span = span_of(groups, row);
  if (span.size() > most_edges) return;
  for (int feature = team.lane() * Op::kWidth; feature < features; feature += team.lanes * Op::kWidth) {
    TotalsOf<Op> totals;
    op.start(totals);
    add_edges(op, totals, groups, row, span.begin, span.end, 1, feature);
    op.store(totals, row, feature, span.size());
  }
}

// The group that holds this position, found by the whole block: each round asks at as many starts as there are threads.
__device__ inline std::int64_t group_of(const EdgeGroups& groups, std::int64_t position) {
  std::int64_t low = 0;
  std::int64_t high = groups.num_groups;
  while (high - low > 1) {
    const std::int64_t step = ceil_div<std::int64_t>(high - low, blockDim.x);
    const std::int64_t asked = low + threadIdx.x * step;
    const int below = __syncthreads_count(asked < high && groups.start[asked] <= position);
    if (below == 0) __trap();
    low += (below - 1) * step;
    high = low + step < high ? low + step : high;
  }
  return low;
}

// Merges the totals of the block's teams, which each had a part of the edges of one row; team 0 gets the result.
template <class Op>
__device__ void merge_teams(const Op& op, TotalsOf<Op>& totals, Team team) {
  __shared__ typename Op::Sum shared[Op::kValues][Op::kWidth][kThreads];
  for (int teams = kThreads / team.lanes / 2; teams > 0; teams /= 2) {
    __syncthreads();
#pragma unroll
    for (int value = 0; value < Op::kValues; ++value) {
#pragma unroll
      for (int i = 0; i < Op::kWidth; ++i) shared[value][i][threadIdx.x] = totals.of[value][i];
    }
    __syncthreads();
    if (team.in_block() >= teams) continue;
    TotalsOf<Op> other;
#pragma unroll
    for (int value = 0; value < Op::kValues; ++value) {
#pragma unroll
      for (int i = 0; i < Op::kWidth; ++i) other.of[value][i] = shared[value][i][threadIdx.x + teams * team.lanes];
    }
    op.merge(totals, other);
  }
}

template <class Op>
__device__ typename Op::Sum* piece(const Hubs& hubs, std::int64_t slot, int value, int features) {
  return static_cast<typename Op::Sum*>(hubs.pieces) + (slot * Op::kValues + value) * features;
}

// Block k reduces what hubs hold of positions k * hubs.edges and on: the end of a hub that began before or right there
// goes to slot 2 k, the beginning of one that begins inside to slot 2 k + 1.
template <class Op>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    pieces_kernel(EdgeGroups groups, Op op, int features, Hubs hubs, Team team) {
  const std::int64_t first = blockIdx.x * hubs.edges;
  const std::int64_t last = (first + hubs.edges < groups.num_edges ? first + hubs.edges : groups.num_edges) - 1;
  const int feature = static_cast<int>(blockIdx.y * team.lanes + team.lane()) * Op::kWidth;
  std::int64_t done = -1;
  for (int part = 0; part < 2; ++part) {
    const std::int64_t row = group_of(groups, part == 0 ? first : last);
    const Span span = span_of(groups, row);
    if (row == done || span.size() <= hubs.edges) continue;
    done = row;
    const std::int64_t begin = span.begin > first ? span.begin : first;
    const std::int64_t end = span.end <= last ? span.end : last + 1;
    TotalsOf<Op> totals;
    op.start(totals);
    if (feature < features)
      add_edges(op, totals, groups, row, begin + team.in_block(), end, kThreads / team.lanes, feature);
    merge_teams(op, totals, team);
    if (team.in_block() > 0 || feature >= features) continue;
#pragma unroll
    for (int value = 0; value < Op::kValues; ++value) {
#pragma unroll
      for (int i = 0; i < Op::kWidth; ++i)
        piece<Op>(hubs, blockIdx.x * std::int64_t{2} + part, value, features)[feature + i] = totals.of[value][i];
    }
  }
}

// The hub that begins among the positions of block k is merged by it: a hub that begins there also holds the last one.
template <class Op>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    merge_kernel(EdgeGroups groups, Op op, int features, Hubs hubs, Team team) {
  const std::int64_t first = blockIdx.x * hubs.edges;
  const std::int64_t last = (first + hubs.edges < groups.num_edges ? first + hubs.edges : groups.num_edges) - 1;
  const std::int64_t row = group_of(groups, last);
  const Span span = span_of(groups, row);
  if (span.size() <= hubs.edges || span.begin < first) return;
  const int feature = static_cast<int>(blockIdx.y * team.lanes + team.lane()) * Op::kWidth;
  const std::int64_t end = (span.end - 1) / hubs.edges + 1;
  TotalsOf<Op> totals;
  op.start(totals);
  for (std::int64_t k = blockIdx.x + team.in_block(); k < end && feature < features; k += kThreads / team.lanes) {
    const std::int64_t slot = 2 * k + (span.begin > k * hubs.edges);
    TotalsOf<Op> other;
#pragma unroll
    for (int value = 0; value < Op::kValues; ++value) {
#pragma unroll
      for (int i = 0; i < Op::kWidth; ++i) other.of[value][i] = piece<Op>(hubs, slot, value, features)[feature + i];
    }
    op.merge(totals, other);
  }
  merge_teams(op, totals, team);
  if (team.in_block() == 0 && feature < features) op.store(totals, row, feature, span.size());
}

// Reduces all rows; without hubs if `hubs.edges` is 0.
template <class Op>
void reduce_rows(const EdgeGroups& groups, const Op& op, int features, const Hubs& hubs, void* stream) {
  const Team team = team_for(features, Op::kWidth);
  const bool split = hubs.edges > 0 && groups.num_edges > hubs.edges;
  const std::int64_t most = split ? hubs.edges : groups.num_edges;
  launch<rows_kernel<Op>>(blocks_for(groups.num_groups, team), kThreads, 0, stream, groups, op, features, most, team);
  if (!split) return;
  const dim3 grid(static_cast<unsigned>(ceil_div(groups.num_edges, hubs.edges)),
                  static_cast<unsigned>(ceil_div(features, team.lanes * Op::kWidth)));
  launch<pieces_kernel<Op>>(grid, kThreads, 0, stream, groups, op, features, hubs, team);
  launch<merge_kernel<Op>>(grid, kThreads, 0, stream, groups, op, features, hubs, team);
}

}  // namespace nnzoo::cuda
