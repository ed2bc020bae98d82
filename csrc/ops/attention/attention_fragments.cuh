// Tiles of bf16 or fp16 rows in shared memory, and the two products that attention makes of them on the tensor cores.
//
// A block of four warps holds 64 rows fast, 16 to a warp, and walks over tiles of 32 rows of the other side. A lane
// owns two rows of its warp's 16 x 32 products, row = lane / 4 and row + 8, four lanes sharing a row; that is how
// mma.sync leaves its result. The same registers, rounded to 16 bits, are the left operand of the next product: scores
// never leave the registers.
//
// A product sums over the features in one order, whichever side is held fast.
#pragma once

#include "common/mma.cuh"
#include "ops/attention/attention.cuh"

namespace nnzoo::cuda {

constexpr int kTensorThreads = 128;
constexpr int kTensorRows = 64;
constexpr int kFragments = kTile / 8;

// Features are read 16 at a time; 16 bytes of padding send the rows of one ldmatrix to different banks.
__host__ __device__ constexpr int padded_dim(std::int64_t size) { return static_cast<int>((size + 15) / 16 * 16); }
__host__ __device__ constexpr int tensor_pitch(std::int64_t size) { return padded_dim(size) + 8; }

// Where element i of fragment `tile` lies in the block's 64 x 32 products.
__device__ inline int fragment_row(int i) { return threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + i / 2 * 8; }
__device__ inline int fragment_column(int tile, int i) { return tile * 8 + threadIdx.x % 4 * 2 + i % 2; }

// Rows first .. first + count - 1 with zeros beyond `rows` and beyond `size`.
template <class T>
__device__ void load_tensor_tile(T* tile, int count, const T* from, std::int64_t stride, std::int64_t first,
                                 std::int64_t rows, std::int64_t size) {
  const int lane = threadIdx.x % 32;
  for (int row = threadIdx.x / 32; row < count; row += kTensorThreads / 32) {
    for (int i = lane; i < padded_dim(size); i += 32)
      tile[row * tensor_pitch(size) + i] =
          first + row < rows && i < size ? from[(first + row) * stride + i] : narrow<T>(0);
  }
}

// The same by asynchronous copies of 16 bytes, which the caller commits; see `moves_in_packs`.
template <class T>
__device__ void copy_tensor_tile(T* tile, int count, const T* from, std::int64_t stride, std::int64_t first,
                                 std::int64_t rows, std::int64_t size) {
  constexpr int kPack = kPackSize<T>;
  const int packs = padded_dim(size) / kPack;
  for (int i = threadIdx.x; i < count * packs; i += kTensorThreads) {
    const int row = i / packs;
    const int feature = i % packs * kPack;
    const bool there = first + row < rows && feature < size;
    cp_async<16>(&tile[row * tensor_pitch(size) + feature], there ? from + (first + row) * stride + feature : from,
                 there ? 16 : 0);
  }
}

// Whether every row of a tensor is a whole number of aligned 16-byte packs.
template <class T>
bool moves_in_packs(const void* tensor, const std::int64_t (&stride)[3], std::int64_t size) {
  constexpr int kPack = kPackSize<T>;
  return reinterpret_cast<std::uintptr_t>(tensor) % 16 == 0 && size % kPack == 0 && stride[0] % kPack == 0 &&
         stride[1] % kPack == 0 && stride[2] % kPack == 0;
}

// Whether tiles of keys and values can be copied.
template <class T>
bool can_pipeline(const AttentionInputs& in) {
  return moves_in_packs<T>(in.key, in.key_stride, in.head_dim) &&
         moves_in_packs<T>(in.value, in.value_stride, in.value_dim);
}

template <class T>
__device__ std::uint32_t pack_pair(float low, float high) {
  const Pack<T, 2> pair{{narrow<T>(low), narrow<T>(high)}};
  std::uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}

// products = rows @ columns^T for this warp's 16 of 64 rows and 8 * fragments columns, both with `size` features.
template <class T, int fragments>
__device__ void row_products(float (&products)[fragments][4], const T* rows, const T* columns, std::int64_t size) {
  const int lane = threadIdx.x % 32;
  const int pitch = tensor_pitch(size);
  rows += (threadIdx.x / 32 * 16 + lane % 16) * pitch + lane / 16 * 8;
  columns += (lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 8;
#pragma unroll
  for (int tile = 0; tile < fragments; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) products[tile][i] = 0.0f;
  }
  for (int k = 0; k < padded_dim(size); k += 16) {
    std::uint32_t a[4];
    ldmatrix_x4(a, rows + k);
#pragma unroll
    for (int tile = 0; tile < fragments; tile += 2) {
      std::uint32_t b[4];
      ldmatrix_x4(b, columns + tile * 8 * pitch + k);
      const std::uint32_t first_half[2] = {b[0], b[1]};
      const std::uint32_t second_half[2] = {b[2], b[3]};
      mma_m16n8k16(products[tile], a, first_half, products[tile], T());
      mma_m16n8k16(products[tile + 1], a, second_half, products[tile + 1], T());
    }
  }
}

// sums += factors @ tile for this warp's 16 rows of factors, rounded to T, and 8 * fragments rows of `size` features.
template <class T, int dim, int fragments>
__device__ void add_tile(float (&sums)[dim][4], const float (&factors)[fragments][4], const T* tile,
                         std::int64_t size) {
  const int lane = threadIdx.x % 32;
  const int pitch = tensor_pitch(size);
  tile += lane % 16 * pitch + lane / 16 * 8;
#pragma unroll
  for (int k = 0; k < fragments; k += 2) {
    const std::uint32_t a[4] = {pack_pair<T>(factors[k][0], factors[k][1]), pack_pair<T>(factors[k][2], factors[k][3]),
                                pack_pair<T>(factors[k + 1][0], factors[k + 1][1]),
                                pack_pair<T>(factors[k + 1][2], factors[k + 1][3])};
#pragma unroll
    for (int j = 0; j < dim; j += 2) {
      if (j * 8 < padded_dim(size)) {
        std::uint32_t b[4];
        ldmatrix_x4_transposed(b, tile + k * 8 * pitch + j * 8);
        const std::uint32_t first_half[2] = {b[0], b[1]};
        const std::uint32_t second_half[2] = {b[2], b[3]};
        mma_m16n8k16(sums[j], a, first_half, sums[j], T());
        mma_m16n8k16(sums[j + 1], a, second_half, sums[j + 1], T());
      }
    }
  }
}

// Writes rows first .. first + 63 of [rows, size]; factor: of this lane's two rows.
template <class T, int dim>
__device__ void store_fragments(T* to, const float (&sums)[dim][4], const float (&factor)[2], std::int64_t first,
                                std::int64_t rows, std::int64_t size) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const std::int64_t row = first + fragment_row(i);
    if (row >= rows) continue;
#pragma unroll
    for (int j = 0; j < dim; ++j) {
      const int feature = fragment_column(j, i);
      if (feature < size) to[row * size + feature] = narrow<T>(sums[j][i] * factor[i / 2]);
    }
  }
}

}  // namespace nnzoo::cuda
