// Packing for the GEMM core: operands that know how to write themselves as micro-panels.
//
// A micro-panel holds `width` outer elements (rows of A or columns of B) at each step k of the depth: out[k * width +
// i], where a step is one value, or two of them for pairs. An operand is any class with
//
//     template <int width, class T>
//     void pack(std::int64_t outer, int count, std::int64_t depth_begin, std::int64_t depth, T* out) const;
//
// which writes outer elements [outer, outer + count), count <= width, zero-padded to `width`, as factors T. An odd
// depth ends with a pair whose second value is 0.
#pragma once

#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

// One 4x4 (float, or pairs as they are) or 2x2 (double) block: out[k * stride + i] = row i of source at k.
template <class S, class T>
NNZOO_INLINE void transpose4(const S* r0, const S* r1, const S* r2, const S* r3, T* to, std::int64_t stride) {
#if defined(__SSE2__)
  float* const out = reinterpret_cast<float*>(to);
  const auto load = [](const S* p) {
    if constexpr (sizeof(S) == 2) {
      const __m128i half = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
      return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), half));
    } else {
      return _mm_loadu_ps(reinterpret_cast<const float*>(p));
    }
  };
  __m128 a = load(r0), b = load(r1), c = load(r2), d = load(r3);
  _MM_TRANSPOSE4_PS(a, b, c, d);
  _mm_storeu_ps(out, a);
  _mm_storeu_ps(out + stride, b);
  _mm_storeu_ps(out + 2 * stride, c);
  _mm_storeu_ps(out + 3 * stride, d);
#else
  for (int k = 0; k < 4; ++k) {
    to[k * stride] = to_float(r0[k]);
    to[k * stride + 1] = to_float(r1[k]);
    to[k * stride + 2] = to_float(r2[k]);
    to[k * stride + 3] = to_float(r3[k]);
  }
#endif
}

NNZOO_INLINE void transpose2(const double* r0, const double* r1, double* out, std::int64_t stride) {
#if defined(__SSE2__)
  const __m128d a = _mm_loadu_pd(r0), b = _mm_loadu_pd(r1);
  _mm_storeu_pd(out, _mm_unpacklo_pd(a, b));
  _mm_storeu_pd(out + stride, _mm_unpackhi_pd(a, b));
#else
  for (int k = 0; k < 2; ++k) {
    out[k * stride] = r0[k];
    out[k * stride + 1] = r1[k];
  }
#endif
}

template <class S>
NNZOO_INLINE Compute<S> as_factor(S x) {
  return to_float(x);
}
NNZOO_INLINE BFloat16Pair as_factor(BFloat16Pair x) { return x; }

// out[k * width + i] = row(i)[k]. The depth is walked in cache lines so that each line of the source is read once and
// the panel is written nearly in order.
template <int width, class T, class Row>
NNZOO_INLINE void transpose_rows(const Row& row, int count, std::int64_t depth, T* out) {
  constexpr int block = sizeof(T) == 4 ? 4 : 2;
  constexpr std::int64_t line = 16;
  for (std::int64_t k0 = 0; k0 < depth; k0 += line) {
    const std::int64_t k1 = k0 + line < depth ? k0 + line : depth;
    // So many streams are too many for the CPU's own prefetcher, and a stride of a power of two leaves them few places
    // in the first-level cache.
    for (int i = 0; i < count; ++i) prefetch_to_level2(row(i) + k0 + 2 * line);
    int i = 0;
    for (; i + block <= count; i += block) {
      std::int64_t k = k0;
      if constexpr (sizeof(T) == 4) {
        const auto *r0 = row(i), *r1 = row(i + 1), *r2 = row(i + 2), *r3 = row(i + 3);
        for (; k + 4 <= k1; k += 4) transpose4(r0 + k, r1 + k, r2 + k, r3 + k, out + k * width + i, width);
      } else {
        const auto *r0 = row(i), *r1 = row(i + 1);
        for (; k + 2 <= k1; k += 2) transpose2(r0 + k, r1 + k, out + k * width + i, width);
      }
      for (; k < k1; ++k) {
        for (int j = 0; j < block; ++j) out[k * width + i + j] = as_factor(row(i + j)[k]);
      }
    }
    for (; i < count; ++i) {
      const auto* r = row(i);
      for (std::int64_t k = k0; k < k1; ++k) out[k * width + i] = as_factor(r[k]);
    }
    for (; i < width; ++i) {
      for (std::int64_t k = k0; k < k1; ++k) out[k * width + i] = T{};
    }
  }
}

// The transposing pack: `row(i)` is the address of outer element i's contiguous depth.
template <int width, class T, class Row>
NNZOO_INLINE void pack_rows(const Row& row, int count, std::int64_t depth, T* out) {
  if constexpr (values_per_factor<T> == 1) {
    transpose_rows<width>(row, count, depth, out);
  } else {
    const auto pairs = [&](int i) { return reinterpret_cast<const T*>(row(i)); };
    transpose_rows<width>(pairs, count, depth / 2, out);
    if (depth % 2 == 0) return;
    out += depth / 2 * width;
    for (int i = 0; i < width; ++i) out[i] = i < count ? T{row(i)[depth - 1], {}} : T{};
  }
}

