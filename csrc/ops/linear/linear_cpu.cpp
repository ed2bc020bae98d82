#include "common/activation.h"
#include "common/gemm.h"
#include "common/reduce.h"
#include "ops/linear/linear.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class T, class S>
struct ActivationEpilogue {
  static constexpr bool from_registers = false;
  const S* bias;
  Store<T, S> output;
  S* preactivation;
  Activation activation;

  Partial<T> partial() const { return output.partial(); }
  NNZOO_INLINE void operator()(std::int64_t row, std::int64_t column, int count, Vec<T> sum) const {
    const Vec<T> x = bias ? sum + Vec<T>::load(bias + column, count) : sum;
    if (preactivation) x.store(preactivation + row * output.stride + column, count);
    output(row, column, count, activate(activation, x));
  }
};

template <class S, class B>
void forward(const LinearForward& args, const B& weight) {
  using T = Compute<S>;
  const Activation activation = static_cast<Activation>(args.activation);
  const Strided<S> input{static_cast<const S*>(args.input), args.input_row_stride, 1};
  const S* const bias = static_cast<const S*>(args.bias);
  const Store<T, S> output{static_cast<S*>(args.output), args.N};
  if (activation == Activation::none) {
    gemm<Factor<S>>(args.M, args.N, args.K, input, weight, Store<T, S>{output.c, output.stride, false, bias},
                    args.threads);
  } else {
    S* const kept = needs_preactivation(activation) ? static_cast<S*>(args.preactivation) : nullptr;
    gemm<Factor<S>>(args.M, args.N, args.K, input, weight, ActivationEpilogue<T, S>{bias, output, kept, activation},
                    args.threads);
  }
}

// grad = grad_output * activation'(.), [M, N] contiguous.
template <class S, class G>
void differentiate_activation(const LinearBackward& args, G* grad) {
  using T = Compute<S>;
  const Activation activation = static_cast<Activation>(args.activation);
  const S* const at = static_cast<const S*>(needs_preactivation(activation) ? args.preactivation : args.output);
  const S* const grad_output = static_cast<const S*>(args.grad_output);
  parallel_for(args.M, args.threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t start = row * args.N;
      for_each_vector<T>(args.N, [&](std::int64_t column, int count) {
        const Vec<T> derivative = activation_derivative(activation, Vec<T>::load(at + start + column, count));
        const Vec<T> g = Vec<T>::load(grad_output + row * args.grad_row_stride + column, count);
        (g * derivative).store(grad + start + column, count);
      });
    }
  });
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
    gemm<Factor<S>>(N, K, M, Strided<G>{grad, 1, stride}, input, Store<T, S>{static_cast<S*>(args.grad_weight), K},
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
    if (static_cast<Activation>(args.activation) == Activation::none) {
      backward_from<S>(args, static_cast<const S*>(args.grad_output), args.grad_row_stride);
    } else {
      Scratch scratch;
      G* const grad = scratch.take<G>(args.M * args.N);
      differentiate_activation<S>(args, grad);
      backward_from<S>(args, grad, args.N);
    }
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
