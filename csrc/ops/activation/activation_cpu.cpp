#include "common/elementwise.h"
#include "ops/activation/activation.h"
#include "ops/activation/functions.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S, class Function>
void forward(const ActivationForward& args, const Function& function) {
  using T = Compute<S>;
  const S* const input = static_cast<const S*>(args.input);
  write_each(args.count, static_cast<S*>(args.output), args.threads,
             [&](std::int64_t i, int count) { return function.value(load_lanes<T>(input + i, count)); });
}

template <class S, class Function>
void backward(const ActivationBackward& args, const Function& function) {
  using T = Compute<S>;
  const S* const grad = static_cast<const S*>(args.grad_output);
  const S* const kept = static_cast<const S*>(args.kept);
  write_each(args.count, static_cast<S*>(args.grad_input), args.threads, [&](std::int64_t i, int count) {
    return function.gradient(load_lanes<T>(grad + i, count), load_lanes<T>(kept + i, count));
  });
}

}  // namespace

void activation_forward(const ActivationForward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    with_function(args.function, args.parameters,
                  [&](const auto& function) { forward<typename decltype(tag)::Type>(args, function); });
  });
}

void activation_backward(const ActivationBackward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    with_function(args.function, args.parameters,
                  [&](const auto& function) { backward<typename decltype(tag)::Type>(args, function); });
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
