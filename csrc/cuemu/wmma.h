// `nvcuda::wmma`, the matrix products of a warp in CUDA C++ (programming guide, "Warp Matrix Functions"): what
// `<mma.h>` declares, but for the experimental types of 1 and 4 bits.
//
// Which element of a matrix a lane holds in which `x[i]` is unspecified in CUDA, and another one here than on a GPU.
#pragma once

#include <cstdint>

#include "cuemu/reduced_precision.h"
#include "cuemu/runtime.h"

namespace nvcuda::wmma::precision {
struct tf32;
}

namespace cuemu {

enum class Number : std::uint8_t { float16, bfloat16, tf32, float32, float64, int8, uint8, int32 };

// The elements of a matrix in their order, row by row, are dealt out to the lanes in turn, `held` to each. Where that
// deals out more than there are, it begins again: several lanes hold a copy.
struct Spread {
  Number type;
  unsigned rows;
  unsigned columns;
  unsigned held;
};
struct FragmentPart {
  const Spread* spread;
  void* elements;  // of the calling lane
};

// To and from memory, where rows or else columns begin `pitch` elements apart.
void load_fragment(FragmentPart part, const void* memory, unsigned pitch, bool by_columns, Site site);
void store_fragment(FragmentPart part, void* memory, unsigned pitch, bool by_columns, Site site);
// d = a * b + c; integers wrap around unless they are to saturate.
void multiply_fragments(FragmentPart d, FragmentPart a, FragmentPart b, FragmentPart c, bool saturates, Site site);

// How a fragment's type is stored.
template <class T>
struct FragmentElement;
#define CUEMU_FRAGMENT_ELEMENT(name, stored, number) \
  template <>                                        \
  struct FragmentElement<name> {                     \
    using Stored = stored;                           \
    static constexpr Number type = Number::number;   \
  };
CUEMU_FRAGMENT_ELEMENT(__half, __half, float16)
CUEMU_FRAGMENT_ELEMENT(__nv_bfloat16, __nv_bfloat16, bfloat16)
CUEMU_FRAGMENT_ELEMENT(nvcuda::wmma::precision::tf32, float, tf32)
CUEMU_FRAGMENT_ELEMENT(float, float, float32)
CUEMU_FRAGMENT_ELEMENT(double, double, float64)
CUEMU_FRAGMENT_ELEMENT(signed char, signed char, int8)
CUEMU_FRAGMENT_ELEMENT(unsigned char, unsigned char, uint8)
CUEMU_FRAGMENT_ELEMENT(int, int, int32)
#undef CUEMU_FRAGMENT_ELEMENT

constexpr bool is_fragment_shape(unsigned m, unsigned n, unsigned k, Number type, bool accumulates) {
  const bool is_sum = type == Number::float32 || type == Number::int32;
  if (m == 8 && n == 8 && k == 4) return type == Number::float64;
  if (m == 16 && n == 16 && k == 8) return type == (accumulates ? Number::float32 : Number::tf32);
  if (k != 16 || !((m == 16 && n == 16) || (m == 32 && n == 8) || (m == 8 && n == 32))) return false;
  if (accumulates) return is_sum || type == Number::float16;
  return !is_sum && type != Number::tf32 && type != Number::float64;
}

constexpr bool multiplies(Number operand, Number sum) {
  switch (operand) {
    case Number::float16:
      return sum == Number::float16 || sum == Number::float32;
    case Number::float64:
      return sum == Number::float64;
    case Number::int8:
    case Number::uint8:
      return sum == Number::int32;
    default:
      return sum == Number::float32;
  }
}

}  // namespace cuemu

