#include "common/vmath.h"
#include "ops/edge_softmax/edge_softmax.h"
#include "ops/gather_scatter/schedule.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// Calls `body(edges, count, head, lanes)` for the edges of each target and each vector of heads.
template <class T, class Body>
void for_each_group(const EdgeGroups& in, std::int64_t heads, int threads, bool* valid, const Body& body) {
  *valid = true;
  const std::int64_t largest = largest_group(in);
  if (largest < 0) return mark_invalid(valid);
  const Plan plan = Plan::make<T>(in, largest, heads, threads);
  const Blocks blocks{in, plan.blocks};
  parallel_for_dynamic(plan.blocks, plan.threads, [&](std::int64_t block) {
    const Range rows{blocks.first(block), blocks.first(block + 1)};
    if (!valid_positions(in, {in.start[rows.begin], in.start[rows.end]}, true)) return mark_invalid(valid);
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      for_each_vector<T>(heads, [&](std::int64_t head, int lanes) {
        body(in.edge + in.start[row], in.start[row + 1] - in.start[row], head, lanes);
      });
    }
  });
}

}  // namespace

void edge_softmax_forward(const EdgeSoftmaxForward& args) {
  dispatch_dtype(args.dtype, [&](auto type) {
    using S = typename decltype(type)::Type;
    using T = Compute<S>;
    const S* const scores = static_cast<const S*>(args.scores);
    S* const out = static_cast<S*>(args.out);
    for_each_group<T>(args.in, args.heads, args.threads, args.valid,
                      [&](const std::int32_t* edges, std::int32_t count, std::int64_t head, int lanes) {
                        const auto score = [&](std::int32_t k) {
                          return Vec<T>::load(scores + edges[k] * args.heads + head, lanes);
                        };
                        Vec<T> top = Vec<T>::set(-T(__builtin_inf())), total = Vec<T>::zero();
                        for (std::int32_t k = 0; k < count; ++k)
                          top = select(is_nan(score(k)), score(k), max(score(k), top));
                        for (std::int32_t k = 0; k < count; ++k) total += exp(score(k) - top);
                        for (std::int32_t k = 0; k < count; ++k) {
                          (exp(score(k) - top) / total).store(out + edges[k] * args.heads + head, lanes);
                        }
                      });
  });
}

void edge_softmax_backward(const EdgeSoftmaxBackward& args) {
  dispatch_dtype(args.dtype, [&](auto type) {
    using S = typename decltype(type)::Type;
    using T = Compute<S>;
    const S *const grad = static_cast<const S*>(args.grad), *const out = static_cast<const S*>(args.out);
    S* const grad_scores = static_cast<S*>(args.grad_scores);
    for_each_group<T>(args.in, args.heads, args.threads, args.valid,
                      [&](const std::int32_t* edges, std::int32_t count, std::int64_t head, int lanes) {
                        Vec<T> mean = Vec<T>::zero();
                        for (std::int32_t k = 0; k < count; ++k) {
                          const std::int64_t at = edges[k] * args.heads + head;
                          mean = fma(Vec<T>::load(out + at, lanes), Vec<T>::load(grad + at, lanes), mean);
                        }
                        for (std::int32_t k = 0; k < count; ++k) {
                          const std::int64_t at = edges[k] * args.heads + head;
                          const Vec<T> share = Vec<T>::load(out + at, lanes);
                          (share * (Vec<T>::load(grad + at, lanes) - mean)).store(grad_scores + at, lanes);
                        }
                      });
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
