// Vec<float> and Vec<double> as plain arrays, for processors other than x86-64. Included by simd.h.
#pragma once

namespace nnzoo {
namespace NNZOO_ISA {

template <class T>
struct Mask {
  bool m[16 / sizeof(T)];
};

template <class T>
struct BitsOf;
template <>
struct BitsOf<float> {
  using Type = std::uint32_t;
};
template <>
struct BitsOf<double> {
  using Type = std::uint64_t;
};

template <class T>
struct Vec {
  static constexpr int width = 16 / sizeof(T);
  using Bits = typename BitsOf<T>::Type;
  T v[width];

  template <class Lane>
  static NNZOO_INLINE Vec generate(const Lane& lane) {
    Vec r;
    for (int i = 0; i < width; ++i) r.v[i] = lane(i);
    return r;
  }
  static NNZOO_INLINE Vec set(T x) {
    return generate([=](int) { return x; });
  }
  static NNZOO_INLINE Vec zero() { return set(T(0)); }
  static NNZOO_INLINE Vec from_bits(Bits u) { return set(bit_cast<T>(u)); }
  template <class S>
  static NNZOO_INLINE Vec load(const S* p) {
    return generate([=](int i) { return T(to_float(p[i])); });
  }
  template <class S>
  static NNZOO_INLINE Vec load(const S* p, int count) {
    return generate([=](int i) { return i < count ? T(to_float(p[i])) : T(0); });
  }
  template <class S>
  NNZOO_INLINE void stream(S* p) const {
    store(p);
  }
  template <class S>
  NNZOO_INLINE void store(S* p) const {
    store(p, width);
  }
  template <class S>
  NNZOO_INLINE void store(S* p, int count) const {
    for (int i = 0; i < count; ++i) p[i] = from_float<S>(v[i]);
  }
};

#define NNZOO_BINARY(name, expression)                             \
  template <class T>                                               \
  NNZOO_INLINE Vec<T> name(Vec<T> a, Vec<T> b) {                   \
    return Vec<T>::generate([&](int i) { return T(expression); }); \
  }
#define NNZOO_BITS(name, expression)                                     \
  template <class T>                                                     \
  NNZOO_INLINE Vec<T> name(Vec<T> a, Vec<T> b) {                         \
    using Bits = typename Vec<T>::Bits;                                  \
    return Vec<T>::generate([&](int i) {                                 \
      const Bits x = bit_cast<Bits>(a.v[i]), y = bit_cast<Bits>(b.v[i]); \
      return bit_cast<T>(Bits(expression));                              \
    });                                                                  \
  }
#define NNZOO_COMPARE(name)                                              \
  template <class T>                                                     \
  NNZOO_INLINE Mask<T> operator name(Vec<T> a, Vec<T> b) {               \
    Mask<T> r;                                                           \
    for (int i = 0; i < Vec<T>::width; ++i) r.m[i] = a.v[i] name b.v[i]; \
    return r;                                                            \
  }
NNZOO_BINARY(operator+, a.v[i] + b.v[i])
NNZOO_BINARY(operator-, a.v[i] - b.v[i])
NNZOO_BINARY(operator*, a.v[i] * b.v[i])
NNZOO_BINARY(operator/, a.v[i] / b.v[i])
NNZOO_BINARY(min, a.v[i] < b.v[i] ? a.v[i] : b.v[i])
NNZOO_BINARY(max, a.v[i] > b.v[i] ? a.v[i] : b.v[i])
NNZOO_BITS(bit_and, x& y)
NNZOO_BITS(bit_or, x | y)
NNZOO_BITS(bit_xor, x ^ y)
NNZOO_BITS(bit_andnot, ~x& y)
NNZOO_COMPARE(<)
NNZOO_COMPARE(<=)
NNZOO_COMPARE(>)
NNZOO_COMPARE(>=)
NNZOO_COMPARE(==)
NNZOO_COMPARE(!=)
#undef NNZOO_BINARY
#undef NNZOO_BITS
#undef NNZOO_COMPARE

template <class T>
NNZOO_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return a * b + c;
}
template <class T>
NNZOO_INLINE Vec<T> fnma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return c - a * b;
}
NNZOO_INLINE Vec<float> sqrt(Vec<float> a) {
  return Vec<float>::generate([&](int i) { return __builtin_sqrtf(a.v[i]); });
}
NNZOO_INLINE Vec<double> sqrt(Vec<double> a) {
  return Vec<double>::generate([&](int i) { return __builtin_sqrt(a.v[i]); });
}
template <class T>
NNZOO_INLINE T reduce_add(Vec<T> a) {
  T r = a.v[0];
  for (int i = 1; i < Vec<T>::width; ++i) r += a.v[i];
  return r;
}
template <class T>
NNZOO_INLINE T reduce_max(Vec<T> a) {
  T r = a.v[0];
  for (int i = 1; i < Vec<T>::width; ++i) r = r > a.v[i] ? r : a.v[i];
  return r;
}
template <class T>
NNZOO_INLINE T reduce_min(Vec<T> a) {
  T r = a.v[0];
  for (int i = 1; i < Vec<T>::width; ++i) r = r < a.v[i] ? r : a.v[i];
  return r;
}
template <class T>
NNZOO_INLINE Vec<T> select(Mask<T> m, Vec<T> a, Vec<T> b) {
  return Vec<T>::generate([&](int i) { return m.m[i] ? a.v[i] : b.v[i]; });
}
template <int n, class T>
NNZOO_INLINE Vec<T> shift_left(Vec<T> a) {
  using Bits = typename Vec<T>::Bits;
  return Vec<T>::generate([&](int i) { return bit_cast<T>(Bits(bit_cast<Bits>(a.v[i]) << n)); });
}
template <int n, class T>
NNZOO_INLINE Vec<T> shift_right(Vec<T> a) {
  using Bits = typename Vec<T>::Bits;
  return Vec<T>::generate([&](int i) { return bit_cast<T>(Bits(bit_cast<Bits>(a.v[i]) >> n)); });
}
template <class T>
NNZOO_INLINE Mask<T> first_lanes(int count) {
  Mask<T> r;
  for (int i = 0; i < Vec<T>::width; ++i) r.m[i] = i < count;
  return r;
}
template <class T>
NNZOO_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) {
  for (int i = 0; i < Vec<T>::width; ++i) a.m[i] = a.m[i] && b.m[i];
  return a;
}
template <class T>
NNZOO_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) {
  for (int i = 0; i < Vec<T>::width; ++i) a.m[i] = a.m[i] || b.m[i];
  return a;
}
template <class T>
NNZOO_INLINE Mask<T> operator~(Mask<T> a) {
  for (int i = 0; i < Vec<T>::width; ++i) a.m[i] = !a.m[i];
  return a;
}
template <class T>
NNZOO_INLINE bool any(Mask<T> a) {
  bool r = false;
  for (int i = 0; i < Vec<T>::width; ++i) r = r || a.m[i];
  return r;
}
template <class T>
NNZOO_INLINE bool all(Mask<T> a) {
  return !any(~a);
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
