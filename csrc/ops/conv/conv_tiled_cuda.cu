// The tiled rung: all three products of conv_gathered.cuh on the tiled product of common/gemm.cuh.
#include "common/reduce.cuh"
#include "ops/conv/conv_gathered.cuh"

namespace nnzoo::cuda {
namespace {

constexpr int kThreads = 256;

// Writes a sum, plus the bias if there is one, to channel `column` of a place in an image.
template <class T>
struct StoreImage {
  OutputImage<T> output;
  const T* bias;
  ImageStrides strides;
  Volume places;
  int channels;  // of a group

  __device__ void operator()(int group, std::int64_t row, std::int64_t column, Accumulator<T> sum) const {
    const Position at = places.split(static_cast<unsigned>(row));
    const std::int64_t channel = static_cast<std::int64_t>(group) * channels + column;
    if (bias) sum += widen(bias[channel]);
    output(strides.at(at.outer, channel, at.at), sum);
  }
};

template <class T>
struct StoreWeight {
  T* weight;
  std::int64_t out_channels;  // of a group
  std::int64_t taps;

  __device__ void operator()(int group, std::int64_t row, std::int64_t column, Accumulator<T> sum) const {
    weight[(group * out_channels + row) * taps + column] = narrow<T>(sum);
  }
};

// One block per channel adds up all pixels.
template <class T>
__global__ void __launch_bounds__(kThreads) grad_bias_kernel(GradRows<T> grad, unsigned pixels, T* grad_bias) {
  __shared__ Accumulator<T> scratch[32];
  Accumulator<T> sum = 0;
  for (unsigned pixel = threadIdx.x; pixel < pixels; pixel += kThreads) sum += widen(grad(blockIdx.x, pixel));
  sum = block_reduce<Sum>(sum, scratch);
  if (threadIdx.x == 0) grad_bias[blockIdx.x] = narrow<T>(sum);
}

template <class T>
class Backward {
 public:
  Backward(const ConvBackward& args, bool allow_tf32, void* stream)
      : args_(args),
        allow_tf32_(allow_tf32),
        stream_(stream),
        geometry_(args.shape),
        pixels_(args.shape.batch * volume(args.shape.output)),
        places_(args.shape.batch * volume(args.shape.input)),
        kernel_(volume(args.shape.kernel)),
        grad_(static_cast<const T*>(args.grad_output)),
        grad_strides_(args.grad_output_strides) {}

  void run() {
    if (args_.grad_input) find_grad_input();
    if (args_.grad_weight) find_grad_weight();
    if (args_.grad_bias) find_grad_bias();
  }

 private:
  void find_grad_input() {
    const std::int64_t depth = geometry_.out_channels * kernel_;
    const ComputedOperand<T, Reach<T>> reach{{grad_, grad_strides_, geometry_}, places_, depth, false};
    const ComputedOperand<T, WeightByInput<T>> weight{
        {static_cast<const T*>(args_.weight), geometry_}, geometry_.in_channels, depth, true};
    const StoreImage<T> store{OutputImage<T>(args_.grad_input), nullptr, ImageStrides(args_.grad_input_strides),
                              geometry_.inputs, geometry_.in_channels};
    gemm(reach, weight, store, allow_tf32_, stream_, args_.shape.groups);
  }

  void find_grad_weight() {
    const std::int64_t taps = geometry_.in_channels * kernel_;
    const ComputedOperand<T, GradRows<T>> grad{
        {grad_, grad_strides_, geometry_}, geometry_.out_channels, pixels_, true};
    const ComputedOperand<T, TransposedPatch<T>> patch{
        {{static_cast<const T*>(args_.input), ImageStrides(args_.input_strides), geometry_}}, taps, pixels_, true};
    const StoreWeight<T> store{static_cast<T*>(args_.grad_weight), geometry_.out_channels, taps};
    gemm(grad, patch, store, allow_tf32_, stream_, args_.shape.groups);
  }

  void find_grad_bias() {
    if (args_.shape.out_channels == 0) return;
    launch<grad_bias_kernel<T>>(static_cast<unsigned>(args_.shape.out_channels), kThreads, 0, stream_,
                                GradRows<T>{grad_, grad_strides_, geometry_}, static_cast<unsigned>(pixels_),
                                static_cast<T*>(args_.grad_bias));
  }

  const ConvBackward& args_;
  bool allow_tf32_;
  void* stream_;
  Geometry geometry_;
  std::int64_t pixels_;
  std::int64_t places_;
  std::int64_t kernel_;
  const T* grad_;
  ImageStrides grad_strides_;
};

}  // namespace

void conv_forward_tiled(const ConvForward& args, bool allow_tf32, void* stream) {
  dispatch_dtype(args.dtype, [&](auto element) {
    using T = decltype(element);
    const Geometry geometry(args.shape);
    const std::int64_t pixels = args.shape.batch * volume(args.shape.output);
    const std::int64_t taps = geometry.in_channels * volume(args.shape.kernel);
    const ComputedOperand<T, Patch<T>> patch{
        {static_cast<const T*>(args.input), ImageStrides(args.input_strides), geometry}, pixels, taps, false};
    StridedOperand<T> weight(args.weight, geometry.out_channels, taps, taps, 1);
    weight.batch_stride = geometry.out_channels * taps;
    weight.packed = weight.packed && weight.batch_stride % kPackSize<T> == 0;
    const StoreImage<T> store{OutputImage<T>(args.output, args.preactivation, args.activation),
                              static_cast<const T*>(args.bias), ImageStrides(args.output_strides), geometry.outputs,
                              geometry.out_channels};
    gemm(patch, weight, store, allow_tf32, stream, args.shape.groups);
  });
}

void conv_backward_tiled(const ConvBackward& args, bool allow_tf32, void* stream) {
  dispatch_dtype(args.dtype, [&](auto element) { Backward<decltype(element)>(args, allow_tf32, stream).run(); });
}

}  // namespace nnzoo::cuda
