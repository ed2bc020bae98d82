#include "common/activated_store.h"
#include "common/gemm_long_sum.h"
#include "common/reduce.h"
#include "ops/linear/linear.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S, class B>
void forward(const LinearForward& args, const B& weight) {
  using T = Compute<S>;
  const Activation activation = static_cast<Activation>(args.activation);
  const Strided<S> input{static_cast<const S*>(args.input), args.input_row_stride, 1};
  const S* const bias = static_cast<const S*>(args.bias);
  const Store<T, S> output{static_cast<S*>(args.output), args.N};
  const S* const residual = static_cast<const S*>(args.residual);
  if (activation == Activation::none && !residual) {
    gemm<Factor<S>>(args.M, args.N, args.K, input, weight, Store<T, S>{output.c, output.stride, false, bias},
                    args.threads);
  } else {
    const ActivatedStore<T, S> store{bias,       output,   static_cast<S*>(args.kept),
                                     activation, residual, args.residual_row_stride};
    gemm<Factor<S>>(args.M, args.N, args.K, input, weight, store, args.threads);
  }
}

template <class S, class G>
void backward_from(const LinearBackward& args, const G* grad, std::int64_t stride) {
  using T = Compute<S>;
  const std::int64_t M = args.M, N = args.N, K = args.K;
  if (args.grad_input) {
    const Strided<S> weight{static_cast<const S*>(args.weight), args.weight_col_stride, args.weight_row_stride};
    gemm<Factor<S>>(M, K, N, Strided<G>{grad, stride, 1}, weight, Store<T, S>{static_cast<S*>(args.grad_input), K},
                    args.threads);
  }
  if (args.grad_weight) {
    const Strided<S> input{static_cast<const S*>(args.input), 1, args.input_row_stride};
    gemm_long_sum<Factor<S>>(N, K, M, Strided<G>{grad, 1, stride}, input, static_cast<S*>(args.grad_weight),
                             args.threads);
  }
  if (args.grad_bias) column_sums<T>(M, N, grad, stride, static_cast<S*>(args.grad_bias), args.threads);
}

}  // namespace

void linear_forward(const LinearForward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    forward<S>(args, Strided<S>{static_cast<const S*>(args.weight), args.weight_row_stride, args.weight_col_stride});
  });
}

void linear_forward_packed(const LinearForward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    forward<S>(args, PackedB<Factor<S>>{static_cast<const Factor<S>*>(args.weight), args.K, args.N});
  });
}

void linear_backward(const LinearBackward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    using G = Element<Factor<S>>;
    const Activation activation = static_cast<Activation>(args.activation);
    if (activation == Activation::none) {
      backward_from<S>(args, static_cast<const S*>(args.grad_output), args.grad_row_stride);
    } else {
      Scratch scratch;
      G* const grad = scratch.take<G>(args.M * args.N);
      differentiate<Compute<S>>(activation, args.M, args.N, static_cast<const S*>(args.grad_output),
                                args.grad_row_stride, static_cast<const S*>(args.kept), grad, args.threads);
      backward_from<S>(args, grad, args.N);
    }
  });
}

void linear_activation_backward(const LinearActivationBackward& args) {
  const Activation activation = static_cast<Activation>(args.activation);
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    const S* const grad = static_cast<const S*>(args.grad_output);
    differentiate<Compute<S>>(activation, args.M, args.N, grad, args.N, static_cast<const S*>(args.kept),
                              static_cast<S*>(args.grad), args.threads);
  });
}

void linear_packed_size(const LinearPackedSize& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using F = Factor<typename decltype(tag)::Type>;
    *args.bytes = packed_size<F>(args.K, args.N) * static_cast<std::int64_t>(sizeof(F));
  });
}

void linear_pack(const LinearPack& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    using F = Factor<S>;
    const Strided<S> weight{static_cast<const S*>(args.weight), args.weight_row_stride, args.weight_col_stride};
    pack_b<F>(weight, args.K, args.N, static_cast<F*>(args.packed), args.threads);
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
