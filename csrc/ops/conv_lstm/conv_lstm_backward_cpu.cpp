#include "common/folded.h"
#include "common/parallel.h"
#include "common/scratch.h"
#include "common/vmath.h"
#include "ops/conv_lstm/conv_lstm.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// One step of the gates' way back for one channel of one image: from dh and dc to the preactivations' gradients.
template <class S>
struct StepBack {
  using T = Compute<S>;
  const S *grad_output, *grad_h;  // grad_h: null in the last step
  const T *gates, *cell;
  const T* cell_before;  // null: c0
  const S* c0;           // null: zeros
  S* grad_gates;
  T* grad_cell;       // in: of c_t, out: of c_{t-1}
  std::int64_t gate;  // from one gate to the next

  NNZOO_INLINE void operator()(std::int64_t i, int count) const {
    Vec<T> dh = Vec<T>::load(grad_output + i, count);
    if (grad_h) dh += Vec<T>::load(grad_h + i, count);
    const auto folded = [&](int k) { return Vec<T>::load(gates + k * gate + i, count); };
    const auto in = unfold_sigmoid(folded(0)), forget = unfold_sigmoid(folded(1));
    const auto candidate = unfold_tanh(folded(2)), out = unfold_sigmoid(folded(3));
    const auto squashed = unfold_tanh(folded_tanh(Vec<T>::load(cell + i, count)));
    const Vec<T> before = cell_before ? Vec<T>::load(cell_before + i, count)
                          : c0        ? Vec<T>::load(c0 + i, count)
                                      : Vec<T>::zero();
    const Vec<T> dc = fma(dh * out.value, squashed.derivative, Vec<T>::load(grad_cell + i, count));
    (dc * candidate.value * in.derivative).store(grad_gates + i, count);
    (dc * before * forget.derivative).store(grad_gates + gate + i, count);
    (dc * in.value * candidate.derivative).store(grad_gates + 2 * gate + i, count);
    (dh * squashed.value * out.derivative).store(grad_gates + 3 * gate + i, count);
    (dc * forget.value).store(grad_cell + i, count);
  }
};

// The state's convolution, of which `grad_gates` are the gradients of the output.
template <class S>
ConvGradInput state_gradient(const ConvLstmBackward& args, const S* grad_gates) {
  const ConvLstmShape& s = args.shape;
  ConvGradInput conv{};
  conv.grad_output = grad_gates;
  conv.weight = args.w_hh;
  conv.grad_input = args.grad_h0;
  conv.shape.batch = s.batch;
  conv.shape.in_channels = s.hidden;
  conv.shape.out_channels = 4 * s.hidden;
  conv.shape.groups = 1;
  std::int64_t stride = 1;
  for (int i = 2; i >= 0; --i) {
    conv.shape.input[i] = conv.shape.output[i] = s.state[i];
    conv.shape.kernel[i] = s.kernel[i];
    conv.shape.stride[i] = 1;
    conv.shape.padding[i] = s.state_padding[i];
    conv.shape.dilation[i] = s.dilation[i];
    conv.grad_output_strides[i + 2] = conv.grad_input_strides[i + 2] = stride;
    stride *= s.state[i];
  }
  conv.grad_output_strides[1] = conv.grad_input_strides[1] = stride;
  conv.grad_output_strides[0] = 4 * s.hidden * stride;
  conv.grad_input_strides[0] = s.hidden * stride;
  conv.dtype = args.dtype;
  conv.threads = args.threads;
  return conv;
}

template <class S>
void backward(const ConvLstmBackward& args) {
  using T = Compute<S>;
  const ConvLstmShape& s = args.shape;
  const std::int64_t pixels = s.pixels(), state_size = s.batch * s.hidden * pixels;
  Scratch scratch;
  T* const grad_cell = scratch.take<T>(state_size);
  for_each_vector<T>(state_size, [&](std::int64_t i, int count) {
    Vec<T>::load(static_cast<const S*>(args.grad_c_n) + i, count).store(grad_cell + i, count);
  });
  for (std::int64_t t = s.steps - 1; t >= 0; --t) {
    S* const grad_gates = static_cast<S*>(args.grad_gates) + t * 4 * state_size;
    parallel_for(s.batch * s.hidden, args.threads, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t image = i / s.hidden, channel = i % s.hidden;
        const std::int64_t at = i * pixels, gates_at = (image * 4 * s.hidden + channel) * pixels;
        const T* const cell = static_cast<const T*>(args.cells) + t * state_size + at;
        const StepBack<S> back{static_cast<const S*>(args.grad_output) + t * state_size + at,
                               t + 1 < s.steps ? static_cast<const S*>(args.grad_h0) + at : nullptr,
                               static_cast<const T*>(args.gates) + t * 4 * state_size + gates_at,
                               cell,
                               t > 0 ? cell - state_size : nullptr,
                               args.c0 ? static_cast<const S*>(args.c0) + at : nullptr,
                               grad_gates + gates_at,
                               grad_cell + at,
                               s.hidden * pixels};
        for_each_vector<T>(pixels, back);
      }
    });
    conv_grad_input(state_gradient<S>(args, grad_gates));
  }
  for_each_vector<T>(state_size, [&](std::int64_t i, int count) {
    Vec<T>::load(grad_cell + i, count).store(static_cast<S*>(args.grad_c0) + i, count);
  });
}

}  // namespace

void conv_lstm_backward(const ConvLstmBackward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) { backward<typename decltype(tag)::Type>(args); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
