// Backward. The scores are computed again from the saved statistics, tile by tile, three times: with a tile of queries
// held fast (grad_query), with a tile of keys (grad_key, grad_value), and with a tile of the mask. So every gradient is
// summed by one block, in a fixed order. attention.h has the formulas.
#include "ops/attention/attention_backward.cuh"

namespace nnzoo::cuda {
namespace {

// Four tiles of 32 rows in shared memory.
template <class A>
struct Tiles {
  A* queries;
  A* keys;
  A* values;
  A* grads;
  A* rest;

  __device__ explicit Tiles(const AttentionInputs& in)
      : queries(dynamic_shared<A>()),
        keys(queries + kTile * pitch_of(in.head_dim)),
        values(keys + kTile * pitch_of(in.head_dim)),
        grads(values + kTile * pitch_of(in.value_dim)),
        rest(grads + kTile * pitch_of(in.value_dim)) {}
};

template <class T, class A>
__device__ void load_query_side(const Tiles<A>& tiles, const AttentionInputs& in, const Saved<T>& saved,
                                std::int64_t batch, std::int64_t head, std::int64_t first) {
  const T* query = head_of<T>(in.query, in.query_stride, batch, head);
  const T* grad = saved.grad_output + (batch * in.heads + head) * in.queries * in.value_dim;
  load_tile(tiles.queries, query, in.query_stride[2], first, in.queries, in.head_dim);
  load_tile(tiles.grads, grad, in.value_dim, first, in.queries, in.value_dim);
}

template <class T, class A>
__device__ void load_key_side(const Tiles<A>& tiles, const AttentionInputs& in, std::int64_t batch,
                              std::int64_t kv_head, std::int64_t first) {
  const T* key = head_of<T>(in.key, in.key_stride, batch, kv_head);
  const T* value = head_of<T>(in.value, in.value_stride, batch, kv_head);
  load_tile(tiles.keys, key, in.key_stride[2], first, in.keys, in.head_dim);
  load_tile(tiles.values, value, in.value_stride[2], first, in.keys, in.value_dim);
}

template <class T>
__global__ void __launch_bounds__(kThreads, 1)
    delta_kernel(AttentionInputs in, Dropout dropout, Saved<T> saved, const T* output, Accumulator<T>* delta) {
  using A = Accumulator<T>;
  const Place place(in.heads, in.queries);
  const Tiles<A> tiles(in);
  const std::int64_t row = place.first + tile_row();
  const std::int64_t rows = in.batch * in.heads * in.queries;
  const std::int64_t at = (place.batch * in.heads + place.head) * in.queries + row;
  A mean = A(0);
  if (row < in.queries) {
    for (std::int64_t i = row_part(); i < in.value_dim; i += kLanesPerRow)
      mean += widen(saved.grad_output[at * in.value_dim + i]) * widen(output[at * in.value_dim + i]);
  }
  mean = warp_reduce<Sum, kLanesPerRow>(mean);
  A correction = A(0);
  const bool one_hot =
      row < in.queries && saved.statistics[at] != A(INFINITY) && saved.statistics[rows + at] < A(kNearlyOneHot);
  if (__syncthreads_or(one_hot)) {
    load_query_side(tiles, in, saved, place.batch, place.head, place.first);
    const QueryNumbers<A> numbers = numbers_of(in, saved, place.batch, place.head, row);
    for (std::int64_t first = 0; first < keys_seen(in, place.first); first += kTile) {
      __syncthreads();
      load_key_side<T>(tiles, in, place.batch, place.head / (in.heads / in.kv_heads), first);
      __syncthreads();
      A dots[kPerLane];
      A grad_dots[kPerLane];
      dot_products(dots, tiles.queries, tiles.keys, in.head_dim);
      dot_products(grad_dots, tiles.grads, tiles.values, in.value_dim);
#pragma unroll
      for (int j = 0; j < kPerLane; ++j) {
        const Weight<A> weight = weight_of(in, dropout, numbers, place.batch, place.head, row,
                                           first + row_part() + j * kLanesPerRow, dots[j], grad_dots[j]);
        correction += weight.plain * (weight.grad - mean);
      }
    }
    correction = warp_reduce<Sum, kLanesPerRow>(correction);
  }
  if (row >= in.queries || row_part() > 0) return;
  delta[at] = mean;
  delta[rows + at] = correction;
}

template <class T, int dim>
__global__ void __launch_bounds__(kThreads, 1)
    grad_query_kernel(AttentionInputs in, Dropout dropout, Saved<T> saved, T* grad_query) {
  using A = Accumulator<T>;
  const Place place(in.heads, in.queries);
  const Tiles<A> tiles(in);
  A* const grad_scores = tiles.rest;
  A sums[dim / kLanesPerRow] = {};
  load_query_side(tiles, in, saved, place.batch, place.head, place.first);
  const std::int64_t row = place.first + tile_row();
  const QueryNumbers<A> numbers = numbers_of(in, saved, place.batch, place.head, row);
  for (std::int64_t first = 0; first < keys_seen(in, place.first); first += kTile) {
    __syncthreads();
    load_key_side<T>(tiles, in, place.batch, place.head / (in.heads / in.kv_heads), first);
    __syncthreads();
    A dots[kPerLane];
    A grad_dots[kPerLane];
    dot_products(dots, tiles.queries, tiles.keys, in.head_dim);
    dot_products(grad_dots, tiles.grads, tiles.values, in.value_dim);
#pragma unroll
    for (int j = 0; j < kPerLane; ++j) {
      const int column = row_part() + j * kLanesPerRow;
      const Weight<A> weight =
          weight_of(in, dropout, numbers, place.batch, place.head, row, first + column, dots[j], grad_dots[j]);
      grad_scores[tile_row() * kScorePitch + column] = grad_score_of(numbers, weight);
    }
    __syncwarp();
    add_products(sums, grad_scores, tiles.keys, in.head_dim);
  }
  T* const to = grad_query + (place.batch * in.heads + place.head) * in.queries * in.head_dim;
  store_row(to, sums, A(in.scale), place.first, in.queries, in.head_dim);
}

// All query heads that share this head of key and value, one after another.
template <class T, int dim>
__global__ void __launch_bounds__(kThreads, 1)
    grad_key_value_kernel(AttentionInputs in, Dropout dropout, Saved<T> saved, T* grad_key, T* grad_value) {
  using A = Accumulator<T>;
  const Place place(in.kv_heads, in.keys);
  const Tiles<A> tiles(in);
  A* const weights = tiles.rest;
  A* const grad_scores = weights + kTile * kScorePitch;
  const std::int64_t group = in.heads / in.kv_heads;
  A key_sums[dim / kLanesPerRow] = {};
  A value_sums[dim / kLanesPerRow] = {};
  load_key_side<T>(tiles, in, place.batch, place.head, place.first);
  for (std::int64_t head = place.head * group; head < (place.head + 1) * group; ++head) {
    for (std::int64_t first = in.causal ? place.first : 0; first < in.queries; first += kTile) {
      __syncthreads();
      load_query_side(tiles, in, saved, place.batch, head, first);
      __syncthreads();
      A dots[kPerLane];
      A grad_dots[kPerLane];
      dot_products(dots, tiles.keys, tiles.queries, in.head_dim);
      dot_products(grad_dots, tiles.values, tiles.grads, in.value_dim);
#pragma unroll
      for (int j = 0; j < kPerLane; ++j) {
        const int column = row_part() + j * kLanesPerRow;
        const QueryNumbers<A> numbers = numbers_of(in, saved, place.batch, head, first + column);
        const Weight<A> weight = weight_of(in, dropout, numbers, place.batch, head, first + column,
                                           place.first + tile_row(), dots[j], grad_dots[j]);
        weights[tile_row() * kScorePitch + column] = weight.kept;
        grad_scores[tile_row() * kScorePitch + column] = grad_score_of(numbers, weight);
      }
      __syncwarp();
      add_products(key_sums, grad_scores, tiles.queries, in.head_dim);
      add_products(value_sums, weights, tiles.grads, in.value_dim);
    }
  }
  const std::int64_t rows = (place.batch * in.kv_heads + place.head) * in.keys;
  if (grad_key) store_row(grad_key + rows * in.head_dim, key_sums, A(in.scale), place.first, in.keys, in.head_dim);
  if (grad_value) store_row(grad_value + rows * in.value_dim, value_sums, A(1), place.first, in.keys, in.value_dim);
}

template <class T>
__global__ void __launch_bounds__(kThreads, 1)
    grad_mask_kernel(AttentionInputs in, Dropout dropout, Saved<T> saved, MaskShape mask, Accumulator<T>* grad_mask) {
  using A = Accumulator<T>;
  const Tiles<A> tiles(in);
  A* const sums = tiles.rest;
  const MaskPlace<kTile> place(in, mask);
  A own[kPerLane] = {};
  for (std::int64_t batch = place.batch; batch < in.batch; batch += mask.size[0]) {
    for (std::int64_t head = place.head; head < in.heads; head += mask.size[1]) {
      for (std::int64_t query = place.first_query; query < place.last_query; query += kTile) {
        for (std::int64_t key = place.first_key; key < place.last_key; key += kTile) {
          __syncthreads();
          load_query_side(tiles, in, saved, batch, head, query);
          load_key_side<T>(tiles, in, batch, head / (in.heads / in.kv_heads), key);
          __syncthreads();
          A dots[kPerLane];
          A grad_dots[kPerLane];
          dot_products(dots, tiles.queries, tiles.keys, in.head_dim);
          dot_products(grad_dots, tiles.grads, tiles.values, in.value_dim);
          const QueryNumbers<A> numbers = numbers_of(in, saved, batch, head, query + tile_row());
#pragma unroll
          for (int j = 0; j < kPerLane; ++j) {
            const Weight<A> weight = weight_of(in, dropout, numbers, batch, head, query + tile_row(),
                                               key + row_part() + j * kLanesPerRow, dots[j], grad_dots[j]);
            own[j] += grad_score_of(numbers, weight);
          }
        }
      }
    }
  }

#pragma unroll
  for (int j = 0; j < kPerLane; ++j) sums[tile_row() * kScorePitch + row_part() + j * kLanesPerRow] = own[j];
  __syncthreads();
  store_mask(grad_mask, sums, mask, place);
}

template <class T>
std::size_t shared_bytes(const AttentionInputs& in) {
  const int elements = 2 * kTile * (pitch_of(in.head_dim) + pitch_of(in.value_dim)) + 2 * kTile * kScorePitch;
  return elements * sizeof(Accumulator<T>);
}

}  // namespace

void attention_delta(const AttentionBackward& args, void* delta, Rung rung, void* stream) {
  const AttentionInputs& in = args.inputs;
  if (rung == Rung::naive) return naive::attention_delta(args, delta, stream);
  if (runs_on_tensor_cores(in.dtype, rung)) return tensor::attention_delta(args, delta, rung, stream);
  const unsigned blocks = blocks_for(in.batch, in.heads, in.queries);
  if (blocks == 0) return;
  const Dropout dropout(in.dropout_p);
  dispatch_dtype(in.dtype, [&](auto element) {
    using T = decltype(element);
    launch<delta_kernel<T>>(blocks, kThreads, shared_bytes<T>(in), stream, in, dropout,
                            saved_of<T>(args.grad_output, args.statistics, nullptr), static_cast<const T*>(args.output),
                            static_cast<Accumulator<T>*>(delta));
  });
}

void attention_backward(const AttentionBackward& args, const void* delta, Rung rung, void* stream) {
  const AttentionInputs& in = args.inputs;
  if (rung == Rung::naive) return naive::attention_backward(args, delta, stream);
  if (runs_on_tensor_cores(in.dtype, rung)) return tensor::attention_backward(args, delta, rung, stream);
  const Dropout dropout(in.dropout_p);
  dispatch_dtype(in.dtype, [&](auto element) {
    using T = decltype(element);
    const Saved<T> saved = saved_of<T>(args.grad_output, args.statistics, delta);
    dispatch_dim<T>(in.head_dim > in.value_dim ? in.head_dim : in.value_dim, [&](auto dim) {
      constexpr int kDim = decltype(dim)::value;
      const unsigned query_blocks = blocks_for(in.batch, in.heads, in.queries);
      const unsigned key_blocks = blocks_for(in.batch, in.kv_heads, in.keys);
      if (args.grad_query && query_blocks > 0)
        launch<grad_query_kernel<T, kDim>>(query_blocks, kThreads, shared_bytes<T>(in), stream, in, dropout, saved,
                                           static_cast<T*>(args.grad_query));
      if ((args.grad_key || args.grad_value) && key_blocks > 0)
        launch<grad_key_value_kernel<T, kDim>>(key_blocks, kThreads, shared_bytes<T>(in), stream, in, dropout, saved,
                                               static_cast<T*>(args.grad_key), static_cast<T*>(args.grad_value));
    });
  });
}

void attention_mask_backward(const AttentionMaskBackward& args, const std::int64_t (&mask_size)[4], const void* delta,
                             Rung rung, void* stream) {
  const AttentionInputs& in = args.inputs;
  if (rung == Rung::naive) return naive::attention_mask_backward(args, mask_size, delta, stream);
  if (runs_on_tensor_cores(in.dtype, rung))
    return tensor::attention_mask_backward(args, mask_size, delta, rung, stream);
  const Dropout dropout(in.dropout_p);
  const MaskShape mask = mask_shape(mask_size, args.grad_mask_stride);
  const unsigned blocks = mask_blocks<kTile>(mask);
  if (blocks == 0) return;
  dispatch_dtype(in.dtype, [&](auto element) {
    using T = decltype(element);
    launch<grad_mask_kernel<T>>(blocks, kThreads, shared_bytes<T>(in), stream, in, dropout,
                                saved_of<T>(args.grad_output, args.statistics, delta), mask,
                                static_cast<Accumulator<T>*>(args.grad_mask));
  });
}

}  // namespace nnzoo::cuda
