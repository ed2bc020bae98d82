// The product on tensor cores by mma.sync, for every GPU since compute capability 8.0.
//
// Four warps compute a tile of 128 x 128, each a quarter of it: 4 KB of shared memory are then read for 65,536
// multiply-adds. cp.async fills a ring of three stages, 64 of the depth each, in the order of memory, whichever
// dimension that is: ldmatrix turns what lies the other way. Loads of two stages are always under way.
#include "common/mma.cuh"
#include "ops/linear/linear_dispatch.cuh"
#include "ops/linear/linear_output.cuh"

namespace nnzoo::cuda {
namespace {

constexpr int kTile = 128;
constexpr int kDepth = 64;
constexpr int kStages = 3;
constexpr int kThreads = 128;
constexpr int kLine = 64;  // elements that are neighbours in memory: 128 bytes
constexpr int kTileElements = kTile * kDepth;
constexpr int kSharedBytes = kStages * 2 * kTileElements * 2;

// One operand as the kernel sees it: `lines` of neighbouring elements, `stride` apart.
template <class T>
struct Source {
  const T* data;
  std::int64_t rows, stride;
};

// The tile in shared memory has 128 lines of 64 elements. Along depth, a line is a row. Else it is one of the depth:
// first the 64 lines of the tile's first 64 rows, then those of the others.
template <class T, bool along_depth>
struct Operand {
  static constexpr int kPanels = along_depth ? 1 : kTile / kLine;
  static constexpr int kPanelLines = along_depth ? kTile : kDepth;

  static __device__ void load(const Source<T>& source, T* tile, std::int64_t first_row, std::int64_t k,
                              std::int64_t depth) {
    constexpr int kChunk = kPackSize<T>;
    constexpr int kChunks = kLine / kChunk;
    constexpr int kLines = kThreads / kChunks;  // that a pass of all threads copies
    const int line = threadIdx.x / kChunks;
    const int chunk = threadIdx.x % kChunks;
    const T* from = source.data +
                    (along_depth ? (first_row + line) * source.stride + k : (k + line) * source.stride + first_row) +
                    chunk * kChunk;
    T* into = tile + swizzled(line, chunk);
    std::int64_t lines = (along_depth ? source.rows - first_row : depth - k) - line;
    std::int64_t left = (along_depth ? depth - k : source.rows - first_row) - chunk * kChunk;
#pragma unroll 1
    for (int panel = 0; panel < kPanels; ++panel) {
      const int valid = left >= kChunk ? kChunk : left > 0 ? static_cast<int>(left) : 0;
#pragma unroll
      for (int i = 0; i < kPanelLines; i += kLines) {
        const int elements = i < lines ? valid : 0;
        cp_async<16>(into + i * kLine, elements ? from + i * source.stride : source.data,
                     elements * static_cast<int>(sizeof(T)));
      }
      from += kLine;
      into += kPanelLines * kLine;
      left -= kLine;
    }
  }

  // Four 8 x 8 matrices: of rows row + {0, 8} and depths k + {0, 8}, the rows first if `rows_first`.
  template <bool rows_first>
  static __device__ void fragment(std::uint32_t (&registers)[4], const T* tile, int row, int k) {
    const int lane = threadIdx.x % 32;
    const int first = lane / 8 % 2 * 8;
    const int second = lane / 16 * 8;
    row += rows_first ? first : second;
    k += rows_first ? second : first;
    if (along_depth) {
      ldmatrix_x4(registers, tile + swizzled(row + lane % 8, k / 8));
    } else {
      ldmatrix_x4_transposed(registers, tile + swizzled(row / kLine * kDepth + k + lane % 8, row % kLine / 8));
    }
  }
};

template <class T, bool a_along_depth, bool b_along_depth>
__global__ void __launch_bounds__(kThreads, 2)
    tensor_kernel(Source<T> a, Source<T> b, Output<T> to, std::int64_t all_depth, std::int64_t slice,
                  int column_tiles) {
  using OperandA = Operand<T, a_along_depth>;
  using OperandB = Operand<T, b_along_depth>;
  T* const shared = dynamic_shared<T>();
  const int warp = threadIdx.x / 32;
  const int own_row = warp / 2 * 64;
  const int own_column = warp % 2 * 64;
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.x / column_tiles) * kTile;
  const std::int64_t first_column = static_cast<std::int64_t>(blockIdx.x % column_tiles) * kTile;
  const std::int64_t first_k = blockIdx.y * slice;
  const std::int64_t depth = first_k + slice < all_depth ? first_k + slice : all_depth;
  const int steps = static_cast<int>(ceil_div<std::int64_t>(depth - first_k, kDepth));
  float sums[4][8][4] = {};

