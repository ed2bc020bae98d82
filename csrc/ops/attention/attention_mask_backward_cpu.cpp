// The gradient of an additive mask. A task owns the part of grad_mask that one batch entry, head and tile of queries of
// the mask covers, and adds up, in order, the calls' heads and tiles that share it. Recomputing the scores' gradient
// here costs two more products, but no task ever waits for another, and a broadcast mask's sum is the same for any
// thread count.
#include "ops/attention/attention_gradients.h"

namespace nnzoo {
namespace NNZOO_ISA {

template <class S, int vectors>
void mask_tile(const AttentionMaskBackward& args, const Head<S>& head, const QueryTile& queries, Compute<S>* out) {
  using T = Compute<S>;
  const std::int64_t query_stride = args.grad_mask_stride[2], key_stride = args.grad_mask_stride[3];
  Scratch scratch;
  T* const turned = scratch.take<T>(queries.count * key_block<T>);
  const Upstream upstream{args.output, args.grad_output, args.statistics};
  GradientTile<S, vectors> tile(head, upstream, queries, Ahead<S>(), T(1), scratch);
  for (std::int64_t begin = queries.begin; begin < queries.end; begin += key_block<T>) {
    const std::int64_t n = queries.end - begin < key_block<T> ? queries.end - begin : key_block<T>;
    if (!tile.compute(begin, n)) continue;
    add_to_mask<T, vectors * Vec<T>::width>(tile.grads, n, queries.count, T(1), query_stride, key_stride,
                                            out + begin * key_stride, turned);
  }
}

void attention_mask_backward(const AttentionMaskBackward& args) {
  const AttentionInputs& in = args.inputs;
  const std::int64_t* const stride = args.grad_mask_stride;
  const std::int64_t batches = stride[0] ? in.batch : 1, heads = stride[1] ? in.heads : 1;
  dispatch_dtype(in.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    using T = Compute<S>;
    Scratch scratch;
    const QueryTiles tiles(in, Tile<T>::columns, scratch);
    const std::int64_t tasks = stride[2] ? tiles.count() : 1;  // per batch entry and head of the mask
    parallel_for_dynamic(batches * heads * tasks, useful_threads(in), [&](std::int64_t task) {
      const std::int64_t own_batch = task / tasks / heads, own_head = task / tasks % heads;
      const std::int64_t begin = task % tasks, end = tasks == 1 ? tiles.count() : begin + 1;
      T* const out = static_cast<T*>(args.grad_mask) + own_batch * stride[0] + own_head * stride[1];
      for (std::int64_t b = own_batch; b < in.batch; b += batches) {
        for (std::int64_t h = own_head; h < in.heads; h += heads) {
          const Head<S> head(in, b, h);
          for (std::int64_t index = begin; index < end; ++index) {
            const QueryTile tile = tiles[index];
            dispatch_lanes<T>(tile.count, [&](auto lanes) {
              mask_tile<S, decltype(lanes)::vectors>(args, head, tile, out + tile.first * stride[2]);
            });
          }
        }
      }
    });
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
