// exp, log, tanh, sigmoid and erf on Vec<float> and Vec<double>: within about 2 units in the last place, with the
// limits of the C library at infinities, zeros, subnormal and NaN arguments (exp underflows gradually; sigmoid to 0
// below -ln(max)).
//
// Every polynomial is a Chebyshev interpolant of the named function on the reduced range, computed with 50 digits.
#pragma once

#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

// sum of coefficients[i] * x^i, the highest power first.
template <class T, int n>
NNZOO_INLINE Vec<T> polynomial(Vec<T> x, const T (&coefficients)[n]) {
  Vec<T> sum = Vec<T>::set(coefficients[0]);
#pragma GCC unroll 16
  for (int i = 1; i < n; ++i) sum = fma(sum, x, Vec<T>::set(coefficients[i]));
  return sum;
}

template <class T>
struct FloatFormat;

template <>
struct FloatFormat<float> {
  static constexpr int mantissa_bits = 23;
  static constexpr float bias = 127.0f;
  static constexpr float round_magic = 0x1.8p23f;  // adding it leaves the nearest integer in the low mantissa bits
  static constexpr float int_magic = 0x1p23f;      // its exponent makes an integer below 2^23 of the mantissa
  static constexpr std::uint32_t mantissa_mask = 0x007fffffu;
  static constexpr float smallest_normal = 0x1p-126f;
  static constexpr float ln2_high = 0x1.62ep-1f, ln2_low = 3.1946184945309417e-05f;  // n * ln2_high is exact
  static constexpr std::uint32_t infinity = 0x7f800000u, nan = 0x7fc00000u;
};

template <>
struct FloatFormat<double> {
  static constexpr int mantissa_bits = 52;
  static constexpr double bias = 1023.0;
  static constexpr double round_magic = 0x1.8p52;
  static constexpr double int_magic = 0x1p52;
  static constexpr std::uint64_t mantissa_mask = 0x000fffffffffffffull;
  static constexpr double smallest_normal = 0x1p-1022;
  static constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 1.9082149292705878e-10;
  static constexpr std::uint64_t infinity = 0x7ff0000000000000ull, nan = 0x7ff8000000000000ull;
};

// Nearest integer, ties to even, of |x| < 2^22 (float) or 2^51 (double).
template <class T>
NNZOO_INLINE Vec<T> round_small(Vec<T> x) {
  const Vec<T> magic = Vec<T>::set(FloatFormat<T>::round_magic);
  return (x + magic) - magic;
}

#if !defined(__AVX512F__)
// 2^n for an integer n whose result is normal.
template <class T>
NNZOO_INLINE Vec<T> power_of_two(Vec<T> n) {
  using F = FloatFormat<T>;
  return shift_left<F::mantissa_bits>(n + Vec<T>::set(F::round_magic + F::bias));
}

// x * 2^n for integer n; in two steps, so that results below the smallest normal number are right.
template <class T>
NNZOO_INLINE Vec<T> scale_by_power(Vec<T> x, Vec<T> n) {
  const Vec<T> half = round_small(n * Vec<T>::set(T(0.5)));
  return x * power_of_two(half) * power_of_two(n - half);
}
#endif

// exp(x) = 2^n (1 + rest), |rest| < 0.42, for arguments that don't overflow.
template <class T>
struct Exponential {
  Vec<T> rest, n;
};

template <class T>
NNZOO_INLINE Exponential<T> split_exp(Vec<T> x) {
  using F = FloatFormat<T>;
  constexpr bool single = sizeof(T) == 4;
  const Vec<T> n = round_small(x * Vec<T>::set(T(1.4426950408889634074)));
  const Vec<T> r = fnma(n, Vec<T>::set(F::ln2_low), fnma(n, Vec<T>::set(F::ln2_high), x));
  // (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2
  Vec<T> q;
  if constexpr (single) {
    q = polynomial<T>(
        r, {1.3926183587713494e-3f, 8.3631790527225774e-3f, 4.1666554617204574e-2f, 1.6666576986898776e-1f, 0.5f});
  } else {
    q = polynomial<T>(r, {2.5100385495510319e-8, 2.7620088445409748e-7, 2.7557268459997065e-6, 2.4801521295954375e-5,
                          1.9841269853863617e-4, 1.3888888917213717e-3, 8.3333333333300618e-3, 4.1666666666624128e-2,
                          1.6666666666666667e-1, 0.5});
  }
  return {fma(r * r, q, r), n};
}

