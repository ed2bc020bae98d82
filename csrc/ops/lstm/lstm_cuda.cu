// Each step is a product with the recurrent weights, which adds to the gates that the input's product left, and one
// pointwise kernel for everything else. Backward runs the steps the other way round.
#include "common/gemm.cuh"
#include "common/math.cuh"
#include "ops/lstm/lstm_cuda.h"

namespace nnzoo::cuda {
namespace {

constexpr int kThreads = 256;

// The rows of the steps, in running order: step `number` of the sequence has rows first .. first + count - 1.
class Steps {
 public:
  explicit Steps(const LstmSteps& shape) : shape_(shape) {}

  std::int64_t count(std::int64_t number) const {
    if (number < 0 || number >= shape_.steps) return 0;
    return shape_.batch_sizes ? shape_.batch_sizes[number] : shape_.batch;
  }

  // Calls `run(first, count, previous_first, previous_count)` for every step; the previous one is that before it in
  // running order, with no rows before the first.
  template <class Run>
  void for_each(bool backwards, Run run) const {
    const bool ascending = shape_.reverse == backwards;
    std::int64_t first = ascending ? 0 : shape_.rows;
    for (std::int64_t i = 0; i < shape_.steps; ++i) {
      const std::int64_t number = ascending ? i : shape_.steps - 1 - i;
      if (!ascending) first -= count(number);
      const std::int64_t previous = shape_.reverse ? number + 1 : number - 1;
      const std::int64_t previous_first = shape_.reverse ? first + count(number) : first - count(previous);
      run(first, count(number), previous_first, count(previous));
      if (ascending) first += count(number);
    }
  }

 private:
  const LstmSteps& shape_;
};

template <class T>
struct StorePreactivations {
  Accumulator<T>* preactivations;
  const T* b_ih;
  const T* b_hh;
  std::int64_t columns;

  __device__ void operator()(int, std::int64_t row, std::int64_t column, Accumulator<T> sum) const {
    if (b_ih) sum += widen(b_ih[column]);
    if (b_hh) sum += widen(b_hh[column]);
    preactivations[row * columns + column] = sum;
  }
};

template <class A>
struct AddTo {
  A* to;
  std::int64_t columns;

  __device__ void operator()(int, std::int64_t row, std::int64_t column, A sum) const {
    to[row * columns + column] += sum;
  }
};

template <class A>
struct Store {
  A* to;
  std::int64_t columns;

  __device__ void operator()(int, std::int64_t row, std::int64_t column, A sum) const {
    to[row * columns + column] = sum;
  }
};

// One step's h, of a projection: into the state and into the output.
template <class T>
struct StoreState {
  T* h;
  T* output;
  std::int64_t columns, output_stride;

