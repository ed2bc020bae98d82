// The maximum over edges: tiles of edges of whole targets go through the product and are reduced in the cache.
#include "common/mask_bits.h"
#include "common/parameters.h"
#include "ops/edge_mlp/hidden.h"
#include "ops/edge_mlp/product.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class S, bool relu>
class Forward {
 public:
  using T = Compute<S>;

  Forward(const EdgeMlp& args, Nonlinear<relu> nonlinear)
      : args_(args),
        nonlinear_(nonlinear),
        p_(static_cast<const S*>(args.p)),
        q_(static_cast<const S*>(args.q)),
        rows_(rows_of_tile<T>(args.hidden, args.outputs)) {}

  void run() {
    if (largest_group(args_.in) < 0) return mark_invalid(args_.valid);
    Scratch scratch;
    if (args_.weight) {
      T* const packed = scratch.take<T>(packed_weight_size<T>(args_.hidden, args_.outputs));
      pack_weight(static_cast<const S*>(args_.weight), args_.hidden, args_.outputs, packed);
      weight_ = packed;
    }
    constexpr DType dtype = sizeof(S) == 2 ? DType::bfloat16 : sizeof(S) == 4 ? DType::float32 : DType::float64;
    bias_ = parameters<T>(args_.bias, dtype, args_.outputs, T(0), scratch);
    const std::int64_t count = 1 + (args_.in.num_edges + args_.in.num_groups) / kCostOfBlock;
    for_each_block(args_.in, count, args_.threads, args_.valid,
                   [&](std::int64_t, std::int64_t first, std::int64_t last) { Part(*this).run(first, last); });
  }

 private:
  static constexpr std::int64_t kCostOfBlock = 2048;

  // What a thread needs for a part of the targets.
  class Part {
   public:
    explicit Part(const Forward& whole)
        : all_(whole),
          args_(whole.args_),
          hidden_(scratch_.take<T>(whole.rows_ * args_.hidden)),
          packed_(scratch_.take<T>(packed_rows_size<T>(whole.rows_, args_.hidden))),
          messages_(args_.weight ? scratch_.take<T>(whole.rows_ * args_.outputs) : hidden_),
          most_(scratch_.take<T>(args_.outputs)) {}

    void run(std::int64_t first, std::int64_t last) {
      const std::int32_t* const start = args_.in.start;
      for (std::int64_t target = first; target < last;) {
        std::int64_t end = target;
        while (end < last && start[end + 1] - start[target] <= all_.rows_) ++end;
        if (end == target) {
          reduce_hub(target++);
          continue;
        }
        for (std::int64_t i = target; i < end; ++i) fill(i, start[i], start[i + 1], start[i] - start[target]);
        multiply(start[end] - start[target]);
        for (std::int64_t i = target; i < end; ++i) {
          const T* const rows = messages_ + (start[i] - start[target]) * args_.outputs;
          clear();
          extend(rows, start[i + 1] - start[i]);
          store(i);
          if (args_.best) mark(rows, start[i], start[i + 1]);
        }
        target = end;
      }
    }

   private:
    // Walked twice, for the maximum and for who attains it: its messages don't fit a tile.
    void reduce_hub(std::int64_t target) {
      const std::int64_t begin = args_.in.start[target], end = args_.in.start[target + 1];
      clear();
      for_each_tile(target, begin, end, [&](std::int64_t from, std::int64_t to) { extend(messages_, to - from); });
      store(target);
      if (!args_.best) return;
      for_each_tile(target, begin, end, [&](std::int64_t from, std::int64_t to) { mark(messages_, from, to); });
    }

    template <class Body>
    void for_each_tile(std::int64_t target, std::int64_t begin, std::int64_t end, const Body& body) {
      for (std::int64_t from = begin; from < end; from += all_.rows_) {
        const std::int64_t to = end - from < all_.rows_ ? end : from + all_.rows_;
        fill(target, from, to, 0);
        multiply(to - from);
        body(from, to);
      }
    }

