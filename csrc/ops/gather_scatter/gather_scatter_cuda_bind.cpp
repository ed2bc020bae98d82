#include <pybind11/stl.h>

#include <tuple>
#include <vector>

#include "common/bind.h"
#include "ops/gather_scatter/gather_scatter_cuda.h"

namespace nnzoo {
namespace {

// (start, node, edge, num_groups, num_nodes, num_edges), as `edge_groups` in nnzoo_fast/ops/gather_scatter/cpu.py makes
// it.
using Groups = std::tuple<Address, Address, Address, std::int64_t, std::int64_t, std::int64_t>;

EdgeGroups edge_groups(const Groups& groups) {
  const auto& [start, node, edge, num_groups, num_nodes, num_edges] = groups;
  return {pointer<const std::int32_t>(start),
          pointer<const std::int32_t>(node),
          pointer<const std::int32_t>(edge),
          num_groups,
          num_nodes,
          num_edges};
}

// (packed, hub_edges, pieces)
using RungOf = std::tuple<bool, std::int64_t, Address>;

cuda::Rung rung_of(const RungOf& rung) {
  const auto& [packed, hub_edges, pieces] = rung;
  return {packed, hub_edges, pointer<void>(pieces)};
}

std::vector<Reduce> reductions(const std::vector<int>& codes) {
  std::vector<Reduce> found;
  for (const int code : codes) found.push_back(static_cast<Reduce>(code));
  return found;
}

void forward(const Groups& in, Address x, Address weight, Address out, const std::vector<int>& reduces,
             std::int64_t features, std::int64_t x_stride, std::int64_t heads, int dtype, const RungOf& rung,
             Address stream) {
  const std::vector<Reduce> list = reductions(reduces);
  GatherScatterForward args{};
  args.in = edge_groups(in);
  args.x = pointer<const void>(x);
  args.weight = pointer<const void>(weight);
  args.out = pointer<void>(out);
  args.reduces = list.data();
  args.num_reduces = static_cast<int>(list.size());
  args.features = features;
  args.x_stride = x_stride;
  args.heads = heads;
  args.dtype = static_cast<DType>(dtype);
  py::gil_scoped_release release;
  cuda::gather_scatter_forward(args, rung_of(rung), pointer<void>(stream));
}

void backward(const Groups& in, const Groups& out_of, Address grad, Address x, Address weight, Address out,
              Address share, Address grad_x, Address grad_weight, const std::vector<int>& reduces,
              std::int64_t features, std::int64_t x_stride, std::int64_t heads, int dtype, const RungOf& rung,
              Address stream) {
  const std::vector<Reduce> list = reductions(reduces);
  GatherScatterBackward args{};
  args.in = edge_groups(in);
  args.out_of = edge_groups(out_of);
  args.grad = pointer<const void>(grad);
  args.x = pointer<const void>(x);
  args.weight = pointer<const void>(weight);
  args.out = pointer<const void>(out);
  args.share = pointer<void>(share);
  args.grad_x = pointer<void>(grad_x);
  args.grad_weight = pointer<void>(grad_weight);
  args.reduces = list.data();
  args.num_reduces = static_cast<int>(list.size());
  args.features = features;
  args.x_stride = x_stride;
  args.heads = heads;
  args.dtype = static_cast<DType>(dtype);
  py::gil_scoped_release release;
  cuda::gather_scatter_backward(args, rung_of(rung), pointer<void>(stream));
}

const Binder bind_gather_scatter_cuda([](py::module_& module) {
  module.def("gather_scatter_forward", &forward);
  module.def("gather_scatter_backward", &backward);
});

}  // namespace
}  // namespace nnzoo