  __device__ void operator()(int, std::int64_t row, std::int64_t column, Accumulator<T> sum) const {
    h[row * columns + column] = output[row * output_stride + column] = narrow<T>(sum);
  }
};

// c = sigmoid(f) * c + sigmoid(i) * tanh(g), h = sigmoid(o) * tanh(c), for one step's rows; a thread per element.
// `output` is null where h is still to be projected.
template <class T>
__global__ void __launch_bounds__(kThreads)
    cell_kernel(const Accumulator<T>* preactivations, Accumulator<T>* cells, T* h, Accumulator<T>* c, T* output,
                std::int64_t output_stride, std::int64_t count, std::int64_t hidden) {
  using A = Accumulator<T>;
  const std::int64_t at = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  if (at >= count * hidden) return;
  const std::int64_t row = at / hidden;
  const std::int64_t unit = at % hidden;
  const A* const gate = preactivations + row * 4 * hidden + unit;
  const A i = logistic(gate[0]);
  const A f = logistic(gate[hidden]);
  const A g = hyperbolic_tangent(gate[2 * hidden]);
  const A o = logistic(gate[3 * hidden]);
  const A cell = f * c[at] + i * g;
  const T out = narrow<T>(o * hyperbolic_tangent(cell));
  c[at] = cell;
  if (cells) cells[at] = cell;
  h[at] = out;
  if (output) output[row * output_stride + unit] = out;
}

// What one step of backward reads and writes, at its first row.
template <class T>
struct BackwardStep {
  const Accumulator<T>* preactivations;
  const Accumulator<T>* cells;
  const T* grad_output;
  T* deltas;
  T* previous_h;
  T* projected;
  T* m;
  // The step before: its cells and outputs, for rows below `previous_count`; the others started from h0 and c0.
  const Accumulator<T>* previous_cells;
  const T* previous_output;
  std::int64_t count;
  std::int64_t previous_count;
  std::int64_t output_stride, grad_output_stride;
};

// The gradient of a step's h, and the h that it started from; a thread per element of [count, out].
template <class T>
__global__ void __launch_bounds__(kThreads)
    state_backward_kernel(BackwardStep<T> step, const T* h0, const Accumulator<T>* grad_h, std::int64_t out) {
  const std::int64_t at = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  if (at >= step.count * out) return;
  const std::int64_t row = at / out;
  const std::int64_t unit = at % out;
  step.projected[at] = narrow<T>(widen(step.grad_output[row * step.grad_output_stride + unit]) + grad_h[at]);
  step.previous_h[at] = row < step.previous_count ? step.previous_output[row * step.output_stride + unit] : h0[at];
}

// With a projection `grad_h` is the gradient of m, and `m` is computed again; h is not looked at.
template <class T, bool projects>
__global__ void __launch_bounds__(kThreads)
    cell_backward_kernel(BackwardStep<T> step, const T* h0, const Accumulator<T>* c0, const Accumulator<T>* grad_h,
                         Accumulator<T>* grad_c, std::int64_t hidden) {
  using A = Accumulator<T>;
  const std::int64_t at = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  if (at >= step.count * hidden) return;
  const std::int64_t row = at / hidden;
  const std::int64_t unit = at % hidden;
  const bool continues = row < step.previous_count;
  const A* const gate = step.preactivations + row * 4 * hidden + unit;
  const Differentiated<A> i = differentiated_logistic(gate[0]);
  const Differentiated<A> f = differentiated_logistic(gate[hidden]);
  const Differentiated<A> g = differentiated_tanh(gate[2 * hidden]);
  const Differentiated<A> o = differentiated_logistic(gate[3 * hidden]);
  const A before = continues ? step.previous_cells[at] : c0[at];
  const Differentiated<A> t = differentiated_tanh(step.cells[at]);
  A into_h = grad_h[at];
  if constexpr (!projects) into_h = widen(step.grad_output[row * step.grad_output_stride + unit]) + into_h;
  const A into_c = grad_c[at] + into_h * o.value * t.derivative;
  T* const delta = step.deltas + row * 4 * hidden + unit;
  delta[0] = narrow<T>(into_c * g.value * i.derivative);
  delta[hidden] = narrow<T>(into_c * before * f.derivative);
  delta[2 * hidden] = narrow<T>(into_c * i.value * g.derivative);
  delta[3 * hidden] = narrow<T>(into_h * t.value * o.derivative);
  grad_c[at] = into_c * f.value;
  if constexpr (projects)
    step.m[at] = narrow<T>(o.value * t.value);
  else
    step.previous_h[at] = continues ? step.previous_output[row * step.output_stride + unit] : h0[at];
}

unsigned blocks_for(std::int64_t count) { return static_cast<unsigned>(ceil_div<std::int64_t>(count, kThreads)); }

}  // namespace

void lstm_input_gates(const LstmInputGates& args, void* stream) {
  const std::int64_t columns = 4 * args.shape.hidden;
  dispatch_dtype(args.shape.dtype, [&](auto element) {
    using T = decltype(element);
    const StridedOperand<T> input(args.input, args.shape.rows, args.in_features, args.in_features, 1);
    const StridedOperand<T> weight(args.w_ih, columns, args.in_features, args.in_features, 1);
    const StorePreactivations<T> store{static_cast<Accumulator<T>*>(args.preactivations),
                                       static_cast<const T*>(args.b_ih), static_cast<const T*>(args.b_hh), columns};
    gemm(input, weight, store, args.shape.allow_tf32, stream);
  });
}

void lstm_forward_steps(const LstmForwardSteps& args, void* stream) {
  const std::int64_t hidden = args.shape.hidden;
  const std::int64_t out = args.shape.out();
  const bool projects = args.shape.projection > 0;
  dispatch_dtype(args.shape.dtype, [&](auto element) {
    using T = decltype(element);
    using A = Accumulator<T>;
    const StridedOperand<T> weight(args.w_hh, 4 * hidden, out, out, 1);
    Steps(args.shape).for_each(false, [&](std::int64_t first, std::int64_t count, std::int64_t, std::int64_t) {
      if (count * hidden == 0) return;
      A* const preactivations = static_cast<A*>(args.preactivations) + first * 4 * hidden;
      A* const cells = static_cast<A*>(args.cells);
      T* const h = static_cast<T*>(args.h);
      T* const output = static_cast<T*>(args.output) + first * args.output_stride;
      gemm(StridedOperand<T>(h, count, out, out, 1), weight, AddTo<A>{preactivations, 4 * hidden},
           args.shape.allow_tf32, stream);
      launch<cell_kernel<T>>(blocks_for(count * hidden), kThreads, 0, stream, preactivations,
                             cells ? cells + first * hidden : nullptr, projects ? static_cast<T*>(args.m) : h,
                             static_cast<A*>(args.c), projects ? nullptr : output, args.output_stride, count, hidden);
      if (projects)
        gemm(StridedOperand<T>(args.m, count, hidden, hidden, 1), StridedOperand<T>(args.w_hr, out, hidden, hidden, 1),
             StoreState<T>{h, output, out, args.output_stride}, args.shape.allow_tf32, stream);
    });
  });
}

void lstm_backward_steps(const LstmBackwardSteps& args, void* stream) {
  const std::int64_t hidden = args.shape.hidden;
  const std::int64_t out = args.shape.out();
  dispatch_dtype(args.shape.dtype, [&](auto element) {
    using T = decltype(element);
    using A = Accumulator<T>;
    const StridedOperand<T> weight(args.w_hh, out, 4 * hidden, 1, out);
    auto* const h0 = static_cast<const T*>(args.h0);
    auto* const c0 = static_cast<const A*>(args.c0);
    auto* const grad_h = static_cast<A*>(args.grad_h);
    auto* const grad_c = static_cast<A*>(args.grad_c);
    auto* const grad_m = static_cast<A*>(args.grad_m);
    Steps(args.shape)
        .for_each(true, [&](std::int64_t first, std::int64_t count, std::int64_t previous_first,
                            std::int64_t previous_count) {
          if (count * hidden == 0) return;
          const A* const cells = static_cast<const A*>(args.cells);
          T* const deltas = static_cast<T*>(args.deltas) + first * 4 * hidden;
          const BackwardStep<T> step{static_cast<const A*>(args.preactivations) + first * 4 * hidden,
                                     cells + first * hidden,
                                     static_cast<const T*>(args.grad_output) + first * args.grad_output_stride,
                                     deltas,
                                     static_cast<T*>(args.previous) + first * out,
                                     static_cast<T*>(args.projected) + first * out,
                                     static_cast<T*>(args.m) + first * hidden,
                                     cells + previous_first * hidden,
                                     static_cast<const T*>(args.output) + previous_first * args.output_stride,
                                     count,
                                     previous_count,
                                     args.output_stride,
                                     args.grad_output_stride};
          const unsigned blocks = blocks_for(count * hidden);
          if (args.shape.projection > 0) {
            launch<state_backward_kernel<T>>(blocks_for(count * out), kThreads, 0, stream, step, h0, grad_h, out);
            gemm(StridedOperand<T>(step.projected, count, out, out, 1),
                 StridedOperand<T>(args.w_hr, hidden, out, 1, hidden), Store<A>{grad_m, hidden}, args.shape.allow_tf32,
                 stream);
            launch<cell_backward_kernel<T, true>>(blocks, kThreads, 0, stream, step, h0, c0, grad_m, grad_c, hidden);
          } else {
            launch<cell_backward_kernel<T, false>>(blocks, kThreads, 0, stream, step, h0, c0, grad_h, grad_c, hidden);
          }
          gemm(StridedOperand<T>(deltas, count, 4 * hidden, 4 * hidden, 1), weight, Store<A>{grad_h, out},
               args.shape.allow_tf32, stream);
        });
  });
}

}  // namespace nnzoo::cuda