namespace nvcuda::wmma {

struct row_major;
struct col_major;
struct matrix_a;
struct matrix_b;
struct accumulator;

enum layout_t { mem_row_major, mem_col_major };

namespace detail {
template <class Layout>
constexpr bool is_col_major = false;
template <>
inline constexpr bool is_col_major<col_major> = true;
template <class Layout>
constexpr bool has_layout = true;
template <>
inline constexpr bool has_layout<void> = false;
}  // namespace detail

// a: [m, k], b: [k, n], accumulator: [m, n]
template <class Use, int m, int n, int k, class T, class Layout = void>
class fragment;

#define CUEMU_FRAGMENT(use, accumulates, rows, columns)                                                            \
  template <int m, int n, int k, class T, class Layout>                                                            \
  class fragment<use, m, n, k, T, Layout> {                                                                        \
    using Element = cuemu::FragmentElement<T>;                                                                     \
    static_assert(cuemu::is_fragment_shape(m, n, k, Element::type, accumulates), "no such matrix shape and type"); \
    static_assert(detail::has_layout<Layout> != accumulates,                                                       \
                  "matrix_a and matrix_b have a layout, accumulator has none");                                    \
                                                                                                                   \
   public:                                                                                                         \
    using element_type = T;                                                                                        \
    using storage_element_type = typename Element::Stored;                                                         \
    static constexpr int num_elements =                                                                            \
        Element::type == cuemu::Number::float16 && !accumulates ? 16 : rows * columns / 32;                        \
    static constexpr int num_storage_elements = num_elements;                                                      \
    static constexpr cuemu::Spread spread{Element::type, rows, columns, num_elements};                             \
    storage_element_type x[num_elements];                                                                          \
  };
CUEMU_FRAGMENT(matrix_a, false, m, k)
CUEMU_FRAGMENT(matrix_b, false, k, n)
CUEMU_FRAGMENT(accumulator, true, m, n)
#undef CUEMU_FRAGMENT

template <class Fragment>
cuemu::FragmentPart part_of(const Fragment& of) {
  return {&Fragment::spread, const_cast<typename Fragment::storage_element_type*>(of.x)};
}

template <class Use, int m, int n, int k, class T, class Layout>
void fill_fragment(fragment<Use, m, n, k, T, Layout>& to,
                   const typename fragment<Use, m, n, k, T, Layout>::storage_element_type& value) {
  for (auto& element : to.x) element = value;
}

template <class Use, int m, int n, int k, class T, class Layout>
__forceinline__ void load_matrix_sync(fragment<Use, m, n, k, T, Layout>& to,
                                      const typename fragment<Use, m, n, k, T, Layout>::storage_element_type* memory,
                                      unsigned pitch, cuemu::Site site = cuemu::Site::here()) {
  static_assert(detail::has_layout<Layout>, "an accumulator is loaded with mem_row_major or mem_col_major");
  cuemu::load_fragment(part_of(to), memory, pitch, detail::is_col_major<Layout>, site);
}

template <int m, int n, int k, class T>
__forceinline__ void load_matrix_sync(fragment<accumulator, m, n, k, T>& to,
                                      const typename fragment<accumulator, m, n, k, T>::storage_element_type* memory,
                                      unsigned pitch, layout_t layout, cuemu::Site site = cuemu::Site::here()) {
  cuemu::load_fragment(part_of(to), memory, pitch, layout == mem_col_major, site);
}

template <int m, int n, int k, class T>
__forceinline__ void store_matrix_sync(T* memory, const fragment<accumulator, m, n, k, T>& from, unsigned pitch,
                                       layout_t layout, cuemu::Site site = cuemu::Site::here()) {
  cuemu::store_fragment(part_of(from), memory, pitch, layout == mem_col_major, site);
}

template <int m, int n, int k, class T, class LayoutA, class LayoutB, class D, class C>
__forceinline__ void mma_sync(fragment<accumulator, m, n, k, D>& d, const fragment<matrix_a, m, n, k, T, LayoutA>& a,
                              const fragment<matrix_b, m, n, k, T, LayoutB>& b,
                              const fragment<accumulator, m, n, k, C>& c, bool saturates = false,
                              cuemu::Site site = cuemu::Site::here()) {
  static_assert(cuemu::multiplies(cuemu::FragmentElement<T>::type, cuemu::FragmentElement<D>::type) &&
                    cuemu::multiplies(cuemu::FragmentElement<T>::type, cuemu::FragmentElement<C>::type),
                "products of this type have no such sums");
  cuemu::multiply_fragments(part_of(d), part_of(a), part_of(b), part_of(c), saturates, site);
}

// Rounds to the nearest of 10 bits of mantissa, ties away from zero.
inline float __float_to_tf32(float value) {
  return value == value ? cuemu::bits_float((cuemu::float_bits(value) + 0x1000u) & ~0x1fffu) : value;
}

}  // namespace nvcuda::wmma
