// What the kernels of message passing share: a team of lanes per row, packs of features, weights and messages.
#pragma once

#include "common/dtype.cuh"
#include "common/launch.cuh"
#include "ops/gather_scatter/gather_scatter.h"

namespace nnzoo::cuda {

constexpr int kThreads = 256;
constexpr int kBlocksPerSm = 3;  // at most 80 registers a thread; left alone, ptxas spills to use fewer

// Neighbouring lanes that work on one row: as many as the row has packs of features, at most a warp. A lane then takes
// every `lanes`-th pack.
struct Team {
  int lanes;

  __device__ int lane() const { return static_cast<int>(threadIdx.x) % lanes; }
  // Of this team, within its block and within the grid.
  __device__ int in_block() const { return static_cast<int>(threadIdx.x) / lanes; }
  __device__ std::int64_t in_grid() const {
    return (blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x) / lanes;
  }

  // Adds up over the team; its lanes must be here together, other teams of the warp need not.
  template <class A>
  __device__ A sum(A value) const {
    const unsigned first = threadIdx.x % 32 / lanes * lanes;
    const unsigned mask = (lanes == 32 ? 0xffffffffu : (1u << lanes) - 1) << first;
    for (int offset = lanes / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(mask, value, offset);
    return value;
  }
};

inline Team team_for(std::int64_t features, int width) {
  int lanes = 1;
  while (lanes < 32 && lanes * width < features) lanes *= 2;
  return {lanes};
}

inline unsigned blocks_for(std::int64_t teams, Team team) {
  return static_cast<unsigned>(ceil_div<std::int64_t>(teams * team.lanes, kThreads));
}

template <class T, int width>
__device__ Pack<T, width> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, width>*>(from);
}

template <class T, int width>
__device__ void store_pack(T* to, const Pack<T, width>& pack) {
  *reinterpret_cast<Pack<T, width>*>(to) = pack;
}

// Weights [num_edges, heads]; a null `data` means that every weight is 1. All features of a pack have the same head.
template <class T>
struct Weights {
  using A = Accumulator<T>;
  const T* data;
  std::int64_t heads;
  int span;  // features of a head

  __device__ std::int64_t head(int feature) const { return heads == 1 ? 0 : feature / span; }
  __device__ A at(std::int32_t edge, std::int64_t head) const { return data ? widen(data[edge * heads + head]) : A(1); }

  // The message as it would be stored: max and min compare these.
  __device__ A message(A x, A weight) const { return data ? widen(narrow<T>(x * weight)) : x; }
};

// `count` edges of a group, from position `first` on. An index out of range traps.
template <int count>
struct Edges {
  std::int32_t node[count];
  std::int32_t edge[count];

  // `stride` positions lie between two of them. Where no edge has a weight, `edge` is not read.
  __device__ Edges(const EdgeGroups& groups, std::int64_t first, int stride, bool weighted) {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      node[i] = groups.node[first + i * stride];
      edge[i] = weighted ? groups.edge[first + i * stride] : 0;
    }
#pragma unroll
    for (int i = 0; i < count; ++i) {
      if (static_cast<std::uint32_t>(node[i]) >= groups.num_nodes ||
          static_cast<std::uint32_t>(edge[i]) >= groups.num_edges)
        __trap();
    }
  }
};

// The positions of a group's edges.
struct Span {
  std::int64_t begin, end;
  __device__ std::int64_t size() const { return end - begin; }
};

__device__ inline Span span_of(const EdgeGroups& groups, std::int64_t group) {
  const Span span{groups.start[group], groups.start[group + 1]};
  if (span.begin < 0 || span.end > groups.num_edges) __trap();
  return span;
}

// Whether rows of `features` elements, `stride` apart, can be read in packs of 16 bytes.
template <class T>
bool is_packed(const void* data, std::int64_t features, std::int64_t stride) {
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && features % kPackSize<T> == 0 && stride % kPackSize<T> == 0;
}

// Calls `run(element, width)` with an object of the element type and, as a type, the number of elements per access.
template <int width>
struct Width {
  static constexpr int value = width;
};
template <class T, class Run>
void dispatch_width(bool packed, Run run) {
  if (packed)
    run(Width<kPackSize<T>>());
  else
    run(Width<1>());
}

}  // namespace nnzoo::cuda
