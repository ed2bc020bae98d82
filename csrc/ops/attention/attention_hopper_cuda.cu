// Forward on Hopper, for bf16 and fp16: tiles come by tensor maps into a ring of two stages, products are those of
// warpgroups. Two warpgroups take turns at starting products, so that one has its softmax while the tensor cores work
// for the other; within a warpgroup the product with the values of one tile runs under the softmax of the next.
#include "ops/attention/attention_hopper.cuh"

namespace nnzoo::cuda::hopper {
namespace {

// A tensor [batch, heads, rows, features]. A dimension without extent or stride is left out: its coordinate stays 0.
struct Tensor {
  CUtensorMap map;
  int head_step, batch_step;
};

struct Args {
  Tensor query, key, value, output;
  AttentionInputs in;
  Dropout dropout;
  float* statistics;
};

// One thread loads the boxes of `rows` rows from `first` on.
template <class T, int chunks, int rows>
__device__ void load(T (&to)[chunks][rows][kChunk], const Tensor& from, std::int64_t batch, std::int64_t head,
                     std::int64_t first, std::uint64_t* full) {
#pragma unroll
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const int start[4] = {chunk * kChunk, static_cast<int>(first), static_cast<int>(head) * from.head_step,
                          static_cast<int>(batch) * from.batch_step};
    tensor_copy_to_shared(&to[chunk][0][0], &from.map, start, full);
  }
}

template <class T, int dim, int tile_keys>
__device__ void produce(const Args& args, Memory<T, dim, tile_keys>& memory, const Place& place, int tiles) {
  const std::int64_t kv_head = place.head / (args.in.heads / args.in.kv_heads);
  mbarrier_arrive_expect_bytes(&memory.queries_full, sizeof memory.queries);
  for (int group = 0; group < kConsumers; ++group)
    load(memory.queries[group], args.query, place.batch, place.head, place.first + group * kGroupRows,
         &memory.queries_full);
  for (int i = 0; i < tiles; ++i) {
    const int stage = i % kStages;
    const unsigned parity = (i / kStages + 1) % 2;
    const std::int64_t first = static_cast<std::int64_t>(i) * tile_keys;
    if (i >= kStages) mbarrier_wait(&memory.keys_empty[stage], parity);
    mbarrier_arrive_expect_bytes(&memory.keys_full[stage], sizeof memory.keys[stage]);
    load(memory.keys[stage], args.key, place.batch, kv_head, first, &memory.keys_full[stage]);
    if (i >= kStages) mbarrier_wait(&memory.values_empty[stage], parity);
    mbarrier_arrive_expect_bytes(&memory.values_full[stage], sizeof memory.values[stage]);
    load(memory.values[stage], args.value, place.batch, kv_head, first, &memory.values_full[stage]);
  }
}

template <bool general, class T, int dim, int tile_keys>
__device__ void consume(const Args& args, Memory<T, dim, tile_keys>& memory, const Place& place, int tiles) {
  const AttentionInputs& in = args.in;
  const int group = threadIdx.x / kWarpgroup;
  T* const queries = &memory.queries[group][0][0][0];
  const int row = threadIdx.x % kWarpgroup / 32 * 16 + threadIdx.x % 32 / 4;  // within the warpgroup's 64
  Running running{place.batch, place.head, place.first + group * kGroupRows + row};
  float scores[tile_keys / 2];
  float sums[dim / 2] = {};
  std::uint32_t weights[tile_keys / 16][4];
  float decay[2];

  if (group == 1) give_turn(group);
  take_turn(group);
  mbarrier_wait(&memory.queries_full, 0);
  mbarrier_wait(&memory.keys_full[0], 0);
  start_scores<dim, tile_keys>(scores, queries, &memory.keys[0][0][0][0]);
  give_turn(group);
  wgmma_wait<0>(scores);
  release(&memory.keys_empty[0]);
  running.soften<general>(scores, decay, in, args.dropout, 0);
  pack_weights<T>(weights, scores);
  for (int i = 1; i < tiles; ++i) {
    const int stage = i % kStages;
    const int before = (i - 1) % kStages;
    take_turn(group);
    mbarrier_wait(&memory.keys_full[stage], i / kStages % 2);
    start_scores<dim, tile_keys>(scores, queries, &memory.keys[stage][0][0][0]);
    mbarrier_wait(&memory.values_full[before], (i - 1) / kStages % 2);
    start_sums<dim, tile_keys>(sums, weights, &memory.values[before][0][0][0]);
    give_turn(group);
    wgmma_wait<1>(scores);
    release(&memory.keys_empty[stage]);
    running.soften<general>(scores, decay, in, args.dropout, static_cast<std::int64_t>(i) * tile_keys);
    wgmma_wait<0>(sums);
    release(&memory.values_empty[before]);
#pragma unroll
    for (int j = 0; j < dim / 2; ++j) sums[j] *= decay[j / 2 % 2];
    pack_weights<T>(weights, scores);
  }
  const int last = (tiles - 1) % kStages;
  take_turn(group);
  mbarrier_wait(&memory.values_full[last], (tiles - 1) / kStages % 2);
  start_sums<dim, tile_keys>(sums, weights, &memory.values[last][0][0][0]);
  if (group == 0) give_turn(group);
  wgmma_wait<0>(sums);

  // Each warp writes over the queries that only its own products have read.
  const float factor[2] = {running.total[0] == 0.0f ? 0.0f : 1.0f / running.total[0],
                           running.total[1] == 0.0f ? 0.0f : 1.0f / running.total[1]};
#pragma unroll
  for (int j = 0; j < dim / 2; j += 2) {
    const int half = j / 2 % 2;
    const int column = j / 4 * 8 + threadIdx.x % 4 * 2;
    const std::uint32_t pair = pack_pair<T>(sums[j] * factor[half], sums[j + 1] * factor[half]);
    T* const box = queries + column / kChunk * kGroupRows * kChunk;
    *reinterpret_cast<std::uint32_t*>(box + swizzled(row + half * 8, column % kChunk)) = pair;
  }
  bulk_copy_fence();
  named_barrier_sync(kAlone + group, kWarpgroup);
  if (threadIdx.x % kWarpgroup == 0 && place.first + group * kGroupRows < in.queries) {
    for (int chunk = 0; chunk * kChunk < in.value_dim; ++chunk) {
      const int start[4] = {chunk * kChunk, static_cast<int>(place.first) + group * kGroupRows,
                            static_cast<int>(place.head) * args.output.head_step,
                            static_cast<int>(place.batch) * args.output.batch_step};
      tensor_copy_to_global(&args.output.map, start, queries + chunk * kGroupRows * kChunk);
    }
    bulk_copy_commit();
    bulk_copy_wait<0>();
  }
  if (!args.statistics || threadIdx.x % 4 > 0) return;
  const std::int64_t base = (place.batch * in.heads + place.head) * in.queries;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int64_t query = running.first_row + half * 8;
    if (query < in.queries)
      store_statistics(in, args.statistics, base + query, running.best[half], running.total[half]);
  }
}

