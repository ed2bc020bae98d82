#include "common/bind.h"
#include "ops/edge_mlp/edge_mlp.h"
#include "ops/gather_scatter/groups_bind.h"

namespace nnzoo {
namespace {

// (p, q, weight, bias, out, best, hidden, outputs, activation, dtype, threads), as nnzoo_fast/ops/edge_mlp/cpu.py makes
// it.
using Arguments =
    std::tuple<Address, Address, Address, Address, Address, Address, std::int64_t, std::int64_t, int, int, int>;

EdgeMlp edge_mlp(const Groups& in, const Groups& out_of, const Arguments& arguments, bool* valid) {
  const auto& [p, q, weight, bias, out, best, hidden, outputs, activation, dtype, threads] = arguments;
  return {edge_groups(in),
          edge_groups(out_of),
          pointer<const void>(p),
          pointer<const void>(q),
          pointer<const void>(weight),
          pointer<const void>(bias),
          pointer<void>(out),
          pointer<std::uint32_t>(best),
          hidden,
          outputs,
          activation,
          static_cast<DType>(dtype),
          usable_threads(threads),
          valid};
}

bool maximum(const Groups& in, const Groups& out_of, const Arguments& arguments) {
  bool valid = false;
  const EdgeMlp args = edge_mlp(in, out_of, arguments, &valid);
  py::gil_scoped_release release;
  edge_mlp_max(args);
  return valid;
}

bool sum(const Groups& in, const Groups& out_of, const Arguments& arguments, bool mean) {
  bool valid = false;
  const EdgeMlpSum args{edge_mlp(in, out_of, arguments, &valid), mean};
  py::gil_scoped_release release;
  edge_mlp_sum(args);
  return valid;
}

template <void (*kernel)(const EdgeMlpGradients&)>
bool backward(const Groups& in, const Groups& out_of, const Arguments& arguments, Address grad, Address grad_p,
              Address grad_q, Address grad_weight, Address grad_bias) {
  bool valid = false;
  const EdgeMlpGradients args{edge_mlp(in, out_of, arguments, &valid),
                              pointer<const void>(grad),
                              pointer<void>(grad_p),
                              pointer<void>(grad_q),
                              pointer<void>(grad_weight),
                              pointer<void>(grad_bias)};
  py::gil_scoped_release release;
  kernel(args);
  return valid;
}

const Binder bind_edge_mlp([](py::module_& module) {
  module.def("edge_mlp_max", &maximum, "Whether the indices were valid, as the others here; see edge_mlp.h.");
  module.def("edge_mlp_sum", &sum);
  module.def("edge_mlp_max_backward", &backward<edge_mlp_max_backward>);
  module.def("edge_mlp_sum_backward", &backward<edge_mlp_sum_backward>);
});

}  // namespace
}  // namespace nnzoo
