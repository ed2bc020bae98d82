// The first rung: a thread per result, straight from the formulas of attention.h. A thread has room for 32 features of
// its row of sums, so it walks over the other side once for every 32 features and computes the weights again. Nothing
// is shared and nothing is reused but by the caches.
#include "ops/attention/attention_backward.cuh"

namespace nnzoo::cuda::naive {
namespace {

constexpr int kFeatures = 32;

// The row that a thread has, of `rows` in each head.
struct Row {
  std::int64_t batch, head, at;
  bool exists;

  __device__ Row(std::int64_t batches, std::int64_t heads, std::int64_t rows) {
    const std::int64_t index = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
    at = index % rows;
    head = index / rows % heads;
    batch = index / rows / heads;
    exists = batch < batches;
  }
};

unsigned blocks_for_rows(std::int64_t rows) { return static_cast<unsigned>(ceil_div<std::int64_t>(rows, kThreads)); }

template <class T>
__device__ Accumulator<T> dot(const T* a, const T* b, std::int64_t size) {
  Accumulator<T> sum = 0;
  for (std::int64_t i = 0; i < size; ++i) sum = multiply_add(widen(a[i]), widen(b[i]), sum);
  return sum;
}

// sums += factor * row[first .. first + 31]
template <class T>
__device__ void add_row(Accumulator<T> (&sums)[kFeatures], Accumulator<T> factor, const T* row, std::int64_t first,
                        std::int64_t size) {
#pragma unroll
  for (int i = 0; i < kFeatures; ++i)
    if (first + i < size) sums[i] = multiply_add(factor, widen(row[first + i]), sums[i]);
}

template <class T>
__device__ void store(T* row, const Accumulator<T> (&sums)[kFeatures], Accumulator<T> factor, std::int64_t first,
                      std::int64_t size) {
#pragma unroll
  for (int i = 0; i < kFeatures; ++i)
    if (first + i < size) row[first + i] = narrow<T>(sums[i] * factor);
}

// The rows that a query and a key have in the tensors, and the weight between them.
template <class T>
struct Pair {
  using A = Accumulator<T>;
  const AttentionInputs& in;
  const Saved<T>& saved;
  std::int64_t batch, head, query, key;

