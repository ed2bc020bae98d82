// Backward of the maximum. A target's output gets its gradient from few edges, most often from one, so nothing here is
// a product of matrices: with `share` the gradient of out[i][o] over the number of edges that attain it,
//   over the targets   share; then for each edge and each output o that it attains, share[i][o] times weight[o] is
//   added
//                      to the gradient of h[e], and share[i][o] times h[e] to that of weight[o]
//   over the sources   the first of these again, since an edge's row is stored nowhere
#include "common/mask_bits.h"
#include "common/parameters.h"
#include "ops/edge_mlp/hidden.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

template <class T>
NNZOO_INLINE void add_scaled(std::int64_t count, T factor, const T* from, T* to) {
  for_each_vector<T>(count, [&](std::int64_t i, int lanes) {
    const Vec<T> sum = fma(Vec<T>::set(factor), load_lanes<T>(from + i, lanes), load_lanes<T>(to + i, lanes));
    store_lanes(sum, to + i, lanes);
  });
}

template <class T>
NNZOO_INLINE void fill_zeros(T* values, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) values[i] = 0;
}

template <class S, bool relu>
class Backward {
 public:
  using T = Compute<S>;

  Backward(const EdgeMlpGradients& args, Nonlinear<relu> nonlinear)
      : args_(args),
        call_(args.call),
        nonlinear_(nonlinear),
        p_(static_cast<const S*>(call_.p)),
        q_(static_cast<const S*>(call_.q)) {}

  void run() {
    if (largest_group(call_.in) < 0) return mark_invalid(call_.valid);
    Scratch scratch;
    constexpr DType dtype = sizeof(S) == 2 ? DType::bfloat16 : sizeof(S) == 4 ? DType::float32 : DType::float64;
    if (call_.weight) weight_ = parameters<T>(call_.weight, dtype, call_.outputs * call_.hidden, T(0), scratch);
    share_ = scratch.take<T>(call_.in.num_groups * call_.outputs);
    over_targets();
    if (args_.grad_q && *call_.valid) over_sources();
  }

 private:
  // Parts of the targets sum up the weight's gradient by themselves, in as many copies: not so many that adding these
  // costs more than it saves, and the same for any number of threads.
  std::int64_t count_parts() const {
    constexpr std::int64_t cost = 2048, values = 1 << 22;
    const std::int64_t by_memory = 4 + values / (call_.outputs * call_.hidden), most = by_memory < 32 ? by_memory : 32;
    const std::int64_t parts = 1 + (call_.in.num_edges + call_.in.num_groups) / cost;
    return parts < most ? parts : most;
  }

  const std::uint32_t* best_of(std::int32_t edge) const { return call_.best + edge * words_of(call_.outputs); }

  template <class Body>
  NNZOO_INLINE void for_each_best(std::int32_t edge, const Body& body) const {
    const std::uint32_t* const words = best_of(edge);
    for (std::int64_t o = 0; o < call_.outputs; o += 32) {
      for_each_bit(words[o / 32], [&](int bit) { body(o + bit); });
    }
  }

  void over_targets() {
    Scratch scratch;
    const std::int64_t parts = count_parts(), size = (args_.grad_weight ? call_.outputs * call_.hidden : 0);
    T* const weights = scratch.take<T>(parts * size);
    T* const biases = scratch.take<T>(parts * call_.outputs);
    for_each_block(call_.in, parts, call_.threads, call_.valid,
                   [&](std::int64_t part, std::int64_t first, std::int64_t last) {
                     Scratch mine;
                     T* const hidden = mine.take<T>(call_.hidden);
                     T* const passed = mine.take<T>(call_.hidden);
                     T* const sum = mine.take<T>(call_.hidden);
                     fill_zeros(weights + part * size, size);
                     fill_zeros(biases + part * call_.outputs, call_.outputs);
                     for (std::int64_t i = first; i < last; ++i) {
                       find_share(i, biases + part * call_.outputs);
                       fill_zeros(sum, call_.hidden);
                       for (std::int64_t k = call_.in.start[i]; k < call_.in.start[i + 1]; ++k) {
                         fetch_later(call_.in, k, q_);
                         walk_edge(i, call_.in.node[k], call_.in.edge[k], hidden, passed, sum,
                                   args_.grad_weight ? weights + part * size : nullptr);
                       }
                       if (args_.grad_p) store_row(sum, static_cast<S*>(args_.grad_p) + i * call_.hidden);
                     }
                   });
    if (!*call_.valid) return;
    if (args_.grad_weight) add_parts(weights, parts, size, static_cast<S*>(args_.grad_weight));
    if (args_.grad_bias) add_parts(biases, parts, call_.outputs, static_cast<S*>(args_.grad_bias));
  }

