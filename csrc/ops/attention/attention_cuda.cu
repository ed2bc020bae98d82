// Forward: a block walks over the keys once with its tile of queries, keeping for each query the largest score, the sum
// of exponentials and the weighted sum of values, rescaled whenever a larger score turns up (online softmax).
#include "ops/attention/attention_tensor.cuh"

namespace nnzoo::cuda {
namespace {

// Multiply-adds in the compute type.
template <class T, int dim>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(AttentionInputs in, Dropout dropout, T* output, Accumulator<T>* statistics) {
  using A = Accumulator<T>;
  const Place place(in.heads, in.queries);
  const std::int64_t kv_head = place.head / (in.heads / in.kv_heads);
  const T* query = head_of<T>(in.query, in.query_stride, place.batch, place.head);
  const T* key = head_of<T>(in.key, in.key_stride, place.batch, kv_head);
  const T* value = head_of<T>(in.value, in.value_stride, place.batch, kv_head);
  A* const queries = dynamic_shared<A>();
  A* const keys = queries + kTile * pitch_of(in.head_dim);
  A* const values = keys + kTile * pitch_of(in.head_dim);
  A* const weights = values + kTile * pitch_of(in.value_dim);

  const std::int64_t row = place.first + tile_row();
  A best = -A(INFINITY);
  A total = A(0);
  A sums[dim / kLanesPerRow] = {};
  load_tile(queries, query, in.query_stride[2], place.first, in.queries, in.head_dim);
  for (std::int64_t first = 0; first < keys_seen(in, place.first); first += kTile) {
    __syncthreads();
    load_tile(keys, key, in.key_stride[2], first, in.keys, in.head_dim);
    load_tile(values, value, in.value_stride[2], first, in.keys, in.value_dim);
    __syncthreads();
    A scores[kPerLane];
    dot_products(scores, queries, keys, in.head_dim);
    A tile_best = -A(INFINITY);
#pragma unroll
    for (int j = 0; j < kPerLane; ++j) {
      const std::int64_t column = first + row_part() + j * kLanesPerRow;
      scores[j] = score_of(in, place.batch, place.head, row, column, scores[j]);
      tile_best = Max::combine(tile_best, scores[j]);
    }
    const A now = Max::combine(best, warp_reduce<Max, kLanesPerRow>(tile_best));
    // Before the first visible key there is nothing to subtract: exp(-inf) is 0, exp(-inf - -inf) is not.
    const A shift = now == -A(INFINITY) ? A(0) : now;
    const A decay = exponential(best - shift);
    A tile_total = A(0);
#pragma unroll
    for (int j = 0; j < kPerLane; ++j) {
      const int column = row_part() + j * kLanesPerRow;
      const A weight = exponential(scores[j] - shift);
      tile_total += weight;
      weights[tile_row() * kScorePitch + column] =
          weight * kept_factor<A>(in, dropout, place.batch, place.head, row, first + column);
    }
    total = total * decay + warp_reduce<Sum, kLanesPerRow>(tile_total);
    best = now;
#pragma unroll
    for (int j = 0; j < dim / kLanesPerRow; ++j) sums[j] *= decay;
    __syncwarp();
    add_products(sums, weights, values, in.value_dim);
  }
  const std::int64_t head = place.batch * in.heads + place.head;
  store_row(output + head * in.queries * in.value_dim, sums, total > A(0) || total != total ? A(1) / total : A(0),
            place.first, in.queries, in.value_dim);
  if (statistics && row_part() == 0 && row < in.queries)
    store_statistics(in, statistics, head * in.queries + row, best, total);
}

template <class T>
std::size_t shared_bytes(const AttentionInputs& in) {
  const int elements = 2 * kTile * pitch_of(in.head_dim) + kTile * pitch_of(in.value_dim) + kTile * kScorePitch;
  return elements * sizeof(Accumulator<T>);
}

}  // namespace

void attention_forward(const AttentionForward& args, Rung rung, void* stream) {
  const AttentionInputs& in = args.inputs;
  if (in.batch * in.heads * in.queries * in.value_dim == 0 && !args.statistics) return;
  if (in.batch * in.heads * in.queries == 0) return;
  if (rung == Rung::naive) return naive::attention_forward(args, stream);
  if (rung == Rung::hopper && runs_on_tensor_cores(in.dtype, rung) && hopper::attention_forward(args, stream)) return;
  const Dropout dropout(in.dropout_p);
  dispatch_dtype(in.dtype, [&](auto element) {
    using T = decltype(element);
    auto* output = static_cast<T*>(args.output);
    auto* statistics = static_cast<Accumulator<T>*>(args.statistics);
    dispatch_dim<T>(in.value_dim, [&](auto dim) {
      constexpr int kDim = decltype(dim)::value;
      if constexpr (sizeof(T) == 2) {
        if (rung >= Rung::pipelined && can_pipeline<T>(in))
          return launch_tensor_forward<T, kDim, kDim <= 128 ? 64 : 32, true>(in, dropout, output, statistics, stream);
        if (rung >= Rung::tensor)
          return launch_tensor_forward<T, kDim, kTile, false>(in, dropout, output, statistics, stream);
      }
      launch<forward_kernel<T, kDim>>(blocks_for(in.batch, in.heads, in.queries), kThreads, shared_bytes<T>(in), stream,
                                      in, dropout, output, statistics);
    });
  });
}

}  // namespace nnzoo::cuda