  __device__ std::int64_t kv_head() const { return head / (in.heads / in.kv_heads); }
  __device__ const T* query_row() const {
    return head_of<T>(in.query, in.query_stride, batch, head) + query * in.query_stride[2];
  }
  __device__ const T* key_row() const {
    return head_of<T>(in.key, in.key_stride, batch, kv_head()) + key * in.key_stride[2];
  }
  __device__ const T* value_row() const {
    return head_of<T>(in.value, in.value_stride, batch, kv_head()) + key * in.value_stride[2];
  }
  __device__ const T* grad_row() const {
    return saved.grad_output + ((batch * in.heads + head) * in.queries + query) * in.value_dim;
  }
  __device__ A score() const { return score_of(in, batch, head, query, key, dot(query_row(), key_row(), in.head_dim)); }
  __device__ Weight<A> weight(const Dropout& dropout, const QueryNumbers<A>& numbers) const {
    return weight_of(in, dropout, numbers, batch, head, query, key, dot(query_row(), key_row(), in.head_dim),
                     dot(grad_row(), value_row(), in.value_dim));
  }
};

// A thread per query: the largest score and the sum of exponentials in one walk over the keys, then the values.
template <class T>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(AttentionInputs in, Dropout dropout, T* output, Accumulator<T>* statistics) {
  using A = Accumulator<T>;
  const Row row(in.batch, in.heads, in.queries);
  if (!row.exists) return;
  const Saved<T> nothing{};
  const auto pair = [&](std::int64_t key) { return Pair<T>{in, nothing, row.batch, row.head, row.at, key}; };
  const std::int64_t keys = keys_seen(in, row.at, 1);
  A best = -A(INFINITY);
  A total = 0;
  for (std::int64_t key = 0; key < keys; ++key) {
    const A score = pair(key).score();
    const A now = Max::combine(best, score);
    // Before the first visible key there is nothing to subtract: exp(-inf) is 0, exp(-inf - -inf) is not.
    const A shift = now == -A(INFINITY) ? A(0) : now;
    total = total * exponential(best - shift) + exponential(score - shift);
    best = now;
  }
  const std::int64_t at = (row.batch * in.heads + row.head) * in.queries + row.at;
  if (statistics) store_statistics(in, statistics, at, best, total);
  const A shift = best == -A(INFINITY) ? A(0) : best;
  const A factor = total == A(0) ? A(0) : A(1) / total;
  for (std::int64_t first = 0; first < in.value_dim; first += kFeatures) {
    A sums[kFeatures] = {};
    for (std::int64_t key = 0; key < keys; ++key) {
      const A weight = exponential(pair(key).score() - shift);
      add_row(sums, weight * kept_factor<A>(in, dropout, row.batch, row.head, row.at, key), pair(key).value_row(),
              first, in.value_dim);
    }
    store(output + at * in.value_dim, sums, factor, first, in.value_dim);
  }
}

// A thread per query.
template <class T>
__global__ void __launch_bounds__(kThreads)
    delta_kernel(AttentionInputs in, Dropout dropout, Saved<T> saved, const T* output, Accumulator<T>* delta) {
  using A = Accumulator<T>;
  const Row row(in.batch, in.heads, in.queries);
  if (!row.exists) return;
  const std::int64_t at = (row.batch * in.heads + row.head) * in.queries + row.at;
  const A mean = dot(saved.grad_output + at * in.value_dim, output + at * in.value_dim, in.value_dim);
  const QueryNumbers<A> numbers = numbers_of(in, saved, row.batch, row.head, row.at);
  A correction = 0;
  if (numbers.best != A(INFINITY) && numbers.logarithm_of_sum < A(kNearlyOneHot)) {
    for (std::int64_t key = 0; key < keys_seen(in, row.at, 1); ++key) {
      const Weight<A> weight = Pair<T>{in, saved, row.batch, row.head, row.at, key}.weight(dropout, numbers);
      correction += weight.plain * (weight.grad - mean);
    }
  }
  delta[at] = mean;
  delta[in.batch * in.heads * in.queries + at] = correction;
}

// A thread per query.
template <class T>
__global__ void __launch_bounds__(kThreads)
    grad_query_kernel(AttentionInputs in, Dropout dropout, Saved<T> saved, T* grad_query) {
  using A = Accumulator<T>;
  const Row row(in.batch, in.heads, in.queries);
  if (!row.exists) return;
  const QueryNumbers<A> numbers = numbers_of(in, saved, row.batch, row.head, row.at);
  T* const to = grad_query + ((row.batch * in.heads + row.head) * in.queries + row.at) * in.head_dim;
  for (std::int64_t first = 0; first < in.head_dim; first += kFeatures) {
    A sums[kFeatures] = {};
    for (std::int64_t key = 0; key < keys_seen(in, row.at, 1); ++key) {
      const Pair<T> pair{in, saved, row.batch, row.head, row.at, key};
      add_row(sums, grad_score_of(numbers, pair.weight(dropout, numbers)), pair.key_row(), first, in.head_dim);
    }
    store(to, sums, A(in.scale), first, in.head_dim);
  }
}

// A thread per key, for grad_key or grad_value.
template <class T, bool of_key>
__global__ void __launch_bounds__(kThreads)
    grad_key_value_kernel(AttentionInputs in, Dropout dropout, Saved<T> saved, T* grad) {
  using A = Accumulator<T>;
  const Row row(in.batch, in.kv_heads, in.keys);
  if (!row.exists) return;
  const std::int64_t group = in.heads / in.kv_heads;
  const std::int64_t size = of_key ? in.head_dim : in.value_dim;
  for (std::int64_t first = 0; first < size; first += kFeatures) {
    A sums[kFeatures] = {};
    for (std::int64_t head = row.head * group; head < (row.head + 1) * group; ++head) {
      for (std::int64_t query = in.causal ? row.at : 0; query < in.queries; ++query) {
        const Pair<T> pair{in, saved, row.batch, head, query, row.at};
        const QueryNumbers<A> numbers = numbers_of(in, saved, row.batch, head, query);
        const Weight<A> weight = pair.weight(dropout, numbers);
        if constexpr (of_key)
          add_row(sums, grad_score_of(numbers, weight), pair.query_row(), first, size);
        else
          add_row(sums, weight.kept, pair.grad_row(), first, size);
      }
    }
    store(grad + ((row.batch * in.kv_heads + row.head) * in.keys + row.at) * size, sums, of_key ? A(in.scale) : A(1),
          first, size);
  }
}

// A thread per element of the mask: what was added to this score, or to all to which the element is broadcast.
template <class T>
__global__ void __launch_bounds__(kThreads, 1)
    grad_mask_kernel(AttentionInputs in, Dropout dropout, Saved<T> saved, MaskShape mask, Accumulator<T>* grad_mask) {
  using A = Accumulator<T>;
  const std::int64_t index = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  const std::int64_t own[4] = {index / mask.size[3] / mask.size[2] / mask.size[1],
                               index / mask.size[3] / mask.size[2] % mask.size[1], index / mask.size[3] % mask.size[2],
                               index % mask.size[3]};
  if (own[0] >= mask.size[0]) return;
  A sum = 0;
  for (std::int64_t batch = own[0]; batch < in.batch; batch += mask.size[0]) {
    for (std::int64_t head = own[1]; head < in.heads; head += mask.size[1]) {
      for (std::int64_t query = own[2]; query < in.queries; query += mask.size[2]) {
        const QueryNumbers<A> numbers = numbers_of(in, saved, batch, head, query);
        for (std::int64_t key = own[3]; key < in.keys; key += mask.size[3])
          sum += grad_score_of(numbers, Pair<T>{in, saved, batch, head, query, key}.weight(dropout, numbers));
      }
    }
  }
  grad_mask[own[0] * mask.stride[0] + own[1] * mask.stride[1] + own[2] * mask.stride[2] + own[3] * mask.stride[3]] =
      sum;
}

}  // namespace

void attention_forward(const AttentionForward& args, void* stream) {
  const AttentionInputs& in = args.inputs;
  dispatch_dtype(in.dtype, [&](auto element) {
    using T = decltype(element);
    launch<forward_kernel<T>>(blocks_for_rows(in.batch * in.heads * in.queries), kThreads, 0, stream, in,
                              Dropout(in.dropout_p), static_cast<T*>(args.output),
                              static_cast<Accumulator<T>*>(args.statistics));
  });
}

void attention_delta(const AttentionBackward& args, void* delta, void* stream) {
  const AttentionInputs& in = args.inputs;
  dispatch_dtype(in.dtype, [&](auto element) {
    using T = decltype(element);
    launch<delta_kernel<T>>(blocks_for_rows(in.batch * in.heads * in.queries), kThreads, 0, stream, in,
                            Dropout(in.dropout_p), saved_of<T>(args.grad_output, args.statistics, nullptr),
                            static_cast<const T*>(args.output), static_cast<Accumulator<T>*>(delta));
  });
}

void attention_backward(const AttentionBackward& args, const void* delta, void* stream) {
  const AttentionInputs& in = args.inputs;
  const Dropout dropout(in.dropout_p);
  const unsigned queries = blocks_for_rows(in.batch * in.heads * in.queries);
  const unsigned keys = blocks_for_rows(in.batch * in.kv_heads * in.keys);
  dispatch_dtype(in.dtype, [&](auto element) {
    using T = decltype(element);
    const Saved<T> saved = saved_of<T>(args.grad_output, args.statistics, delta);
    if (args.grad_query && queries > 0)
      launch<grad_query_kernel<T>>(queries, kThreads, 0, stream, in, dropout, saved, static_cast<T*>(args.grad_query));
    if (args.grad_key && keys > 0)
      launch<grad_key_value_kernel<T, true>>(keys, kThreads, 0, stream, in, dropout, saved,
                                             static_cast<T*>(args.grad_key));
    if (args.grad_value && keys > 0)
      launch<grad_key_value_kernel<T, false>>(keys, kThreads, 0, stream, in, dropout, saved,
                                              static_cast<T*>(args.grad_value));
  });
}

void attention_mask_backward(const AttentionMaskBackward& args, const std::int64_t (&mask_size)[4], const void* delta,
                             void* stream) {
  const AttentionInputs& in = args.inputs;
  const MaskShape mask = mask_shape(mask_size, args.grad_mask_stride);
  const unsigned blocks = blocks_for_rows(mask.size[0] * mask.size[1] * mask.size[2] * mask.size[3]);
  if (blocks == 0) return;
  dispatch_dtype(in.dtype, [&](auto element) {
    using T = decltype(element);
    launch<grad_mask_kernel<T>>(blocks, kThreads, 0, stream, in, Dropout(in.dropout_p),
                                saved_of<T>(args.grad_output, args.statistics, delta), mask,
                                static_cast<Accumulator<T>*>(args.grad_mask));
  });
}

}  // namespace nnzoo::cuda::naive
