// Backward on the tensor cores, for bf16 and fp16: the products of attention_fragments.cuh. As in
// attention_backward_cuda.cu every gradient is summed by one block, in a fixed order; the scores and the gradients of
// the weights have the same bits in every kernel here and in forward.
#include "ops/attention/attention_backward.cuh"
#include "ops/attention/attention_fragments.cuh"

namespace nnzoo::cuda::tensor {
namespace {

// Tiles of the side that a block holds fast, `rows` rows, and of the other, `columns` rows.
template <class T>
struct Tiles {
  T* queries;
  T* keys;
  T* values;
  T* grads;
  void* rest;

  __device__ Tiles(const AttentionInputs& in, int query_rows, int key_rows)
      : queries(dynamic_shared<T>()),
        keys(queries + query_rows * tensor_pitch(in.head_dim)),
        values(keys + key_rows * tensor_pitch(in.head_dim)),
        grads(values + key_rows * tensor_pitch(in.value_dim)),
        rest(grads + query_rows * tensor_pitch(in.value_dim)) {}

  __device__ void load_query_side(const AttentionInputs& in, const Saved<T>& saved, std::int64_t batch,
                                  std::int64_t head, std::int64_t first, int rows) const {
    const T* query = head_of<T>(in.query, in.query_stride, batch, head);
    const T* grad = saved.grad_output + (batch * in.heads + head) * in.queries * in.value_dim;
    load_tensor_tile(queries, rows, query, in.query_stride[2], first, in.queries, in.head_dim);
    load_tensor_tile(grads, rows, grad, in.value_dim, first, in.queries, in.value_dim);
  }

