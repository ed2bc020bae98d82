#include "common/folded.h"
#include "common/vmath.h"
#include "ops/conv/conv_operands.h"
#include "ops/conv_lstm/conv_lstm.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// A of a step's product for `channels` hidden channels from `first` on, all four gates of each: row gate * channels +
// c. Its depth is that of w_ih followed by that of w_hh.
template <class S>
struct GateRows {
  const S *w_ih, *w_hh;
  std::int64_t input_depth, state_depth, hidden, first, channels;

  template <int width, class T>
  void pack(std::int64_t outer, int count, std::int64_t k0, std::int64_t depth, T* out) const {
    const auto weight_row = [&](int i) { return (outer + i) / channels * hidden + first + (outer + i) % channels; };
    const std::int64_t left = input_depth - k0, from_input = left < 0 ? 0 : left < depth ? left : depth;
    pack_rows<width>([&](int i) { return w_ih + weight_row(i) * input_depth + k0; }, count, from_input, out);
    pack_rows<width>([&](int i) { return w_hh + weight_row(i) * state_depth + k0 + from_input - input_depth; }, count,
                     depth - from_input, out + from_input * width);
  }
};

// One layer. The planes of a step hold the input's channels and behind them those of the state, so that both
// convolutions are one product. Gates are applied to its sums in cache, and the new state goes straight into the planes
// of the next step.
template <class S>
class Layer {
  using T = Compute<S>;
  static constexpr int W = Tile<T>::columns;

 public:
  explicit Layer(const ConvLstmForward& args)
      : args_(args),
        s_(args.shape),
        grid_{s_.state[0], s_.state[1], s_.state[2]},
        channels_(s_.in_channels + s_.hidden),
        depth_(channels_ * s_.taps()),
        depth_step_(depth_block<T>(depth_)) {
    for (int i = 0; i < 3; ++i) {
      input_shape_.axis[i] = conv_axis(s_.input[i], s_.state[i], s_.kernel[i], 1, s_.input_padding[i], s_.dilation[i]);
      state_shape_.axis[i] = conv_axis(s_.state[i], s_.state[i], s_.kernel[i], 1, s_.state_padding[i], s_.dilation[i]);
    }
    plane_ = plane_size<T>(state_shape_);
    row_pitch_ = state_shape_.axis[2].size;
    depth_pitch_ = row_pitch_ * state_shape_.axis[1].size;
    // The rows of a block stay in the second-level cache while all pixels pass, if that leaves enough of them.
    std::int64_t most = cache_sizes().level2 / 2 / (4 * factor_bytes<T>(depth_));
    if (most < 32) most = 32;
    block_ = equal_part(s_.hidden, most, 1);
    blocks_ = ceil_div(s_.hidden, block_);
    rows_size_ = a_panels_size<T>(4 * block_, depth_);
  }

  void run() {
    Scratch scratch;
    const std::int64_t state_size = s_.batch * s_.hidden * s_.pixels();
    const std::int64_t planes_size = s_.batch * channels_ * plane_ + Vec<T>::width;
    T* const planes[2] = {scratch.take<T>(planes_size), scratch.take<T>(planes_size)};
    offset_ = scratch.take<std::int64_t>(depth_);
    rows_ = scratch.take<T>(blocks_ * rows_size_);
    T* const cell = scratch.take<T>(state_size);
    ConvShape taps{};
    for (int i = 0; i < 3; ++i) taps.kernel[i] = s_.kernel[i];
    tap_offsets(taps, state_shape_, channels_, plane_, offset_);
    pack_weights();
    for (T* const buffer : planes) zero_row(buffer, planes_size);
    fill(args_.h0, state_shape_, s_.hidden, s_.in_channels, planes[0]);
    const S* const c0 = static_cast<const S*>(args_.c0);
    for_each_vector<T>(state_size, [&](std::int64_t i, int count) {
      (c0 ? Vec<T>::load(c0 + i, count) : Vec<T>::zero()).store(cell + i, count);
    });
    from_cell_ = cell;
    for (std::int64_t t = 0; t < s_.steps; ++t) {
      T* const now = planes[t % 2];
      const S* const x = static_cast<const S*>(args_.input);
      fill(x + t * s_.batch * s_.in_channels * s_.input[0] * s_.input[1] * s_.input[2], input_shape_, s_.in_channels, 0,
           now);
      to_cell_ = args_.cells ? static_cast<T*>(args_.cells) + t * state_size : cell;
      step(t, now, planes[(t + 1) % 2]);
      from_cell_ = to_cell_;
    }
    S* const c_n = static_cast<S*>(args_.c_n);
    for_each_vector<T>(state_size,
                       [&](std::int64_t i, int count) { Vec<T>::load(from_cell_ + i, count).store(c_n + i, count); });
  }

