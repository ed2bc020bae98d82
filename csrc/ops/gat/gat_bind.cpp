#include "common/bind.h"
#include "ops/gat/gat.h"
#include "ops/gather_scatter/groups_bind.h"

namespace nnzoo {
namespace {

// (x, source, target, edge, att, heads, channels, slope, probability, seed, dtype, threads), as
// nnzoo_fast/ops/gat/kernel.py makes it.
using Layer = std::tuple<Address, Address, Address, Address, Address, std::int64_t, std::int64_t, double, double,
                         std::int64_t, int, int>;

Gat gat(const Groups& in, const Groups& out_of, const Layer& layer, bool* valid) {
  const auto& [x, source, target, edge, att, heads, channels, slope, probability, seed, dtype, threads] = layer;
  return {edge_groups(in),
          edge_groups(out_of),
          pointer<const void>(x),
          pointer<const void>(source),
          pointer<const void>(target),
          pointer<const void>(edge),
          pointer<const void>(att),
          heads,
          channels,
          slope,
          probability,
          seed,
          static_cast<DType>(dtype),
          usable_threads(threads),
          valid};
}

bool forward(const Groups& in, const Groups& out_of, const Layer& layer, Address out, Address normal,
             Address positive) {
  bool valid = false;
  const GatForward args{gat(in, out_of, layer, &valid), pointer<void>(out), pointer<void>(normal),
                        pointer<void>(positive)};
  py::gil_scoped_release release;
  gat_forward(args);
  return valid;
}

bool backward(const Groups& in, const Groups& out_of, const Layer& layer, Address grad, Address out, Address normal,
              Address positive, Address packed, Address grad_score, Address grad_x, Address grad_source,
              Address grad_target, Address grad_edge, Address grad_att) {
  bool valid = false;
  const GatBackward args{gat(in, out_of, layer, &valid), pointer<const void>(grad),     pointer<const void>(out),
                         pointer<const void>(normal),    pointer<const void>(positive), pointer<void>(packed),
                         pointer<void>(grad_score),      pointer<void>(grad_x),         pointer<void>(grad_source),
                         pointer<void>(grad_target),     pointer<void>(grad_edge),      pointer<void>(grad_att)};
  py::gil_scoped_release release;
  args.gat.att ? gatv2_backward(args) : gat_backward(args);
  return valid;
}

const Binder bind_gat([](py::module_& module) {
  module.def("gat_forward", &forward, "Whether the indices were valid; see gat.h.");
  module.def("gat_backward", &backward, "Whether the indices were valid; see gat.h.");
});

}  // namespace
}  // namespace nnzoo
