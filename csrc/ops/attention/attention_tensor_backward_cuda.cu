// Backward on the tensor cores, for bf16 and fp16: the products of attention_fragments.cuh. As in
// attention_backward_cuda.cu every gradient is summed by one block, in a fixed order; the scores and the gradients of
// the weights have the same bits in every kernel here and in forward.
#include "ops/attention/attention_tensor_backward.cuh"

namespace nnzoo::cuda::tensor {
namespace {

// Calls visit(tile, i, weight) for the weights between 64 queries and 32 keys.
template <class T, class Visit>
__device__ void visit_weights(const AttentionInputs& in, const Dropout& dropout, const SideTile<T>& queries,
                              const SideTile<T>& keys, const QueryNumbers<float> (&numbers)[2], std::int64_t batch,
                              std::int64_t head, std::int64_t first_query, std::int64_t first_key, Visit visit) {
  float dots[kFragments][4];
  float grad_dots[kFragments][4];
  row_products(dots, queries.heads, keys.heads, in.head_dim);
  row_products(grad_dots, queries.values, keys.values, in.value_dim);
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

// Walks over the keys `begin` to `end` of one head with 64 queries, which are loaded here, and visits their weights.
template <int stages, class T, class Visit>
__device__ void walk_keys(const AttentionInputs& in, const Saved<T>& saved, std::int64_t batch, std::int64_t head,
                          std::int64_t first_query, std::int64_t begin, std::int64_t end, Visit visit) {
  const SideTile<T> queries(in, dynamic_shared<T>(), kTensorRows);
  const Side<T> keys = key_side<T>(in, batch, head / (in.heads / in.kv_heads));
  const auto tile_at = [&](int place) {
    return SideTile<T>(in, dynamic_shared<T>() + tile_size(in, kTensorRows + place * kTile), kTile);
  };
  queries.template load<(stages > 0)>(in, query_side(in, saved, batch, head), first_query);
  walk<stages>(
      ceil_div<std::int64_t>(end - begin, kTile),
      [&](int place, std::int64_t i) { tile_at(place).template load<(stages > 0)>(in, keys, begin + i * kTile); },
      [&](int place, std::int64_t i) { visit(queries, tile_at(place), begin + i * kTile); });
}

template <class T, int stages>
__global__ void __launch_bounds__(kTensorThreads, 1)
    delta_kernel(AttentionInputs in, Dropout dropout, Saved<T> saved, const T* output, float* delta) {
  const Place place(in.heads, in.queries, kTensorRows);
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
    walk_keys<stages>(in, saved, place.batch, place.head, place.first, 0, keys_seen(in, place.first, kTensorRows),
                      [&](const SideTile<T>& queries, const SideTile<T>& keys, std::int64_t first) {
                        visit_weights(in, dropout, queries, keys, numbers, place.batch, place.head, place.first, first,
                                      [&](int, int i, const Weight<float>& weight) {
                                        numbers[i / 2].correction += weight.plain * (weight.grad - numbers[i / 2].mean);
                                      });
                      });
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

template <class T, int dim, int stages>
__global__ void __launch_bounds__(kTensorThreads)
    grad_query_kernel(AttentionInputs in, Dropout dropout, Saved<T> saved, T* grad_query) {
  const Place place(in.heads, in.queries, kTensorRows);
  const QueryNumbers<float> numbers[2] = {
      numbers_of(in, saved, place.batch, place.head, place.first + fragment_row(0)),
      numbers_of(in, saved, place.batch, place.head, place.first + fragment_row(2))};
  RowSums<T, dim / 8> sums;
  walk_keys<stages>(in, saved, place.batch, place.head, place.first, 0, keys_seen(in, place.first, kTensorRows),
                    [&](const SideTile<T>& queries, const SideTile<T>& keys, std::int64_t first) {
                      float grad_scores[kFragments][4];
                      visit_weights(in, dropout, queries, keys, numbers, place.batch, place.head, place.first, first,
                                    [&](int tile, int i, const Weight<float>& weight) {
                                      grad_scores[tile][i] = grad_score_of(numbers[i / 2], weight);
                                    });
                      sums.add(grad_scores, keys.heads, in.head_dim);
                    });
  T* const to = grad_query + (place.batch * in.heads + place.head) * in.queries * in.head_dim;
  sums.store(to, static_cast<float>(in.scale), place.first, in.queries, in.head_dim);
}

// The four numbers of 32 queries. Zeros for those beyond the last, which `weight_of` hides.
template <int stages, class T>
__device__ void load_numbers(QueryNumbers<float>* numbers, const AttentionInputs& in, const Saved<T>& saved,
                             std::int64_t batch, std::int64_t head, std::int64_t first) {
  static_assert(kTensorThreads == kTile * 4);
  const std::int64_t rows = in.batch * in.heads * in.queries;
  const int query = threadIdx.x % kTile;
  const int which = threadIdx.x / kTile;
  const bool there = first + query < in.queries;
  const std::int64_t row = (batch * in.heads + head) * in.queries + first + query;
  const float* const from = (which < 2 ? saved.statistics : saved.delta) + (which % 2) * rows;
  float* const to = reinterpret_cast<float*>(numbers + query) + which;
  if constexpr (stages > 0)
    cp_async<4>(to, there ? from + row : from, there ? 4 : 0);
  else
    *to = there ? from[row] : 0.0f;
}

// The gradients of key and value together, or of one of them: for the largest heads the registers don't hold both sums.
// A block holds 64 keys and walks over the queries of all heads that share this head of key and value. The scores are
// computed transposed, so that they lie in the registers as the products with query and grad_output read them.
template <class T, int dim, bool of_key, bool of_value, int stages>
__global__ void __launch_bounds__(kTensorThreads)
    grad_key_value_kernel(AttentionInputs in, Dropout dropout, Saved<T> saved, T* grad_key, T* grad_value) {
  const Place place(in.kv_heads, in.keys, kTensorRows);
  const std::int64_t group = in.heads / in.kv_heads;
  const std::int64_t begin = in.causal ? place.first : 0;
  const std::int64_t tiles = begin < in.queries ? ceil_div<std::int64_t>(in.queries - begin, kTile) : 0;
  const SideTile<T> keys(in, dynamic_shared<T>(), kTensorRows);
  const auto tile_at = [&](int at) {
    return SideTile<T>(in, dynamic_shared<T>() + tile_size(in, kTensorRows + at * kTile), kTile);
  };
  const auto numbers_at = [&](int at) {
    T* const end = dynamic_shared<T>() + tile_size(in, kTensorRows + places_for(stages) * kTile);
    return reinterpret_cast<QueryNumbers<float>*>(end) + at * kTile;
  };
  RowSums<T, of_key ? dim / 8 : 2> key_sums;
  RowSums<T, of_value ? dim / 8 : 2> value_sums;
  keys.template load<(stages > 0)>(in, key_side<T>(in, place.batch, place.head), place.first);
  walk<stages>(
      group * tiles,
      [&](int at, std::int64_t i) {
        const std::int64_t head = place.head * group + i / tiles;
        const std::int64_t first = begin + i % tiles * kTile;
        tile_at(at).template load<(stages > 0)>(in, query_side(in, saved, place.batch, head), first);
        load_numbers<stages>(numbers_at(at), in, saved, place.batch, head, first);
      },
      [&](int at, std::int64_t i) {
        const std::int64_t head = place.head * group + i / tiles;
        const std::int64_t first = begin + i % tiles * kTile;
        const SideTile<T> queries = tile_at(at);
        const QueryNumbers<float>* const numbers = numbers_at(at);
        float weights[kFragments][4];
        float grad_scores[kFragments][4] = {};
        row_products(weights, keys.heads, queries.heads, in.head_dim);
        if constexpr (of_key) row_products(grad_scores, keys.values, queries.values, in.value_dim);
#pragma unroll
        for (int tile = 0; tile < kFragments; ++tile) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            const int column = fragment_column(tile, j);
            const Weight<float> weight =
                weight_of(in, dropout, numbers[column], place.batch, head, first + column,
                          place.first + fragment_row(j), weights[tile][j], grad_scores[tile][j]);
            weights[tile][j] = weight.kept;
            grad_scores[tile][j] = grad_score_of(numbers[column], weight);
          }
        }
        if constexpr (of_value) value_sums.add(weights, queries.values, in.value_dim);
        if constexpr (of_key) key_sums.add(grad_scores, queries.heads, in.head_dim);
      });
  const std::int64_t rows = (place.batch * in.kv_heads + place.head) * in.keys;
  if constexpr (of_key) {
    if (grad_key)
      key_sums.store(grad_key + rows * in.head_dim, static_cast<float>(in.scale), place.first, in.keys, in.head_dim);
  }
  if constexpr (of_value) {
    if (grad_value) value_sums.store(grad_value + rows * in.value_dim, 1.0f, place.first, in.keys, in.value_dim);
  }
}

template <class T, int stages>
__global__ void __launch_bounds__(kTensorThreads, 1)
    grad_mask_kernel(AttentionInputs in, Dropout dropout, Saved<T> saved, MaskShape mask, float* grad_mask) {
  const MaskPlace<kTensorRows> place(in, mask);
  float own[kFragments][4] = {};
  for (std::int64_t batch = place.batch; batch < in.batch; batch += mask.size[0]) {
    for (std::int64_t head = place.head; head < in.heads; head += mask.size[1]) {
      for (std::int64_t query = place.first_query; query < place.last_query; query += kTensorRows) {
        const QueryNumbers<float> numbers[2] = {numbers_of(in, saved, batch, head, query + fragment_row(0)),
                                                numbers_of(in, saved, batch, head, query + fragment_row(2))};
        __syncthreads();
        walk_keys<stages>(in, saved, batch, head, query, place.first_key, place.last_key,
                          [&](const SideTile<T>& queries, const SideTile<T>& keys, std::int64_t key) {
                            visit_weights(in, dropout, queries, keys, numbers, batch, head, query, key,
                                          [&](int tile, int i, const Weight<float>& weight) {
                                            own[tile][i] += grad_score_of(numbers[i / 2], weight);
                                          });
                          });
      }
    }
  }
  auto* const sums =
      reinterpret_cast<float*>(dynamic_shared<T>() + tile_size(in, kTensorRows + places_for(stages) * kTile));
#pragma unroll
  for (int tile = 0; tile < kFragments; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[fragment_row(i) * kScorePitch + fragment_column(tile, i)] = own[tile][i];
  }
  __syncthreads();
  store_mask(grad_mask, sums, mask, place);
}

// Two stages where two blocks still fit on a multiprocessor; for larger heads one, and the other block computes while
// this one waits.
template <class T, class Run>
void dispatch_stages(const AttentionInputs& in, const void* grad_output, Rung rung, Run run) {
  const bool in_packs = rung >= Rung::pipelined && moves_in_packs<T>(in.query, in.query_stride, in.head_dim) &&
                        can_pipeline<T>(in) && reinterpret_cast<std::uintptr_t>(grad_output) % 16 == 0;
  if (!in_packs) return run(std::integral_constant<int, 0>());
  if (in.head_dim <= 128 && in.value_dim <= 128) return run(std::integral_constant<int, 2>());
  return run(std::integral_constant<int, 1>());
}

template <class Run>
void dispatch_half(DType dtype, Run run) {
  return dtype == DType::float16 ? run(__half()) : run(__nv_bfloat16());
}

template <class T, int stages>
void backward_by(const AttentionBackward& args, const void* delta, void* stream) {
  const AttentionInputs& in = args.inputs;
  const Dropout dropout(in.dropout_p);
  const unsigned query_blocks = blocks_for(in.batch, in.heads, in.queries, kTensorRows);
  const unsigned key_blocks = blocks_for(in.batch, in.kv_heads, in.keys, kTensorRows);
  const std::size_t bytes = tile_bytes(in, stages);
  const std::size_t key_bytes = bytes + places_for(stages) * kTile * sizeof(QueryNumbers<float>);
  const Saved<T> saved = saved_of<T>(args.grad_output, args.statistics, delta);
  auto* const grad_query = static_cast<T*>(args.grad_query);
  auto* const grad_key = static_cast<T*>(args.grad_key);
  auto* const grad_value = static_cast<T*>(args.grad_value);
  dispatch_dim<T>(in.head_dim > in.value_dim ? in.head_dim : in.value_dim, [&](auto dim) {
    constexpr int kDim = decltype(dim)::value;
    if constexpr (stages == 0 || (stages == 2) == (kDim <= 128)) {
      const auto launch_keys = [&](auto of_key, auto of_value) {
        launch<grad_key_value_kernel<T, kDim, of_key(), of_value(), stages>>(
            key_blocks, kTensorThreads, key_bytes, stream, in, dropout, saved, grad_key, grad_value);
      };
      if (grad_query && query_blocks > 0)
        launch<grad_query_kernel<T, kDim, stages>>(query_blocks, kTensorThreads, bytes, stream, in, dropout, saved,
                                                   grad_query);
      if (key_blocks == 0) return;
      if constexpr (kDim <= 128) {
        if (grad_key || grad_value) launch_keys(std::true_type(), std::true_type());
      } else {
        if (grad_key) launch_keys(std::true_type(), std::false_type());
        if (grad_value) launch_keys(std::false_type(), std::true_type());
      }
    }
  });
}

}  // namespace

void attention_delta(const AttentionBackward& args, void* delta, Rung rung, void* stream) {
  const AttentionInputs& in = args.inputs;
  const unsigned blocks = blocks_for(in.batch, in.heads, in.queries, kTensorRows);
  if (blocks == 0) return;
  dispatch_half(in.dtype, [&](auto element) {
    using T = decltype(element);
    dispatch_stages<T>(in, args.grad_output, rung, [&](auto stages) {
      launch<delta_kernel<T, stages()>>(blocks, kTensorThreads, tile_bytes(in, stages()), stream, in,
                                        Dropout(in.dropout_p), saved_of<T>(args.grad_output, args.statistics, nullptr),
                                        static_cast<const T*>(args.output), static_cast<float*>(delta));
    });
  });
}

void attention_backward(const AttentionBackward& args, const void* delta, Rung rung, void* stream) {
  dispatch_half(args.inputs.dtype, [&](auto element) {
    using T = decltype(element);
    dispatch_stages<T>(args.inputs, args.grad_output, rung,
                       [&](auto stages) { backward_by<T, stages()>(args, delta, stream); });
  });
}

void attention_mask_backward(const AttentionMaskBackward& args, const std::int64_t (&mask_size)[4], const void* delta,
                             Rung rung, void* stream) {
  const AttentionInputs& in = args.inputs;
  const MaskShape mask = mask_shape(mask_size, args.grad_mask_stride);
  const unsigned blocks = mask_blocks<kTensorRows>(mask);
  if (blocks == 0) return;
  dispatch_half(in.dtype, [&](auto element) {
    using T = decltype(element);
    dispatch_stages<T>(in, args.grad_output, rung, [&](auto stages) {
      const std::size_t bytes = tile_bytes(in, stages()) + kTensorRows * kScorePitch * sizeof(float);
      launch<grad_mask_kernel<T, stages()>>(blocks, kTensorThreads, bytes, stream, in, Dropout(in.dropout_p),
                                            saved_of<T>(args.grad_output, args.statistics, delta), mask,
                                            static_cast<float*>(args.grad_mask));
    });
  });
}

}  // namespace nnzoo::cuda::tensor
