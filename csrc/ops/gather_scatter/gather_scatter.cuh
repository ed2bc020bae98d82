// What the kernels of message passing share: a team of lanes per row, packs of features, weights and messages.
#pragma once

#include "common/dtype.cuh"
#include "common/launch.cuh"
#include "ops/gather_scatter/gather_scatter.h"

namespace nnzoo::cuda {

constexpr int kThreads = 256;
constexpr int kBlocksPerSm = 4;  // at most 64 registers a thread; left alone, ptxas spills to use fewer

// Neighbouring lanes that work on one row: as many as the row has packs of features, at most a warp. A lane then takes
// every `lanes`-th pack.
struct Team {
  int lanes;

  __device__ std::int64_t row() const {
    return (blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x) / lanes;
  }
  __device__ int lane() const { return static_cast<int>(threadIdx.x) % lanes; }

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

inline unsigned blocks_for(std::int64_t rows, Team team) {
  return static_cast<unsigned>(ceil_div<std::int64_t>(rows * team.lanes, kThreads));
}

// Weights [num_edges, heads]; a null `data` means that every weight is 1.
template <class T>
struct Weights {
  using A = Accumulator<T>;
  const T* data;
  std::int64_t heads;
  int span;  // features of a head

  __device__ A at(std::int32_t edge, int feature) const {
    if (!data) return A(1);
    return widen(data[edge * heads + (heads == 1 ? 0 : feature / span)]);
  }

  // The message as it would be stored: max and min compare these.
  __device__ A message(A x, std::int32_t edge, int feature) const {
    return data ? widen(narrow<T>(x * at(edge, feature))) : x;
  }
};

// Calls `visit(node, edge)` for the edges of a group, in their order.
template <class Visit>
__device__ void for_each_edge(const EdgeGroups& groups, std::int64_t group, Visit visit) {
  const std::int32_t begin = groups.start[group];
  const std::int32_t end = groups.start[group + 1];
  if (begin < 0 || end > groups.num_edges) __trap();
  for (std::int32_t k = begin; k < end; ++k) {
    const std::int32_t node = groups.node[k];
    const std::int32_t edge = groups.edge[k];
    if (static_cast<std::uint32_t>(node) >= groups.num_nodes || static_cast<std::uint32_t>(edge) >= groups.num_edges)
      __trap();
    visit(node, edge);
  }
}

template <class T, int width>
__device__ Pack<T, width> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, width>*>(from);
}

template <class T, int width>
__device__ void store_pack(T* to, const Pack<T, width>& pack) {
  *reinterpret_cast<Pack<T, width>*>(to) = pack;
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