template <class T>
NNZOO_INLINE Vec<T> exp(Vec<T> x) {
  constexpr bool single = sizeof(T) == 4;
  // Beyond these the result is 0 or infinity; NaN passes, being the second operand.
  x = min(Vec<T>::set(T(single ? 89.0 : 710.0)), max(Vec<T>::set(T(single ? -104.0 : -746.0)), x));
  const Exponential<T> e = split_exp(x);
  return scale_by_power(e.rest + Vec<T>::set(T(1)), e.n);
}

// exp(x) - 1 for x <= 0; of others the result is unspecified, NaN passes.
template <class T>
NNZOO_INLINE Vec<T> expm1_of_negative(Vec<T> x) {
  const Vec<T> one = Vec<T>::set(T(1));
  // Below the bound exp(x) is less than half a unit in the last place of 1.
  const Exponential<T> e = split_exp(min(Vec<T>::zero(), max(Vec<T>::set(T(-40)), x)));
  const Vec<T> power = scale_by_power(one, e.n);
  return fma(power, e.rest, power - one);
}

template <class T>
NNZOO_INLINE Vec<T> log(Vec<T> x) {
  using F = FloatFormat<T>;
  const Vec<T> one = Vec<T>::set(T(1));
  const Mask<T> tiny = x < Vec<T>::set(F::smallest_normal);
  constexpr T lift = T(1ull << (F::mantissa_bits + 1));
  const Vec<T> normal = select(tiny, x * Vec<T>::set(lift), x);
  // normal = m * 2^e with m in [sqrt(1/2), sqrt(2))
  const Vec<T> int_magic = Vec<T>::set(F::int_magic);
  Vec<T> e = bit_or(shift_right<F::mantissa_bits>(normal), int_magic) - int_magic;
  e -= select(tiny, Vec<T>::set(F::bias + T(F::mantissa_bits + 1)), Vec<T>::set(F::bias));
  Vec<T> m = bit_or(bit_and(normal, Vec<T>::from_bits(F::mantissa_mask)), one);
  const Mask<T> high = m > Vec<T>::set(T(1.4142135623730950488));
  m = select(high, m * Vec<T>::set(T(0.5)), m);
  e = select(high, e + one, e);
  const Vec<T> f = m - one;
  const Vec<T> s = f / (f + Vec<T>::set(T(2)));
  const Vec<T> z = s * s;
  // (log((1 + s) / (1 - s)) / s - 2) / z
  Vec<T> r;
  if constexpr (sizeof(T) == 4) {
    r = polynomial<T>(z,
                      {2.3331614471843500e-1f, 2.8550778633191965e-1f, 4.0000122211810650e-1f, 6.6666666554042012e-1f});
  } else {
    r = polynomial<T>(z, {1.3088034850927554e-1, 1.3268638369266824e-1, 1.5386244737621667e-1, 1.8181795547521136e-1,
                          2.2222222392581045e-1, 2.8571428570799785e-1, 4.0000000000000883e-1, 6.6666666666666666e-1});
  }
  const Vec<T> half_square = Vec<T>::set(T(0.5)) * f * f;
  const Vec<T> low = fma(e, Vec<T>::set(F::ln2_low), s * fma(r, z, half_square));
  Vec<T> y = fma(e, Vec<T>::set(F::ln2_high), f - (half_square - low));
  const Vec<T> infinity = Vec<T>::from_bits(F::infinity);
  y = select(x == infinity, infinity, y);
  y = select(x == Vec<T>::zero(), neg(infinity), y);
  return select((x < Vec<T>::zero()) | is_nan(x), Vec<T>::from_bits(F::nan), y);
}

// log(1 + x) for x >= 0: what rounding 1 + x loses comes back through the derivative.
template <class T>
NNZOO_INLINE Vec<T> log1p(Vec<T> x) {
  const Vec<T> one = Vec<T>::set(T(1)), sum = one + x;
  const Vec<T> lost = (x - (sum - one)) / sum;
  return log(sum) + lost;
}

template <class T>
NNZOO_INLINE Vec<T> copy_sign(Vec<T> magnitude, Vec<T> sign) {
  const Vec<T> bit = Vec<T>::set(T(-0.0));
  return bit_or(bit_andnot(bit, magnitude), bit_and(bit, sign));
}

