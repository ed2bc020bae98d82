// nvcuda::wmma: one product d = 2 * (a * b + c) of a warp, in every shape, type and layout.
#include <mma.h>

#include "common/launch.cuh"
#include "guarded.h"

using nnzoo::launch;
using namespace nvcuda;

namespace {

template <class Layout>
constexpr bool is_col_major = false;
template <>
constexpr bool is_col_major<wmma::col_major> = true;

// Lines in memory are 16 bytes long or longer.
template <class T>
__device__ int pitch(int length) {
  const int shortest = 16 / sizeof(T);
  return length < shortest ? shortest : length;
}

// a: [m, k], b: [k, n], c, d: [m, n], each row by row or column by column.
template <int m, int n, int k, class T, class Stored, class C, class D, class LayoutA, class LayoutB>
__global__ void product(const Stored* a, const Stored* b, const C* c, D* d, wmma::layout_t layout) {
  const bool by_columns = layout == wmma::mem_col_major;
  const bool a_by_columns = is_col_major<LayoutA>;
  const bool b_by_columns = is_col_major<LayoutB>;
  wmma::fragment<wmma::matrix_a, m, n, k, T, LayoutA> a_part;
  wmma::fragment<wmma::matrix_b, m, n, k, T, LayoutB> b_part;
  wmma::fragment<wmma::accumulator, m, n, k, C> c_part;
  wmma::fragment<wmma::accumulator, m, n, k, D> d_part;
  wmma::load_matrix_sync(a_part, a, pitch<Stored>(a_by_columns ? m : k));
  wmma::load_matrix_sync(b_part, b, pitch<Stored>(b_by_columns ? k : n));
  wmma::load_matrix_sync(c_part, c, by_columns ? m : n, layout);
  wmma::fill_fragment(d_part, D(7));
  wmma::mma_sync(d_part, a_part, b_part, c_part);
  for (int i = 0; i < d_part.num_elements; ++i) d_part.x[i] = d_part.x[i] * D(2);
  wmma::store_matrix_sync(d, d_part, by_columns ? m : n, layout);
}

template <class Layout>
struct Named {
  using Type = Layout;
};
using Row = Named<wmma::row_major>;
using Column = Named<wmma::col_major>;

// `layouts`: bit 0, a by columns; bit 1, b; bit 2, c and d.
template <int m, int n, int k, class T, class Stored, class C, class D>
void multiply(const void* a, const void* b, const void* c, void* d, int layouts) {
  const auto layout = layouts & 4 ? wmma::mem_col_major : wmma::mem_row_major;
  auto go = [&](auto a_layout, auto b_layout) {
    launch<product<m, n, k, T, Stored, C, D, typename decltype(a_layout)::Type, typename decltype(b_layout)::Type>>(
        1, 32, 0, nullptr, static_cast<const Stored*>(a), static_cast<const Stored*>(b), static_cast<const C*>(c),
        static_cast<D*>(d), layout);
  };
  auto go_with = [&](auto a_layout) { layouts & 2 ? go(a_layout, Column()) : go(a_layout, Row()); };
  layouts & 1 ? go_with(Column()) : go_with(Row());
}

template <int m, int n>
void multiply_16_deep(const std::string& types, const void* a, const void* b, const void* c, void* d, int layouts) {
  if (types == "half half") multiply<m, n, 16, __half, __half, __half, __half>(a, b, c, d, layouts);
  if (types == "half float") multiply<m, n, 16, __half, __half, float, float>(a, b, c, d, layouts);
  if (types == "half half float") multiply<m, n, 16, __half, __half, __half, float>(a, b, c, d, layouts);
  if (types == "bf16 float") multiply<m, n, 16, __nv_bfloat16, __nv_bfloat16, float, float>(a, b, c, d, layouts);
  if (types == "int8 int") multiply<m, n, 16, signed char, signed char, int, int>(a, b, c, d, layouts);
  if (types == "uint8 int") multiply<m, n, 16, unsigned char, unsigned char, int, int>(a, b, c, d, layouts);
}

__global__ void saturate(const signed char* a, const int* c, int* d) {
  wmma::fragment<wmma::matrix_a, 16, 16, 16, signed char, wmma::row_major> a_part;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, signed char, wmma::row_major> b_part;
  wmma::fragment<wmma::accumulator, 16, 16, 16, int> c_part, wrapped;
  wmma::load_matrix_sync(a_part, a, 16);
  wmma::fill_fragment(b_part, 1);
  wmma::load_matrix_sync(c_part, c, 16, wmma::mem_row_major);
  wmma::mma_sync(wrapped, a_part, b_part, c_part);
  wmma::mma_sync(c_part, a_part, b_part, c_part, true);
  wmma::store_matrix_sync(d, c_part, 16, wmma::mem_row_major);
  wmma::store_matrix_sync(d + 256, wrapped, 16, wmma::mem_row_major);
}

// What is wrong: 1, an address that is not aligned; 2, rows 8 bytes apart; 3, each lane its own matrix; 4, half a warp.
__global__ void wrong_load(const float* in, float* out, int what) {
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> part;
  const float* from = what == 1 ? in + 4 : what == 3 ? in + threadIdx.x * 8 : in;
  if (what == 4 && threadIdx.x >= 16) return;
  wmma::load_matrix_sync(part, from, what == 2 ? 18 : 16, wmma::mem_row_major);
  wmma::store_matrix_sync(out, part, 16, wmma::mem_row_major);
}

}  // namespace

EXPORT(run_wmma)(int m, int n, int k, const char* types, const void* a, const void* b, const void* c, void* d,
                 int layouts) {
  return guarded([&] {
    const std::string name = types;
    if (k == 8)
      multiply<16, 16, 8, wmma::precision::tf32, float, float, float>(a, b, c, d, layouts);
    else if (k == 4)
      multiply<8, 8, 4, double, double, double, double>(a, b, c, d, layouts);
    else if (m == 16 && n == 16)
      multiply_16_deep<16, 16>(name, a, b, c, d, layouts);
    else if (m == 32)
      multiply_16_deep<32, 8>(name, a, b, c, d, layouts);
    else
      multiply_16_deep<8, 32>(name, a, b, c, d, layouts);
  });
}

EXPORT(run_wmma_saturate)(const signed char* a, const int* c, int* d) {
  return guarded([&] { launch<saturate>(1, 32, 0, nullptr, a, c, d); });
}

EXPORT(run_wmma_wrong_load)(const float* in, float* out, int what) {
  return guarded([&] { launch<wrong_load>(1, 32, 0, nullptr, in, out, what); });
}