  const auto stage = [&](int step) { return shared + step % kStages * (2 * kTileElements); };
  const auto load = [&](int step) {
    if (step < steps) {
      OperandA::load(a, stage(step), first_row, first_k + static_cast<std::int64_t>(step) * kDepth, depth);
      OperandB::load(b, stage(step) + kTileElements, first_column, first_k + static_cast<std::int64_t>(step) * kDepth,
                     depth);
    }
    cp_async_commit();
  };
#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) load(step);
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    load(step + kStages - 1);  // into the stage that all have finished with
    const T* const a_tile = stage(step);
    const T* const b_tile = a_tile + kTileElements;
#pragma unroll
    for (int k = 0; k < kDepth; k += 16) {
      std::uint32_t left[4][4];
#pragma unroll
      for (int i = 0; i < 4; ++i) OperandA::template fragment<true>(left[i], a_tile, own_row + i * 16, k);
#pragma unroll
      for (int j = 0; j < 8; j += 2) {
        std::uint32_t right[4];
        OperandB::template fragment<false>(right, b_tile, own_column + j * 8, k);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          mma_m16n8k16(sums[i][j], left[i], {right[0], right[1]}, sums[i][j], T());
          mma_m16n8k16(sums[i][j + 1], left[i], {right[2], right[3]}, sums[i][j + 1], T());
        }
      }
    }
  }

  cp_async_wait<0>();
  __syncthreads();
  T* const strip = shared + warp * (kStripRows * kStripColumns);
  const std::int64_t column = first_column + own_column;
#pragma unroll 1
  for (int i = 0; i < 4; ++i) {
    const std::int64_t row = first_row + own_row + i * kStripRows;
    float values[kStripValues];
#pragma unroll
    for (int j = 0; j < kStripValues; ++j) values[j] = sums[0][j / 4][j % 4];
#pragma unroll
    for (int next = 1; next < 4; ++next) {
#pragma unroll
      for (int j = 0; j < kStripValues; ++j) sums[next - 1][j / 4][j % 4] = sums[next][j / 4][j % 4];
    }
    if (to.parts) {
      store_part(to, static_cast<int>(blockIdx.y), values, row, column);
      continue;
    }
    finish_strip(to, values, row, column, [&](T* tensor, const float (&rounded)[kStripValues]) {
      __syncwarp();
      put_strip(strip, rounded);
      __syncwarp();
      store_strip(to, tensor, strip, row, column);
    });
  }
}

template <class T, bool a_along_depth, bool b_along_depth>
void launch_tensor(const LinearProduct& args, void* stream) {
  const auto column_tiles = ceil_div<std::int64_t>(args.columns, kTile);
  const auto tiles = ceil_div<std::int64_t>(args.rows, kTile) * column_tiles;
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(args.slices()));
  const Source<T> a{static_cast<const T*>(args.a), args.rows, a_along_depth ? args.a_row : args.a_depth};
  const Source<T> b{static_cast<const T*>(args.b), args.columns, b_along_depth ? args.b_row : args.b_depth};
  launch<tensor_kernel<T, a_along_depth, b_along_depth>>(grid, kThreads, kSharedBytes, stream, a, b, Output<T>(args),
                                                         args.depth, args.parts ? args.slice : args.depth,
                                                         static_cast<int>(column_tiles));
}

}  // namespace

void linear_tensor(const LinearProduct& args, void* stream) {
  dispatch_16_bit(args, [&](auto element, auto a_along_depth, auto b_along_depth) {
    launch_tensor<decltype(element), a_along_depth, b_along_depth>(args, stream);
  });
}

}  // namespace nnzoo::cuda