  void over_sources() {
    const std::int64_t count = 1 + (call_.out_of.num_edges + call_.out_of.num_groups) / 2048;
    if (largest_group(call_.out_of) < 0) return mark_invalid(call_.valid);
    for_each_block(call_.out_of, count, call_.threads, call_.valid,
                   [&](std::int64_t, std::int64_t first, std::int64_t last) {
                     Scratch mine;
                     T* const passed = mine.take<T>(call_.hidden);
                     T* const sum = mine.take<T>(call_.hidden);
                     for (std::int64_t j = first; j < last; ++j) {
                       fill_zeros(sum, call_.hidden);
                       for (std::int64_t k = call_.out_of.start[j]; k < call_.out_of.start[j + 1]; ++k) {
                         fetch_later(call_.out_of, k, p_);
                         walk_edge(call_.out_of.node[k], static_cast<std::int32_t>(j), call_.out_of.edge[k], nullptr,
                                   passed, sum, nullptr);
                       }
                       store_row(sum, static_cast<S*>(args_.grad_q) + j * call_.hidden);
                     }
                   });
  }

  NNZOO_INLINE void fetch_later(const EdgeGroups& groups, std::int64_t k, const S* rows) const {
    const std::int64_t later = k + Far::edges < groups.num_edges ? k + Far::edges : groups.num_edges - 1;
    fetch_row(rows, groups.node[later], call_.hidden);
    Far::fetch(best_of(groups.edge[later]));
    if (rows == p_) Far::fetch(share_ + groups.node[later] * call_.outputs);
  }

  // A target's gradient over the number of edges that attain its outputs, and that gradient summed up.
  void find_share(std::int64_t target, T* bias) const {
    T* const share = share_ + target * call_.outputs;
    fill_zeros(share, call_.outputs);
    const std::int32_t begin = call_.in.start[target], end = call_.in.start[target + 1];
    if (begin == end) return;
    for (std::int64_t k = begin; k < end; ++k) {
      for_each_best(call_.in.edge[k], [&](std::int64_t o) { share[o] += 1; });
    }
    const S* const grad = static_cast<const S*>(args_.grad) + target * call_.outputs;
    for_each_vector<T>(call_.outputs, [&](std::int64_t o, int lanes) {
      const Vec<T> received = load_lanes<T>(grad + o, lanes);
      store_lanes(received / load_lanes<T>(share + o, lanes), share + o, lanes);
      store_lanes(load_lanes<T>(bias + o, lanes) + received, bias + o, lanes);
    });
  }

  // Adds to `sum` the gradient of z = p[target] + q[source], and to `weights` the edge's part, if they are there.
  NNZOO_INLINE void walk_edge(std::int64_t target, std::int32_t source, std::int32_t edge, T* hidden, T* passed, T* sum,
                              T* weights) const {
    const T* const share = share_ + target * call_.outputs;
    const S *const near = p_ + target * call_.hidden, *const far = q_ + source * call_.hidden;
    if (weights) {
      for_each_vector<T>(call_.hidden, [&](std::int64_t f, int lanes) {
        store_lanes(nonlinear_.value(load_lanes<T>(near + f, lanes) + load_lanes<T>(far + f, lanes)), hidden + f,
                    lanes);
      });
    }
    fill_zeros(passed, call_.hidden);
    bool any = false;
    for_each_best(edge, [&](std::int64_t o) {
      any = true;
      if (!weight_) {
        passed[o] = share[o];
        return;
      }
      add_scaled(call_.hidden, share[o], weight_ + o * call_.hidden, passed);
      if (weights) add_scaled(call_.hidden, share[o], hidden, weights + o * call_.hidden);
    });
    if (!any) return;
    for_each_vector<T>(call_.hidden, [&](std::int64_t f, int lanes) {
      const Vec<T> z = load_lanes<T>(near + f, lanes) + load_lanes<T>(far + f, lanes);
      const Vec<T> more = nonlinear_.passed(load_lanes<T>(passed + f, lanes), z);
      store_lanes(load_lanes<T>(sum + f, lanes) + more, sum + f, lanes);
    });
  }

  void store_row(const T* sum, S* row) const {
    for_each_vector<T>(call_.hidden,
                       [&](std::int64_t f, int lanes) { store_lanes(load_lanes<T>(sum + f, lanes), row + f, lanes); });
  }

  void add_parts(const T* copies, std::int64_t parts, std::int64_t size, S* out) const {
    parallel_for(
        size, call_.threads,
        [&](std::int64_t begin, std::int64_t end) {
          for_each_vector<T>(end - begin, [&](std::int64_t i, int lanes) {
            Vec<T> total = Vec<T>::zero();
            for (std::int64_t part = 0; part < parts; ++part) {
              total += load_lanes<T>(copies + part * size + begin + i, lanes);
            }
            store_lanes(total, out + begin + i, lanes);
          });
        },
        1 << 12);
  }

  const EdgeMlpGradients& args_;
  const EdgeMlp& call_;
  Nonlinear<relu> nonlinear_;
  const S *p_, *q_;
  const T* weight_ = nullptr;
  T* share_ = nullptr;
};

}  // namespace

void edge_mlp_max_backward(const EdgeMlpGradients& args) {
  *args.call.valid = true;
  dispatch_edge_mlp(args.call, [&](auto type, auto nonlinear) {
    using S = typename decltype(type)::Type;
    Backward<S, decltype(nonlinear)::is_relu>(args, nonlinear).run();
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