// Copies `count` contiguous elements to `out`, converted and zero-padded to `width`.
template <int width, class T, class S>
NNZOO_INLINE void copy_padded(const S* source, int count, T* out) {
  constexpr int lanes = Vec<T>::width;
  if constexpr (width % lanes == 0) {
#pragma GCC unroll 4
    for (int i = 0; i < width; i += lanes) {
      const int left = count - i;
      if (left >= lanes) {
        Vec<T>::load(source + i).store(out + i);
      } else {
        (left > 0 ? Vec<T>::load(source + i, left) : Vec<T>::zero()).store(out + i);
      }
    }
  } else if (width < lanes) {
    Vec<T>::load(source, count).store(out, width);
  } else if (count == width) {
#pragma GCC unroll 8
    for (int i = 0; i < width; ++i) out[i] = to_float(source[i]);
  } else {
    for (int i = 0; i < width; ++i) out[i] = i < count ? T(to_float(source[i])) : T(0);
  }
}

// Pairs of `count` contiguous elements of two rows, zero-padded to `width`; without `odd` they are {even, 0}.
template <int width, class T>
NNZOO_INLINE void interleave_padded(const BFloat16* even, const BFloat16* odd, int count, T* out) {
  constexpr int lanes = Vec<T>::width, last = width % lanes ? width % lanes : lanes;
#pragma GCC unroll 4
  for (int i = 0; i < width; i += lanes) {
    const int left = count - i < lanes ? count - i : lanes;
    Vec<T> pairs = Vec<T>::zero();
    if (left == lanes) {
      pairs = odd ? Vec<T>::interleave(even + i, odd + i) : Vec<T>::interleave(even + i);
    } else if (left > 0) {
      pairs = odd ? Vec<T>::interleave(even + i, odd + i, left) : Vec<T>::interleave(even + i, left);
    }
    if (i + lanes <= width) {
      pairs.store(out + i);
    } else {
      pairs.store(out + i, last);
    }
  }
}

// The pack that keeps the order: `step(k)` is the address of `count` contiguous outer elements.
template <int width, class T, class Step>
NNZOO_INLINE void pack_steps(const Step& step, int count, std::int64_t depth, T* out) {
  if constexpr (values_per_factor<T> == 1) {
    for (std::int64_t k = 0; k < depth; ++k) copy_padded<width>(step(k), count, out + k * width);
  } else {
    std::int64_t k = 0;
    for (; k + 2 <= depth; k += 2, out += width) interleave_padded<width>(step(k), step(k + 1), count, out);
    if (k < depth) interleave_padded<width>(step(k), static_cast<const BFloat16*>(nullptr), count, out);
  }
}

// A matrix in memory. `outer_stride` is the step between rows of A or between columns of B, `depth_stride` the step
// along K. So row-major A [M, K] is {a, lda, 1}, its transpose [K, M] {a, 1, lda}, row-major B [K, N] {b, 1, ldb}, and
// a weight [N, K] used as B = weight^T {weight, ld, 1}.
template <class S>
struct Strided {
  const S* data;
  std::int64_t outer_stride, depth_stride;

  const S* at(std::int64_t outer, std::int64_t depth) const {
    return data + outer * outer_stride + depth * depth_stride;
  }

  template <int width, class T>
  void pack(std::int64_t outer, int count, std::int64_t depth_begin, std::int64_t depth, T* out) const {
    const S* source = at(outer, depth_begin);
    if (depth_stride == 1) {
      pack_rows<width>([=](int i) { return source + i * outer_stride; }, count, depth, out);
    } else if (outer_stride == 1) {
      pack_steps<width>([=](std::int64_t k) { return source + k * depth_stride; }, count, depth, out);
    } else {
      for (std::int64_t k = 0; k < depth; k += values_per_factor<T>, out += width) {
        for (int i = 0; i < width; ++i) out[i] = i < count ? factor_at<T>(source + i * outer_stride, k, depth) : T{};
      }
    }
  }

 private:
  template <class T>
  T factor_at(const S* source, std::int64_t k, std::int64_t depth) const {
    if constexpr (values_per_factor<T> == 1) {
      return to_float(source[k * depth_stride]);
    } else {
      return {source[k * depth_stride], k + 1 < depth ? source[(k + 1) * depth_stride] : S{}};
    }
  }
};

// Rows (of A) or columns (of B) picked by an index list, each contiguous along the depth.
template <class S>
struct Gathered {
  const S* data;
  std::int64_t outer_stride;
  const std::int64_t* index;

  template <int width, class T>
  void pack(std::int64_t outer, int count, std::int64_t depth_begin, std::int64_t depth, T* out) const {
    pack_rows<width>([=](int i) { return data + index[outer + i] * outer_stride + depth_begin; }, count, depth, out);
  }
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
