#include "common/bind.h"

#include <pthread.h>

#include <atomic>
#include <vector>

namespace nnzoo {
namespace {

// A function's static: binders of other files run before this file's own globals are ready.
std::vector<Binder::Function>& binders() {
  static std::vector<Binder::Function> functions;
  return functions;
}

std::atomic<bool> in_forked_child{false};

[[maybe_unused]] const int watch_fork = pthread_atfork(nullptr, nullptr, [] { in_forked_child = true; });

}  // namespace

Binder::Binder(Function function) { binders().push_back(function); }

void bind_all(py::module_& module) {
  for (const Binder::Function bind : binders()) bind(module);
}

int usable_threads(int requested) {
  return in_forked_child.load(std::memory_order_relaxed) || requested < 1 ? 1 : requested;
}

}  // namespace nnzoo