template <class T, int dim, bool general>
__global__ void __launch_bounds__(kThreads, 1) forward_kernel(const __grid_constant__ Args args) {
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
  constexpr int kTileKeys = kKeys<dim, general>;
  auto& memory = *dynamic_shared<Memory<T, dim, kTileKeys>>();
  Place place(args.in.heads, args.in.queries, kRows);
  // With `causal` the last queries see most keys: their blocks start first.
  if (args.in.causal) place.first = (ceil_div<std::int64_t>(args.in.queries, kRows) - 1) * kRows - place.first;
  const auto tiles = static_cast<int>(ceil_div<std::int64_t>(keys_seen(args.in, place.first, kRows), kTileKeys));
  if (threadIdx.x == 0) {
    mbarrier_init(&memory.queries_full, 1);
    for (int stage = 0; stage < kStages; ++stage) {
      mbarrier_init(&memory.keys_full[stage], 1);
      mbarrier_init(&memory.values_full[stage], 1);
      mbarrier_init(&memory.keys_empty[stage], kEmptyArrivals);
      mbarrier_init(&memory.values_empty[stage], kEmptyArrivals);
    }
    mbarrier_fence_init();
  }
  __syncthreads();
  if (threadIdx.x >= kConsumers * kWarpgroup) {
    give_registers<24>();
    if (threadIdx.x == kConsumers * kWarpgroup) produce(args, memory, place, tiles);
  } else {
    take_registers<240>();
    consume<general>(args, memory, place, tiles);
  }
#else
  __trap();
#endif
}

