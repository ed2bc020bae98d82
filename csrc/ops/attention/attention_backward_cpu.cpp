// Gradients of query, key, value and, where tasks can own parts of it, the mask. A task owns some of the query tiles of
// one key head. For each tile it walks over the keys, recomputes the weights from the forward pass's statistics, and
// adds to grad_query^T, which stays in cache, and to the rows of grad_key and grad_value, which are its own: nothing is
// shared between tasks, so the result doesn't depend on their order.
#include "ops/attention/attention_gradients.h"

namespace nnzoo {
namespace NNZOO_ISA {

// c [rows, columns] += left @ right, in strips of up to Tile<T>::vectors vectors of nearly equal width.
template <class T>
void add_rows(std::int64_t rows, std::int64_t columns, const QuerySteps<T>& steps, const Left<T>& left, const T* right,
              std::int64_t right_stride, T* c) {
  const std::int64_t strip = equal_part(columns, Tile<T>::columns, Vec<T>::width);
  for (std::int64_t j = 0; j < columns; j += strip) {
    const std::int64_t here = columns - j < strip ? columns - j : strip;
    dispatch_lanes<T>(here, [&](auto lanes) {
      product_add_rows<T, decltype(lanes)::vectors>(rows, here, steps, left, right + j, right_stride, c + j, columns);
    });
  }
}

// `count` rows that may be loaded in whole vectors: in place, or copied (and converted) into `memory`.
template <class T, class S>
const T* whole_rows(const S* source, std::int64_t stride, int count, std::int64_t size, T* memory,
                    std::int64_t* stride_out) {
  if (size % Vec<T>::width == 0) return rows_in_place<T>(source, stride, count, size, memory, stride_out);
  *stride_out = round_up(size, Vec<T>::width);
  for (int i = 0; i < count; ++i) {
    for_each_vector<T>(size, [&](std::int64_t j, int lanes) {
      Vec<T>::load(source + i * stride + j, lanes).store(memory + i * *stride_out + j);
    });
  }
  return memory;
}

template <class S, int vectors>
void backward_tile(const AttentionBackward& args, const Head<S>& head, const QueryTile& queries, const Ahead<S>& ahead,
                   Compute<S>* grad_key, Compute<S>* grad_value) {
  using T = Compute<S>;
  constexpr int width = Vec<T>::width, W = vectors * width;
  const AttentionInputs& in = args.inputs;
  const std::int64_t first = queries.first;
  const int count = queries.count;
  const std::int64_t size = in.head_dim, room = round_up(size, Tile<T>::rows), row = head.first_row() + first;

  Scratch scratch;
  const Upstream upstream{args.output, args.grad_output, args.statistics};
  GradientTile<S, vectors> tile(head, upstream, queries, ahead, static_cast<T>(in.scale), scratch);
  T* const grad_query = scratch.take<T>(room * W);  // transposed: [feature][query]
  for (std::int64_t i = 0; i < room * W; i += width) Vec<T>::zero().store(grad_query + i);
  std::int64_t query_stride, grad_stride;
  const T* const query_rows = whole_rows<T>(head.query + first * in.query_stride[2], in.query_stride[2], count, size,
                                            scratch.take<T>(W * round_up(size, width)), &query_stride);
  const T* const grads =
      whole_rows<T>(static_cast<const S*>(args.grad_output) + row * in.value_dim, in.value_dim, count, in.value_dim,
                    scratch.take<T>(W * round_up(in.value_dim, width)), &grad_stride);
  const std::int64_t* const mask_stride = args.grad_mask_stride;
  T* const grad_mask = !args.grad_mask ? nullptr
                                       : static_cast<T*>(args.grad_mask) + head.batch * mask_stride[0] +
                                             head.head * mask_stride[1] + first * mask_stride[2];
  T* const turned = grad_mask ? scratch.take<T>(count * key_block<T>) : nullptr;
  Vec<T> one[vectors];
  for (int j = 0; j < vectors; ++j) one[j] = Vec<T>::set(T(1));

  for (std::int64_t begin = queries.begin; begin < queries.end; begin += key_block<T>) {
    const std::int64_t n = queries.end - begin < key_block<T> ? queries.end - begin : key_block<T>;
    if (!tile.compute(begin, n)) continue;
    if (grad_mask) {
      add_to_mask<T, W>(tile.grads, n, count, static_cast<T>(1 / in.scale), mask_stride[2], mask_stride[3],
                        grad_mask + begin * mask_stride[3], turned);
    }
    const std::int64_t level = tile.level(begin);
    if (grad_value) {
      add_rows<T>(n, in.value_dim, QuerySteps<T>{{count, level}}, Left<T>{tile.weights, W, 1}, grads, grad_stride,
                  grad_value + begin * in.value_dim);
    }
    if (grad_key) {
      // tile.grads holds scale * dS already.
      add_rows<T>(n, size, QuerySteps<T>{{count, level}}, Left<T>{tile.grads, W, 1}, query_rows, query_stride,
                  grad_key + begin * size);
    }
    if (args.grad_query) {
      std::int64_t stride;
      const T* const rows = tile.keys(begin, n, &stride);
      product_add<T, vectors>(size, KeySteps<T>{{n, level}}, Left<T>{rows, 1, stride}, tile.grads, one, grad_query);
    }
  }
  if (args.grad_query) store_transposed<W>(grad_query, count, size, static_cast<S*>(args.grad_query) + row * size);
}

// Where one part of one key head adds its gradients: the results themselves, or its rows of the workspace.
template <class T>
struct Sums {
  T *key, *value;
};

template <class S>
bool adds_in_place(const AttentionBackward& args) {
  return sizeof(S) == sizeof(Compute<S>) && args.parts == 1;
}

template <class S>
Sums<Compute<S>> sums_of(const AttentionBackward& args, std::int64_t part, std::int64_t head) {
  using T = Compute<S>;
  const AttentionInputs& in = args.inputs;
  const std::int64_t key_size = in.keys * in.head_dim, value_size = in.keys * in.value_dim;
  if (adds_in_place<S>(args)) {
    return {args.grad_key ? static_cast<T*>(args.grad_key) + head * key_size : nullptr,
            args.grad_value ? static_cast<T*>(args.grad_value) + head * value_size : nullptr};
  }
  T* const start = static_cast<T*>(args.workspace) + (part * in.batch * in.kv_heads + head) * (key_size + value_size);
  return {args.grad_key ? start : nullptr, args.grad_value ? start + key_size : nullptr};
}

// Item `item` of a key head: a tile of queries of one of the query heads that use it.
template <class S>
Head<S> head_of(const AttentionInputs& in, const QueryTiles& tiles, std::int64_t pair, std::int64_t item) {
  const std::int64_t group = in.heads / in.kv_heads;
  return Head<S>(in, pair / in.kv_heads, pair % in.kv_heads * group + item / tiles.count());
}

// What the same tile of the next query head will read: of this key head, or else of key head `next`, if there is one.
template <class S>
Ahead<S> rows_ahead(const AttentionBackward& args, const QueryTiles& tiles, std::int64_t pair, std::int64_t next,
                    std::int64_t item) {
  const AttentionInputs& in = args.inputs;
  const std::int64_t items = in.heads / in.kv_heads * tiles.count(), index = item % tiles.count();
  const bool here = item + tiles.count() < items;
  Ahead<S> ahead;
  if (args.parts > 1 || (!here && next >= in.batch * in.kv_heads)) return ahead;
  const Head<S> head = head_of<S>(in, tiles, here ? pair : next, here ? item + tiles.count() : index);
  const QueryTile tile = tiles[index];
  add_inputs(head, tile, index, tiles.count(), ahead);
  const void* const upstream[] = {args.output, args.grad_output};
  for (const void* tensor : upstream) {
    ahead.add(static_cast<const S*>(tensor) + (head.first_row() + tile.first) * in.value_dim, in.value_dim, tile.count,
              in.value_dim);
  }
  return ahead;
}

// `next` is the key head that the same thread will probably be given after this one.
template <class S>
void backward_part(const AttentionBackward& args, const QueryTiles& tiles, std::int64_t part, std::int64_t pair,
                   std::int64_t next) {
  using T = Compute<S>;
  const AttentionInputs& in = args.inputs;
  const Sums<T> sums = sums_of<S>(args, part, pair);
  const auto clear = [](T* memory, std::int64_t n) {
    for (std::int64_t i = 0; memory && i < n; ++i) memory[i] = T(0);
  };
  clear(sums.key, in.keys * in.head_dim);
  clear(sums.value, in.keys * in.value_dim);
  for (std::int64_t item = part; item < in.heads / in.kv_heads * tiles.count(); item += args.parts) {
    const QueryTile tile = tiles[item % tiles.count()];
    const Head<S> head = head_of<S>(in, tiles, pair, item);
    const Ahead<S> ahead = rows_ahead<S>(args, tiles, pair, next, item);
    dispatch_lanes<T>(tile.count, [&](auto lanes) {
      backward_tile<S, decltype(lanes)::vectors>(args, head, tile, ahead, sums.key, sums.value);
    });
  }
}

// Every task owns a part of grad_mask, with the key heads that add to it.
template <class S>
void backward_with_mask(const AttentionBackward& args, const QueryTiles& tiles) {
  const AttentionInputs& in = args.inputs;
  const std::int64_t batches = args.grad_mask_stride[0] ? in.batch : 1;
  const std::int64_t heads = args.grad_mask_stride[1] ? in.kv_heads : 1;
  parallel_for_dynamic(batches * heads, useful_threads(in), [&](std::int64_t task) {
    for (std::int64_t b = task / heads; b < in.batch; b += batches) {
      for (std::int64_t g = task % heads; g < in.kv_heads; g += heads) {
        backward_part<S>(args, tiles, 0, b * in.kv_heads + g, (b + batches) * in.kv_heads + g);
      }
    }
  });
}

// out = the sum over parts, in their order.
template <class S, class T>
void add_parts(const T* parts, std::int64_t count, std::int64_t stride, std::int64_t n, S* out) {
  for_each_vector<T>(n, [&](std::int64_t i, int lanes) {
    Vec<T> sum = Vec<T>::load(parts + i, lanes);
    for (std::int64_t part = 1; part < count; ++part) sum += Vec<T>::load(parts + part * stride + i, lanes);
    sum.store(out + i, lanes);
  });
}

template <class S>
void combine_parts(const AttentionBackward& args, std::int64_t pair) {
  const AttentionInputs& in = args.inputs;
  const std::int64_t key_size = in.keys * in.head_dim, value_size = in.keys * in.value_dim;
  const std::int64_t stride = in.batch * in.kv_heads * (key_size + value_size);
  const auto sums = sums_of<S>(args, 0, pair);
  if (sums.key) add_parts(sums.key, args.parts, stride, key_size, static_cast<S*>(args.grad_key) + pair * key_size);
  if (sums.value) {
    add_parts(sums.value, args.parts, stride, value_size, static_cast<S*>(args.grad_value) + pair * value_size);
  }
}

void attention_backward(const AttentionBackward& args) {
  const AttentionInputs& in = args.inputs;
  const std::int64_t pairs = in.batch * in.kv_heads;
  dispatch_dtype(in.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Type;
    Scratch scratch;
    const QueryTiles tiles(in, Tile<Compute<S>>::columns, scratch);
    if (args.grad_mask) {
      backward_with_mask<S>(args, tiles);
    } else {
      const int threads = useful_threads(in);
      parallel_for_dynamic(pairs * args.parts, threads, [&](std::int64_t task) {
        const std::int64_t pair = task / args.parts;
        backward_part<S>(args, tiles, task % args.parts, pair, pair + threads);
      });
    }
    if (!adds_in_place<S>(args)) {
      parallel_for_dynamic(pairs, useful_threads(in), [&](std::int64_t pair) { combine_parts<S>(args, pair); });
    }
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
