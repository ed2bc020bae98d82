// What the rewritten form of a stranger's file refers to (nnzoo_fast/cuemu/rewrite.py): launches, dynamic shared
// memory, and the entry that the command line calls a kernel by. No standard-library code here: the checker would take
// it for the kernel's.
#pragma once

#include <type_traits>
#include <utility>

#include "cuemu/command/parameter.h"
#include "cuemu/host_types.h"
#include "cuemu/launch.h"

namespace cuemu::command {

// What stands between `<<<` and `>>>`.
struct Shape {
  Shape(dim3 grid_, dim3 block_, std::size_t shared_bytes_ = 0, cudaStream_t = nullptr)
      : grid(grid_), block(block_), shared_bytes(shared_bytes_) {}
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes;
};

// The line that a launch which can't be is blamed on.
void launches_from(Site site);

// Throws std::invalid_argument for more dynamic shared memory than a kernel gets unasked (cudaFuncSetAttribute). Null:
// it is not known which kernel.
void check_shared_bytes(const char* name, const void* kernel, std::size_t bytes);

// `__cluster_dims__` of the file's kernels, by name.
struct ClusterDims {
  const char* kernel;
  dim3 size;
};
struct Clusters {
  Clusters(const ClusterDims* first, int count);
};
// {1, 1, 1} for most kernels. Template arguments and namespaces in front of the name don't matter.
dim3 cluster_of(const char* name);

// `f<<<shape>>>(a, b)` is `Launch("f", shape, &f)([&](auto... p) { f(p...); })(a, b)`: so f may be a template whose
// arguments follow from a and b; then its address is null.
class Launch {
 public:
  Launch(const char* name, const Shape& shape, const void* kernel = nullptr, Site site = Site::here())
      : name_(name), shape_(shape), kernel_(kernel), site_(site) {}

  template <class Kernel>
  auto operator()(Kernel kernel) const {
    return [=](auto... arguments) {
      launches_from(site_);
      check_shared_bytes(name_, kernel_, shape_.shared_bytes);
      cuemu::launch(name_, LaunchShape{shape_.grid, shape_.block, shape_.shared_bytes, cluster_of(name_)}, kernel,
                    arguments...);
    };
  }

 private:
  const char* name_;
  Shape shape_;
  const void* kernel_;
  Site site_;
};

// `extern __shared__ T name[]` is `T (&name)[] = DynamicShared()`.
struct DynamicShared {
  template <class T>
  CUEMU_UNCHECKED operator T&() const {
    return *reinterpret_cast<T*>(dynamic_shared_memory());
  }
};

// Checks the command line's arguments against the kernel's parameters and copies arrays to where the kernel finds them.
// Ends the process with a message where they don't fit. `signature` is the kernel's as it stands in the file.
void prepare(const char* signature, const Parameter* parameters, int count);
const Shape& requested_shape();
// Argument `index` as a value of the parameter's type.
void fill(int index, const Parameter& parameter, void* value);

template <class T>
CUEMU_UNCHECKED T argument(int index) {
  alignas(T) unsigned char value[sizeof(T)];
  fill(index, describe<T>(), value);
  return *reinterpret_cast<T*>(value);
}

template <class... T, std::size_t... index>
CUEMU_UNCHECKED void call(const char* name, const char* signature, void (*kernel)(T...),
                          std::index_sequence<index...>) {
  static_assert((std::is_trivially_copyable_v<T> && ...), "the command line passes pointers and numbers only");
  const Parameter parameters[] = {describe<T>()..., Parameter{}};
  prepare(signature, parameters, sizeof...(T));
  const Shape& shape = requested_shape();
  cuemu::launch(name, LaunchShape{shape.grid, shape.block, shape.shared_bytes, cluster_of(name)}, kernel,
                argument<T>(static_cast<int>(index))...);
}

template <class... T>
void call(const char* name, const char* signature, void (*kernel)(T...)) {
  call(name, signature, kernel, std::index_sequence_for<T...>{});
}

// The entries of the generated `main`: one kernel, or the file's own main function.
int run_kernel(void (*call)());
int run_program(int (*program)(), int, char**);
int run_program(int (*program)(int, char**), int count, char** words);
int run_program(int (*program)(int, const char**), int count, char** words);

}  // namespace cuemu::command