  __device__ void load_key_side(const AttentionInputs& in, std::int64_t batch, std::int64_t kv_head, std::int64_t first,
                                int rows) const {
    const T* key = head_of<T>(in.key, in.key_stride, batch, kv_head);
    const T* value = head_of<T>(in.value, in.value_stride, batch, kv_head);
    load_tensor_tile(keys, rows, key, in.key_stride[2], first, in.keys, in.head_dim);
    load_tensor_tile(values, rows, value, in.value_stride[2], first, in.keys, in.value_dim);
  }
};

std::size_t tile_bytes(const AttentionInputs& in) {
  return (kTensorRows + kTile) * (tensor_pitch(in.head_dim) + tensor_pitch(in.value_dim)) * 2;
}

// Calls visit(tile, i, weight) for the weights between 64 queries, whose tiles are loaded, and 32 keys.
template <class T, class Visit>
__device__ void visit_weights(const AttentionInputs& in, const Dropout& dropout, const Tiles<T>& tiles,
                              const QueryNumbers<float> (&numbers)[2], std::int64_t batch, std::int64_t head,
                              std::int64_t first_query, std::int64_t first_key, Visit visit) {
  float dots[kFragments][4];
  float grad_dots[kFragments][4];
  row_products(dots, tiles.queries, tiles.keys, in.head_dim);
  row_products(grad_dots, tiles.grads, tiles.values, in.value_dim);
#pragma unroll
  for (int tile = 0; tile < kFragments; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      visit(tile, i,
            weight_of(in, dropout, numbers[i / 2], batch, head, first_query + fragment_row(i),
                      first_key + fragment_column(tile, i), dots[tile][i], grad_dots[tile][i]));
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kTensorThreads)
    delta_kernel(AttentionInputs in, Dropout dropout, Saved<T> saved, const T* output, float* delta) {
  const Place place(in.heads, in.queries, kTensorRows);
  const Tiles<T> tiles(in, kTensorRows, kTile);
  const std::int64_t rows = in.batch * in.heads * in.queries;
  QueryNumbers<float> numbers[2];
  bool one_hot = false;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int64_t row = place.first + fragment_row(half * 2);
    numbers[half] = numbers_of(in, saved, place.batch, place.head, row);
    one_hot |= numbers[half].best != INFINITY && numbers[half].logarithm_of_sum < static_cast<float>(kNearlyOneHot);
    const std::int64_t at = ((place.batch * in.heads + place.head) * in.queries + row) * in.value_dim;
    float mean = 0.0f;
    if (row < in.queries) {
      for (std::int64_t i = threadIdx.x % 4; i < in.value_dim; i += 4)
        mean += widen(saved.grad_output[at + i]) * widen(output[at + i]);
    }
    numbers[half].mean = warp_reduce<Sum, 4>(mean);
  }
  if (__syncthreads_or(one_hot)) {
    tiles.load_query_side(in, saved, place.batch, place.head, place.first, kTensorRows);
    const std::int64_t end = keys_seen(in, place.first, kTensorRows);
    for (std::int64_t first = 0; first < end; first += kTile) {
      __syncthreads();
      tiles.load_key_side(in, place.batch, place.head / (in.heads / in.kv_heads), first, kTile);
      __syncthreads();
      visit_weights(in, dropout, tiles, numbers, place.batch, place.head, place.first, first,
                    [&](int, int i, const Weight<float>& weight) {
                      numbers[i / 2].correction += weight.plain * (weight.grad - numbers[i / 2].mean);
                    });
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int64_t row = place.first + fragment_row(half * 2);
    const float correction = warp_reduce<Sum, 4>(numbers[half].correction);
    if (row >= in.queries || threadIdx.x % 4 > 0) continue;
    const std::int64_t at = (place.batch * in.heads + place.head) * in.queries + row;
    delta[at] = numbers[half].mean;
    delta[rows + at] = correction;
  }
}

template <class T, int dim>
__global__ void __launch_bounds__(kTensorThreads)
    grad_query_kernel(AttentionInputs in, Dropout dropout, Saved<T> saved, T* grad_query) {
  const Place place(in.heads, in.queries, kTensorRows);
  const Tiles<T> tiles(in, kTensorRows, kTile);
  const QueryNumbers<float> numbers[2] = {
      numbers_of(in, saved, place.batch, place.head, place.first + fragment_row(0)),
      numbers_of(in, saved, place.batch, place.head, place.first + fragment_row(2))};
  float sums[dim / 8][4] = {};
  tiles.load_query_side(in, saved, place.batch, place.head, place.first, kTensorRows);
  const std::int64_t end = keys_seen(in, place.first, kTensorRows);
  for (std::int64_t first = 0; first < end; first += kTile) {
    __syncthreads();
    tiles.load_key_side(in, place.batch, place.head / (in.heads / in.kv_heads), first, kTile);
    __syncthreads();
    float grad_scores[kFragments][4];
    visit_weights(in, dropout, tiles, numbers, place.batch, place.head, place.first, first,
                  [&](int tile, int i, const Weight<float>& weight) {
                    grad_scores[tile][i] = grad_score_of(numbers[i / 2], weight);
                  });
    add_tile(sums, grad_scores, tiles.keys, in.head_dim);
  }
  const float factor[2] = {static_cast<float>(in.scale), static_cast<float>(in.scale)};
  T* const to = grad_query + (place.batch * in.heads + place.head) * in.queries * in.head_dim;
  store_fragments(to, sums, factor, place.first, in.queries, in.head_dim);
}

// The gradients of key and value together, or of one of them: for the largest heads the registers don't hold both sums.
// A block holds 64 keys and walks over the queries of all heads that share this head of key and value. The scores are
// computed transposed, so that they lie in the registers as the products with query and grad_output read them.
template <class T, int dim, bool of_key, bool of_value>
__global__ void __launch_bounds__(kTensorThreads)
    grad_key_value_kernel(AttentionInputs in, Dropout dropout, Saved<T> saved, T* grad_key, T* grad_value) {
  const Place place(in.kv_heads, in.keys, kTensorRows);
  const Tiles<T> tiles(in, kTile, kTensorRows);
  auto* const numbers = static_cast<QueryNumbers<float>*>(tiles.rest);
  const std::int64_t group = in.heads / in.kv_heads;
  float key_sums[of_key ? dim / 8 : 2][4] = {};
  float value_sums[of_value ? dim / 8 : 2][4] = {};
  tiles.load_key_side(in, place.batch, place.head, place.first, kTensorRows);
  for (std::int64_t head = place.head * group; head < (place.head + 1) * group; ++head) {
    for (std::int64_t first = in.causal ? place.first : 0; first < in.queries; first += kTile) {
      __syncthreads();
      tiles.load_query_side(in, saved, place.batch, head, first, kTile);
      if (threadIdx.x < kTile) {
        // Field by field: the checker does not follow a struct that a function returns into its place.
        const QueryNumbers<float> own = numbers_of(in, saved, place.batch, head, first + threadIdx.x);
        numbers[threadIdx.x].best = own.best;
        numbers[threadIdx.x].logarithm_of_sum = own.logarithm_of_sum;
        numbers[threadIdx.x].mean = own.mean;
        numbers[threadIdx.x].correction = own.correction;
      }
      __syncthreads();
      float weights[kFragments][4];
      float grad_scores[kFragments][4] = {};
      row_products(weights, tiles.keys, tiles.queries, in.head_dim);
      if constexpr (of_key) row_products(grad_scores, tiles.values, tiles.grads, in.value_dim);
#pragma unroll
      for (int tile = 0; tile < kFragments; ++tile) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int column = fragment_column(tile, i);
          const Weight<float> weight = weight_of(in, dropout, numbers[column], place.batch, head, first + column,
                                                 place.first + fragment_row(i), weights[tile][i], grad_scores[tile][i]);
          weights[tile][i] = weight.kept;
          grad_scores[tile][i] = grad_score_of(numbers[column], weight);
        }
      }
      if constexpr (of_value) add_tile(value_sums, weights, tiles.grads, in.value_dim);
      if constexpr (of_key) add_tile(key_sums, grad_scores, tiles.queries, in.head_dim);
    }
  }
  const std::int64_t rows = (place.batch * in.kv_heads + place.head) * in.keys;
  const float factor[2] = {static_cast<float>(in.scale), static_cast<float>(in.scale)};
  const float one[2] = {1.0f, 1.0f};
  if constexpr (of_key) {
    if (grad_key) store_fragments(grad_key + rows * in.head_dim, key_sums, factor, place.first, in.keys, in.head_dim);
  }
  if constexpr (of_value) {
    if (grad_value)
      store_fragments(grad_value + rows * in.value_dim, value_sums, one, place.first, in.keys, in.value_dim);
  }
}

template <class T>
__global__ void __launch_bounds__(kTensorThreads)
    grad_mask_kernel(AttentionInputs in, Dropout dropout, Saved<T> saved, MaskShape mask, float* grad_mask) {
  const Tiles<T> tiles(in, kTensorRows, kTile);
  const MaskPlace<kTensorRows> place(in, mask);
  float* const sums = static_cast<float*>(tiles.rest);
  float own[kFragments][4] = {};
  for (std::int64_t batch = place.batch; batch < in.batch; batch += mask.size[0]) {
    for (std::int64_t head = place.head; head < in.heads; head += mask.size[1]) {
      for (std::int64_t query = place.first_query; query < place.last_query; query += kTensorRows) {
        const QueryNumbers<float> numbers[2] = {numbers_of(in, saved, batch, head, query + fragment_row(0)),
                                                numbers_of(in, saved, batch, head, query + fragment_row(2))};
        __syncthreads();
        tiles.load_query_side(in, saved, batch, head, query, kTensorRows);
        for (std::int64_t key = place.first_key; key < place.last_key; key += kTile) {
          __syncthreads();
          tiles.load_key_side(in, batch, head / (in.heads / in.kv_heads), key, kTile);
          __syncthreads();
          visit_weights(in, dropout, tiles, numbers, batch, head, query, key,
                        [&](int tile, int i, const Weight<float>& weight) {
                          own[tile][i] += grad_score_of(numbers[i / 2], weight);
                        });
        }
      }
    }
  }
#pragma unroll
  for (int tile = 0; tile < kFragments; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[fragment_row(i) * kScorePitch + fragment_column(tile, i)] = own[tile][i];
  }
  __syncthreads();
  store_mask(grad_mask, sums, mask, place);
}

template <class Run>
void dispatch_half(DType dtype, Run run) {
  return dtype == DType::float16 ? run(__half()) : run(__nv_bfloat16());
}

}  // namespace