// tanh(x), given |tanh(x)| for the |x| where a polynomial doesn't do.
template <class T>
NNZOO_INLINE Vec<T> tanh_given_far(Vec<T> x, Vec<T> far) {
  const Vec<T> a = abs(x), z = x * x;
  // (tanh(x) / x - 1) / x^2 on |x| <= 0.625
  Vec<T> p;
  if constexpr (sizeof(T) == 4) {
    p = polynomial<T>(z, {2.2927448161781423e-3f, -8.3439455158391520e-3f, 2.1768918651028210e-2f,
                          -5.3959259577204543e-2f, 1.3333303556915742e-1f, -3.3333333172140362e-1f});
  } else {
    p = polynomial<T>(z,
                      {6.4851634827931132e-6, -3.1201101425797400e-5, 9.2571161295567683e-5, -2.3759064960555620e-4,
                       5.8966065777570433e-4, -1.4557754120478055e-3, 3.5921217511549623e-3, -8.8632351032408779e-3,
                       2.1869488519008306e-2, -5.3968253967896992e-2, 1.3333333333333042e-1, -3.3333333333333333e-1});
  }
  return copy_sign(select(a < Vec<T>::set(T(0.625)), fma(a * z, p, a), far), x);
}

template <class T>
NNZOO_INLINE Vec<T> tanh(Vec<T> x) {
  const Vec<T> a = abs(x), one = Vec<T>::set(T(1));
  return tanh_given_far(x, one - Vec<T>::set(T(2)) / (exp(a + a) + one));
}

template <class T>
NNZOO_INLINE Vec<T> sigmoid(Vec<T> x) {
  const Vec<T> one = Vec<T>::set(T(1));
  return one / (one + exp(neg(x)));
}

template <class T>
NNZOO_INLINE Vec<T> erf(Vec<T> x) {
  constexpr bool single = sizeof(T) == 4;
  const Vec<T> one = Vec<T>::set(T(1)), z = x * x;
  Vec<T> small;   // erf(x) / x - 1 on |x| <= 1
  Vec<T> scaled;  // erfc(a) * exp(a^2) on 1 <= a <= 4 (6), beyond which erf rounds to 1
  const Vec<T> a = min(Vec<T>::set(T(single ? 4 : 6)), abs(x));
  if constexpr (single) {
    small = polynomial<T>(
        z, {7.8758750626854883e-5f, -8.0168642871658695e-4f, 5.1890874234339740e-3f, -2.6854212010626412e-2f,
            1.1283594715160218e-1f, -3.7612626666720331e-1f, 1.2837916584835095e-1f});
    const Vec<T> u = fma(a, Vec<T>::set(1 / 1.5f), Vec<T>::set(-2.5f / 1.5f));
    scaled = polynomial<T>(
        u, {-3.5664178768995252e-5f, 9.6291201954639843e-5f, -1.4741614293549127e-4f, 3.6815109785737497e-4f,
            -1.0136625981274394e-3f, 2.4256389378578133e-3f, -5.5688376455701777e-3f, 1.2484123148533609e-2f,
            -2.7005458212834587e-2f, 5.6110947556972018e-2f, -1.1152101793723113e-1f, 2.1080635774313639e-1f});
  } else {
    small =
        polynomial<T>(z, {5.9571761477489114e-11, -1.1372848856791674e-9, 1.4659775274047436e-8, -1.6350312701054695e-7,
                          1.6461000484121368e-6, -1.4925595266831182e-5, 1.2055331111642711e-4, -8.5483269808337899e-4,
                          5.2239776248180145e-3, -2.6866170645076793e-2, 1.1283791670954879e-1, -3.7612638903183748e-1,
                          1.2837916709551257e-1});
    const Vec<T> t = one / (a + Vec<T>::set(T(3)));
    const Vec<T> u = fma(t, Vec<T>::set(T(14.4)), Vec<T>::set(T(-2.6)));
    scaled =
        t * polynomial<T>(
                u, {-2.2797426137731151e-12, 5.8308846996771116e-12, 8.0989277164090875e-11, -2.9728506949500293e-10,
                    -2.9427358336964718e-9, 1.1449481840693568e-8, 1.3353032032709013e-7, -2.8199389473825001e-7,
                    -7.2462550122859376e-6, -1.6087764752674651e-5, 3.2354378790109222e-4, 3.9338687837988476e-3,
                    2.5474072799978031e-2, 1.1683673753802074e-1, 4.1188209621003055e-1, 1.1519074596928368});
  }
  const Vec<T> large = one - scaled * exp(neg(a * a));
  return select(abs(x) < one, fma(x, small, x), copy_sign(large, x));
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