// Whether the machine code that runs here is the one for Hopper.
template <auto kernel>
bool is_there() {
#ifdef NNZOO_CUEMU
  return true;
#else
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess && attributes.ptxVersion >= 90;
#endif
}

template <class T>
Tensor tensor_of(const void* data, const std::int64_t (&stride)[3], std::int64_t batch, std::int64_t heads,
                 std::int64_t rows, std::int64_t features, int box_rows) {
  const std::int64_t extents[3] = {rows, heads, batch};
  std::uint64_t sizes[4] = {static_cast<std::uint64_t>(features)};
  std::uint64_t bytes[3];
  for (int i = 0; i < 3; ++i) {
    const bool extends = extents[i] > 1 && stride[2 - i] > 0;
    sizes[i + 1] = extends ? extents[i] : 1;
    bytes[i] = extends ? stride[2 - i] * sizeof(T) : 16;
  }
  constexpr auto type = std::is_same_v<T, __half> ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  const std::uint32_t box[4] = {kChunk, static_cast<std::uint32_t>(box_rows), 1, 1};
  return {make_tensor_map<4>(type, const_cast<void*>(data), sizes, bytes, box, CU_TENSOR_MAP_SWIZZLE_128B),
          sizes[2] > 1, sizes[3] > 1};
}

// What tensor maps can't express: rows that are no whole packs, or all the same, or further apart than 2^40 bytes.
template <class T>
bool has_map(const void* data, const std::int64_t (&stride)[3], std::int64_t rows, std::int64_t features) {
  constexpr std::int64_t kMost = std::int64_t{1} << 39;
  return moves_in_packs<T>(data, stride, features) && features > 0 && rows > 0 && rows < kMost >> 9 &&
         (rows == 1 || stride[2] > 0) && stride[0] < kMost && stride[1] < kMost && stride[2] < kMost;
}

template <class T, int dim, bool general>
bool launch_forward(const AttentionForward& args, void* stream) {
  if (!is_there<forward_kernel<T, dim, general>>()) return false;
  constexpr int kTileKeys = kKeys<dim, general>;
  const AttentionInputs& in = args.inputs;
  const std::int64_t contiguous[3] = {in.heads * in.queries * in.value_dim, in.queries * in.value_dim, in.value_dim};
  const Args of_kernel{tensor_of<T>(in.query, in.query_stride, in.batch, in.heads, in.queries, in.head_dim, kGroupRows),
                       tensor_of<T>(in.key, in.key_stride, in.batch, in.kv_heads, in.keys, in.head_dim, kTileKeys),
                       tensor_of<T>(in.value, in.value_stride, in.batch, in.kv_heads, in.keys, in.value_dim, kTileKeys),
                       tensor_of<T>(args.output, contiguous, in.batch, in.heads, in.queries, in.value_dim, kGroupRows),
                       in,
                       Dropout(in.dropout_p),
                       static_cast<float*>(args.statistics)};
  launch<forward_kernel<T, dim, general>>(blocks_for(in.batch, in.heads, in.queries, kRows), kThreads,
                                          sizeof(Memory<T, dim, kTileKeys>), stream, of_kernel);
  return true;
}

template <class T>
bool forward(const AttentionForward& args, void* stream) {
  const AttentionInputs& in = args.inputs;
  const std::int64_t contiguous[3] = {in.heads * in.queries * in.value_dim, in.queries * in.value_dim, in.value_dim};
  if (!has_map<T>(in.query, in.query_stride, in.queries, in.head_dim) ||
      !has_map<T>(in.key, in.key_stride, in.keys, in.head_dim) ||
      !has_map<T>(in.value, in.value_stride, in.keys, in.value_dim) ||
      !has_map<T>(args.output, contiguous, in.queries, in.value_dim))
    return false;
  bool done = false;
  dispatch_dim<T>(in.head_dim > in.value_dim ? in.head_dim : in.value_dim, [&](auto dim) {
    constexpr int kDim = decltype(dim)::value;
    const bool is_general = in.mask_kind != MaskKind::none || in.dropout_p > 0;
    done = is_general ? launch_forward<T, kDim, true>(args, stream) : launch_forward<T, kDim, false>(args, stream);
  });
  return done;
}

}  // namespace

bool attention_forward(const AttentionForward& args, void* stream) {
  return args.inputs.dtype == DType::float16 ? forward<__half>(args, stream) : forward<__nv_bfloat16>(args, stream);
}

}  // namespace nnzoo::cuda::hopper