void attention_delta(const AttentionBackward& args, void* delta, void* stream) {
  const AttentionInputs& in = args.inputs;
  const unsigned blocks = blocks_for(in.batch, in.heads, in.queries, kTensorRows);
  if (blocks == 0) return;
  const Dropout dropout(in.dropout_p);
  dispatch_half(in.dtype, [&](auto element) {
    using T = decltype(element);
    launch<delta_kernel<T>>(blocks, kTensorThreads, tile_bytes(in), stream, in, dropout,
                            saved_of<T>(args.grad_output, args.statistics, nullptr), static_cast<const T*>(args.output),
                            static_cast<float*>(delta));
  });
}

void attention_backward(const AttentionBackward& args, const void* delta, void* stream) {
  const AttentionInputs& in = args.inputs;
  const Dropout dropout(in.dropout_p);
  const unsigned query_blocks = blocks_for(in.batch, in.heads, in.queries, kTensorRows);
  const unsigned key_blocks = blocks_for(in.batch, in.kv_heads, in.keys, kTensorRows);
  const std::size_t key_bytes = tile_bytes(in) + kTile * sizeof(QueryNumbers<float>);
  dispatch_half(in.dtype, [&](auto element) {
    using T = decltype(element);
    const Saved<T> saved = saved_of<T>(args.grad_output, args.statistics, delta);
    auto* const grad_query = static_cast<T*>(args.grad_query);
    auto* const grad_key = static_cast<T*>(args.grad_key);
    auto* const grad_value = static_cast<T*>(args.grad_value);
    dispatch_dim<T>(in.head_dim > in.value_dim ? in.head_dim : in.value_dim, [&](auto dim) {
      constexpr int kDim = decltype(dim)::value;
      const auto launch_keys = [&](auto of_key, auto of_value) {
        launch<grad_key_value_kernel<T, kDim, of_key(), of_value()>>(key_blocks, kTensorThreads, key_bytes, stream, in,
                                                                     dropout, saved, grad_key, grad_value);
      };
      if (grad_query && query_blocks > 0)
        launch<grad_query_kernel<T, kDim>>(query_blocks, kTensorThreads, tile_bytes(in), stream, in, dropout, saved,
                                           grad_query);
      if (key_blocks == 0) return;
      if constexpr (kDim <= 128) {
        if (grad_key || grad_value) launch_keys(std::true_type(), std::true_type());
      } else {
        if (grad_key) launch_keys(std::true_type(), std::false_type());
        if (grad_value) launch_keys(std::false_type(), std::true_type());
      }
    });
  });
}

void attention_mask_backward(const AttentionMaskBackward& args, const std::int64_t (&mask_size)[4], const void* delta,
                             void* stream) {
  const AttentionInputs& in = args.inputs;
  const MaskShape mask = mask_shape(mask_size, args.grad_mask_stride);
  const unsigned blocks = mask_blocks<kTensorRows>(mask);
  if (blocks == 0) return;
  const std::size_t bytes = tile_bytes(in) + kTensorRows * kScorePitch * sizeof(float);
  dispatch_half(in.dtype, [&](auto element) {
    using T = decltype(element);
    launch<grad_mask_kernel<T>>(blocks, kTensorThreads, bytes, stream, in, Dropout(in.dropout_p),
                                saved_of<T>(args.grad_output, args.statistics, delta), mask,
                                static_cast<float*>(args.grad_mask));
  });
}

}  // namespace nnzoo::cuda::tensor