    // The hidden rows of a target's edges begin..end, from row `row` of the tile on.
    void fill(std::int64_t target, std::int64_t begin, std::int64_t end, std::int64_t row) {
      const std::int64_t hidden = args_.hidden, last = args_.in.num_edges - 1;
      const S* const near = all_.p_ + target * hidden;
      T* out = hidden_ + row * hidden;
      for (std::int64_t k = begin; k < end; ++k, out += hidden) {
        fetch_row(all_.q_, args_.in.node[k + Far::edges < last ? k + Far::edges : last], hidden);
        const S* const far = all_.q_ + args_.in.node[k] * hidden;
        for_each_vector<T>(hidden, [&](std::int64_t f, int lanes) {
          const Vec<T> z = load_lanes<T>(near + f, lanes) + load_lanes<T>(far + f, lanes);
          store_lanes(all_.nonlinear_.value(z), out + f, lanes);
        });
      }
    }

    void multiply(std::int64_t rows) {
      if (!args_.weight) return;
      multiply_rows(hidden_, rows, args_.hidden, args_.outputs, all_.weight_, packed_, messages_);
    }

    void clear() {
      for (std::int64_t o = 0; o < args_.outputs; ++o) most_[o] = -T(__builtin_inf());
    }

    void extend(const T* rows, std::int64_t count) {
      for_each_vector<T>(args_.outputs, [&](std::int64_t o, int lanes) {
        Vec<T> most = load_lanes<T>(most_ + o, lanes);
        for (std::int64_t row = 0; row < count; ++row) {
          const Vec<T> message = load_lanes<T>(rows + row * args_.outputs + o, lanes);
          most = select(is_nan(message), message, max(message, most));
        }
        store_lanes(most, most_ + o, lanes);
      });
    }

    // The bias is the same for all messages, so it may wait for the largest.
    void store(std::int64_t target) {
      S* const out = static_cast<S*>(args_.out) + target * args_.outputs;
      const bool empty = args_.in.start[target] == args_.in.start[target + 1];
      for_each_vector<T>(args_.outputs, [&](std::int64_t o, int lanes) {
        const Vec<T> value = load_lanes<T>(most_ + o, lanes) + load_lanes<T>(all_.bias_ + o, lanes);
        store_lanes(empty ? Vec<T>::zero() : value, out + o, lanes);
      });
    }

    // Notes which of the edges at positions begin..end attain the maximum.
    void mark(const T* rows, std::int64_t begin, std::int64_t end) {
      const std::int64_t words = words_of(args_.outputs);
      for (std::int64_t k = begin; k < end; ++k, rows += args_.outputs) {
        std::uint32_t* const best = args_.best + args_.in.edge[k] * words;
        for (std::int64_t word = 0; word < words; ++word) best[word] = 0;
        for_each_vector<T>(args_.outputs, [&](std::int64_t o, int lanes) {
          const Vec<T> message = load_lanes<T>(rows + o, lanes);
          const Mask<T> attains = (message == load_lanes<T>(most_ + o, lanes)) | is_nan(message);
          best[o / 32] |= (mask_bits(attains) & ((1u << lanes) - 1u)) << (o % 32);
        });
      }
    }

    const Forward& all_;
    const EdgeMlp& args_;
    Scratch scratch_;
    T *hidden_, *packed_, *messages_, *most_;
  };

  const EdgeMlp& args_;
  Nonlinear<relu> nonlinear_;
  const S *p_, *q_;
  std::int64_t rows_;
  const T *weight_ = nullptr, *bias_ = nullptr;
};

}  // namespace

void edge_mlp_max(const EdgeMlp& args) {
  *args.valid = true;
  dispatch_edge_mlp(args, [&](auto type, auto nonlinear) {
    using S = typename decltype(type)::Type;
    Forward<S, decltype(nonlinear)::is_relu>(args, nonlinear).run();
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