 private:
  void pack_weights() {
    parallel_for(blocks_, args_.threads, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t b = begin; b < end; ++b) {
        const std::int64_t channels = channels_of(b), rows = 4 * channels;
        const GateRows<S> a{static_cast<const S*>(args_.w_ih),
                            static_cast<const S*>(args_.w_hh),
                            s_.in_channels * s_.taps(),
                            s_.hidden * s_.taps(),
                            s_.hidden,
                            b * block_,
                            channels};
        for_each_depth_block([&](std::int64_t k, std::int64_t depth, DepthStep) {
          pack_a_panels<T>(a, 0, rows, k, depth, rows_of(b, k));
        });
      }
    });
  }

  // The channels of contiguous images `from` (null: nothing to do) into planes [channel, ...) of `to`.
  void fill(const void* from, const PlaneShape& shape, std::int64_t channels, std::int64_t channel, T* to) const {
    if (!from) return;
    const std::int64_t width = shape.axis[2].extent, height = shape.axis[1].extent;
    const std::int64_t pixels = shape.axis[0].extent * height * width;
    const ImageTensor<S> images{static_cast<const S*>(from), {channels * pixels, pixels, height * width, width, 1}};
    parallel_for(s_.batch * channels, args_.threads, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t image = i / channels, c = i % channels;
        fill_planes(images, image, c, 1, shape, to + (image * channels_ + channel + c) * plane_, plane_);
      }
    });
  }

  std::int64_t channels_of(std::int64_t block) const {
    return (block + 1) * block_ < s_.hidden ? block_ : s_.hidden - block * block_;
  }

  T* rows_of(std::int64_t block, std::int64_t k) const {
    return rows_ + block * rows_size_ + round_up(4 * channels_of(block), Tile<T>::rows) * k;
  }

  template <class Body>
  NNZOO_INLINE void for_each_depth_block(const Body& body) const {
    for (std::int64_t k = 0; k < depth_; k += depth_step_) {
      const std::int64_t depth = depth_ - k < depth_step_ ? depth_ - k : depth_step_;
      body(k, depth, DepthStep{k == 0, k + depth >= depth_});
    }
  }

  void step(std::int64_t t, const T* planes, T* next) const {
    const PlaneSet<T> set{planes, channels_ * plane_, plane_, row_pitch_, depth_pitch_};
    multiply_planes<T>(
        set, offset_, grid_, 4 * block_, depth_,
        [&](const auto& columns, std::int64_t each, const ColumnLayout& layout) {
          const auto b = columns(0);
          const std::int64_t total = s_.batch * each, panels = ceil_div(total, W);
          parallel_for(blocks_ * panels, args_.threads, [&](std::int64_t begin, std::int64_t end) {
            Scratch scratch;
            T* const sums = scratch.take<T>(4 * block_ * W);
            T* const packed = scratch.take<T>(depth_step_ * W);
            for (std::int64_t unit = begin; unit < end; ++unit) {
              const std::int64_t block = unit / panels, column = unit % panels * W;
              const int count = multiply(b, block, column, total - column < W ? int(total - column) : W, packed, sums);
              for_each_pixel_run(layout, grid_.width, column, count,
                                 [&](const PixelRun& run) { gates(t, block, run, sums + run.lane, next); });
            }
          });
        });
  }

  // sums[4 * channels][W] of one panel; returns how many of its columns exist.
  template <class B>
  int multiply(const B& b, std::int64_t block, std::int64_t column, int columns, T* packed, T* sums) const {
    if constexpr (OperandTraits<B>::in_place) {
      if (b.columns(column) < columns) columns = b.columns(column);
    }
    const TilePlace place{0, 0, 0, columns};
    const std::int64_t rows = 4 * channels_of(block);
    const Store<T> store{sums, W};
    for_each_depth_block([&](std::int64_t k, std::int64_t depth, DepthStep step) {
      if constexpr (OperandTraits<B>::in_place) {
        if (columns == W) {
          run_panel<T>(rows, depth, rows_of(block, k), b.rows(column, k), place, step, store.partial(), store);
          return;
        }
      }
      b.template pack<W>(column, columns, k, depth, packed);
      run_panel<T>(rows, depth, rows_of(block, k), EvenRows<T>{packed, W}, place, step, store.partial(), store);
    });
    return columns;
  }

  // Turns the sums of some pixels next to each other into their cells and outputs.
  void gates(std::int64_t t, std::int64_t block, const PixelRun& run, const T* sums, T* next) const {
    const std::int64_t channels = channels_of(block), pixels = s_.pixels();
    const std::int64_t h = run.row % grid_.height, d = run.row / grid_.height;
    const std::int64_t pixel = run.row * grid_.width + run.w;
    const std::int64_t in_plane =
        (d + s_.state_padding[0]) * depth_pitch_ + (h + s_.state_padding[1]) * row_pitch_ + run.w + s_.state_padding[2];
    const S* const bias = static_cast<const S*>(args_.bias);
    T* const kept = static_cast<T*>(args_.gates);
    for (std::int64_t c = 0; c < channels; ++c) {
      const std::int64_t channel = block * block_ + c;
      const std::int64_t at = (run.image * s_.hidden + channel) * pixels + pixel;
      S* const output = static_cast<S*>(args_.output) + t * s_.batch * s_.hidden * pixels + at;
      T* const plane = next + (run.image * channels_ + s_.in_channels + channel) * plane_ + in_plane;
      Vec<T> shift[4];
      for (int gate = 0; gate < 4; ++gate) {
        shift[gate] = Vec<T>::set(bias ? T(to_float(bias[gate * s_.hidden + channel])) : T(0));
      }
      for_each_vector<T>(run.count, [&](std::int64_t j, int count) {
        Vec<T> x[4];
        for (int gate = 0; gate < 4; ++gate) {
          x[gate] = Vec<T>::load(sums + (gate * channels + c) * W + j, count) + shift[gate];
          x[gate] = gate == 2 ? folded_tanh(x[gate]) : folded_sigmoid(x[gate]);
          if (kept) {
            x[gate].store(kept + (((t * s_.batch + run.image) * 4 + gate) * s_.hidden + channel) * pixels + pixel + j,
                          count);
          }
        }
        const Vec<T> in = unfold_sigmoid(x[0]).value, forget = unfold_sigmoid(x[1]).value;
        const Vec<T> cell = fma(forget, Vec<T>::load(from_cell_ + at + j, count), in * unfold_tanh(x[2]).value);
        const Vec<T> h = unfold_sigmoid(x[3]).value * tanh(cell);
        cell.store(to_cell_ + at + j, count);
        h.store(output + j, count);
        h.store(plane + j, count);
      });
    }
  }

  const ConvLstmForward& args_;
  const ConvLstmShape& s_;
  const PixelGrid grid_;
  const std::int64_t channels_, depth_, depth_step_;
  PlaneShape input_shape_, state_shape_;
  std::int64_t plane_, row_pitch_, depth_pitch_, block_, blocks_, rows_size_;
  std::int64_t* offset_ = nullptr;
  T* rows_ = nullptr;
  const T* from_cell_ = nullptr;
  T* to_cell_ = nullptr;
};

}  // namespace

void conv_lstm_forward(const ConvLstmForward& args) {
  dispatch_dtype(args.dtype, [&](auto tag) { Layer<typename decltype(tag)::Type>(args).run(); });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
