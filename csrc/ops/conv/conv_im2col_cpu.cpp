// The taught variant: im2col, then one plain product per image and group.
#include "common/activation.h"
#include "common/gemm.h"
#include "ops/conv/conv.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// columns[(c, kd, kh, kw)][(d, h, w)] = the input value that this tap meets at this pixel, or 0.
template <class S>
void im2col(const ConvShape& s, const S* input, std::int64_t channels, S* columns, int threads) {
  const std::int64_t taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  const std::int64_t pixels = s.output[0] * s.output[1] * s.output[2];
  parallel_for(channels * taps, threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const S* const plane = input + row / taps * s.input[0] * s.input[1] * s.input[2];
      const std::int64_t kw = row % s.kernel[2], kh = row / s.kernel[2] % s.kernel[1];
      const std::int64_t kd = row / s.kernel[2] / s.kernel[1] % s.kernel[0];
      S* out = columns + row * pixels;
      for (std::int64_t d = 0; d < s.output[0]; ++d) {
        for (std::int64_t h = 0; h < s.output[1]; ++h) {
          const std::int64_t id = d * s.stride[0] + kd * s.dilation[0] - s.padding[0];
          const std::int64_t ih = h * s.stride[1] + kh * s.dilation[1] - s.padding[1];
          const bool inside = id >= 0 && id < s.input[0] && ih >= 0 && ih < s.input[1];
          for (std::int64_t w = 0; w < s.output[2]; ++w) {
            const std::int64_t iw = w * s.stride[2] + kw * s.dilation[2] - s.padding[2];
            *out++ = inside && iw >= 0 && iw < s.input[2] ? plane[(id * s.input[1] + ih) * s.input[2] + iw] : S{};
          }
        }
      }
    }
  });
}

template <class T, class S>
struct RowBiasStore {
  static constexpr bool from_registers = false;
  Store<T, S> output;
  const S* bias;
  Activation activation;

  Partial<T> partial() const { return output.partial(); }
  NNZOO_INLINE void operator()(std::int64_t row, std::int64_t column, int count, Vec<T> sum) const {
    if (bias) sum += Vec<T>::set(to_float(bias[row]));
    output(row, column, count, activate(activation, sum));
  }
};

}  // namespace

void conv_forward_im2col(const ConvForward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    using T = Compute<S>;
    const ConvShape& s = args.shape;
    const std::int64_t in = s.in_channels / s.groups, out = s.out_channels / s.groups;
    const std::int64_t depth = in * s.kernel[0] * s.kernel[1] * s.kernel[2];
    const std::int64_t image = s.input[0] * s.input[1] * s.input[2];
    const std::int64_t pixels = s.output[0] * s.output[1] * s.output[2];
    Scratch scratch;
    S* const columns = scratch.take<S>(depth * pixels);
    for (std::int64_t i = 0; i < s.batch * s.groups; ++i) {
      const std::int64_t g = i % s.groups;
      const S* const bias = args.bias ? static_cast<const S*>(args.bias) + g * out : nullptr;
      im2col(s, static_cast<const S*>(args.input) + i * in * image, in, columns, args.threads);
      gemm<T>(out, pixels, depth, Strided<S>{static_cast<const S*>(args.weight) + g * out * depth, depth, 1},
              Strided<S>{columns, 1, pixels},
              RowBiasStore<T, S>{{static_cast<S*>(args.output) + i * out * pixels, pixels},
                                 bias,
                                 static_cast<Activation>(args.activation)},
              args.threads);
    }
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
