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
// a * b + c with one rounding, in every kernel alike.
__device__ inline float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
__device__ inline double multiply_add(double a, double b, double c) { return fma(a, b, c); }

template <class A>
__device__ A logistic(A x) {
  return A(1) / (A(1) + exponential(-x));
}

// A function and its derivative, as accurate where the function saturates as elsewhere; s (1 - s) and 1 - t^2 are not.
template <class A>
struct Differentiated {
  A value;
  A derivative;
};

template <class A>
__device__ Differentiated<A> differentiated_logistic(A x) {
  const A small = exponential(x < A(0) ? x : -x);
  const A high = A(1) / (A(1) + small);
  const A low = small * high;
  return {x < A(0) ? low : high, low * high};
}

template <class A>
__device__ Differentiated<A> differentiated_tanh(A x) {
  return {hyperbolic_tangent(x), A(4) * differentiated_logistic(x + x).derivative};
}

}  // namespace nnzoo
