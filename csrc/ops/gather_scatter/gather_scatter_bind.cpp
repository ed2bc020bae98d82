#include <vector>

#include "ops/gather_scatter/groups_bind.h"

namespace nnzoo {
namespace {

std::vector<Reduce> reductions(const std::vector<int>& codes) {
  std::vector<Reduce> found;
  for (const int code : codes) found.push_back(static_cast<Reduce>(code));
  return found;
}

bool forward(const Groups& in, const Groups& out_of, Address x, Address weight, Address out,
             const std::vector<int>& reduces, std::int64_t features, std::int64_t x_stride, std::int64_t heads,
             int walk, int dtype, int threads) {
  const std::vector<Reduce> list = reductions(reduces);
  bool valid = false;
  const GatherScatterForward args{edge_groups(in),
                                  edge_groups(out_of),
                                  pointer<const void>(x),
                                  pointer<const void>(weight),
                                  pointer<void>(out),
                                  list.data(),
                                  static_cast<int>(list.size()),
                                  features,
                                  x_stride,
                                  heads,
                                  static_cast<Walk>(walk),
                                  static_cast<DType>(dtype),
                                  usable_threads(threads),
                                  &valid};
  py::gil_scoped_release release;
  args.walk < Walk::registers ? gather_scatter_forward_simple(args) : gather_scatter_forward(args);
  return valid;
}

bool backward(const Groups& in, const Groups& out_of, Address grad, Address x, Address weight, Address out,
              Address share, Address grad_x, Address grad_weight, const std::vector<int>& reduces,
              std::int64_t features, std::int64_t x_stride, std::int64_t heads, int dtype, int threads) {
  const std::vector<Reduce> list = reductions(reduces);
  bool valid = false;
  const GatherScatterBackward args{edge_groups(in),
                                   edge_groups(out_of),
                                   pointer<const void>(grad),
                                   pointer<const void>(x),
                                   pointer<const void>(weight),
                                   pointer<const void>(out),
                                   pointer<void>(share),
                                   pointer<void>(grad_x),
                                   pointer<void>(grad_weight),
                                   list.data(),
                                   static_cast<int>(list.size()),
                                   features,
                                   x_stride,
                                   heads,
                                   static_cast<DType>(dtype),
                                   usable_threads(threads),
                                   &valid};
  py::gil_scoped_release release;
  gather_scatter_backward(args);
  return valid;
}

std::int64_t group(Address key, Address other, Address start, Address node, Address edge, std::int64_t num_edges,
                   std::int64_t num_groups, std::int64_t num_nodes, int threads) {
  std::int64_t first_invalid = -1;
  const GroupEdges args{pointer<const std::int64_t>(key),
                        pointer<const std::int64_t>(other),
                        pointer<std::int32_t>(start),
                        pointer<std::int32_t>(node),
                        pointer<std::int32_t>(edge),
                        num_edges,
                        num_groups,
                        num_nodes,
                        usable_threads(threads),
                        &first_invalid};
  py::gil_scoped_release release;
  group_edges(args);
  return first_invalid;
}

const Binder bind_gather_scatter([](py::module_& module) {
  module.def("gather_scatter_forward", &forward, "Whether the indices were valid; see gather_scatter.h.");
  module.def("gather_scatter_backward", &backward, "Whether the indices were valid; see gather_scatter.h.");
  module.def("group_edges", &group, "The first invalid edge, or -1; see gather_scatter.h.");
});

}  // namespace
}  // namespace nnzoo
