// Functions of one number in float and double under one name.
#pragma once

#include "cuemu/cuda.h"

namespace nnzoo {

__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }
__device__ inline float logarithm(float x) { return logf(x); }
__device__ inline double logarithm(double x) { return log(x); }
__device__ inline float error_function(float x) { return erff(x); }
__device__ inline double error_function(double x) { return erf(x); }
__device__ inline float hyperbolic_tangent(float x) { return tanhf(x); }
__device__ inline double hyperbolic_tangent(double x) { return tanh(x); }

template <class A>
__device__ A logistic(A x) {
  return A(1) / (A(1) + exponential(-x));
}

}  // namespace nnzoo
