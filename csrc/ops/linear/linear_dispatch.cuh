// From a product's run-time arguments to the template arguments of its kernels on tensor cores.
#pragma once

#include <stdexcept>
#include <type_traits>

#include "common/dtype.cuh"
#include "ops/linear/linear_cuda.h"

namespace nnzoo::cuda {

template <class Function>
void dispatch_bool(bool value, Function function) {
  if (value) return function(std::true_type());
  function(std::false_type());
}

// Calls function(T(), whether a's depth is the dimension of stride 1, the same of b).
template <class Function>
void dispatch_16_bit(const LinearProduct& args, Function function) {
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    if constexpr (sizeof(T) == 2) {
      dispatch_bool(args.a_depth == 1, [&](auto a_along_depth) {
        dispatch_bool(args.b_depth == 1, [&](auto b_along_depth) { function(T(), a_along_depth, b_along_depth); });
      });
    } else {
      throw std::invalid_argument("linear: this kernel multiplies bfloat16 and float16");
    }
  });
}

}  // namespace nnzoo::cuda
