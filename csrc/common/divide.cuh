// Division by a number that is known before the launch, as one multiplication: index arithmetic is full of them.
#pragma once

#include <cstdint>

#include "cuemu/cuda.h"

namespace nnzoo {

// n / divisor for n < 2^31, divisor >= 1 (Granlund and Montgomery, "Division by invariant integers using
// multiplication", 1994): with 2^shift the next power of two, the quotient is (n * (1 + magic / 2^32)) >> shift.
struct Divisor {
  std::uint32_t divisor;
  std::uint32_t magic;
  std::uint32_t shift;

  Divisor() = default;
  explicit Divisor(std::int64_t value) : divisor(value > 0 ? static_cast<std::uint32_t>(value) : 1), shift(0) {
    while ((std::uint64_t{1} << shift) < divisor) ++shift;
    magic =
        static_cast<std::uint32_t>((std::uint64_t{1} << 32) * ((std::uint64_t{1} << shift) - divisor) / divisor + 1);
  }

  __device__ std::uint32_t divide(std::uint32_t n) const { return (__umulhi(n, magic) + n) >> shift; }
};

// Takes an index over [count, size[0], size[1], size[2]] apart.
struct Position {
  int outer;
  int at[3];
};

struct Volume {
  Divisor whole;
  Divisor plane;
  Divisor line;

  Volume() = default;
  explicit Volume(const std::int64_t (&size)[3])
      : whole(size[0] * size[1] * size[2]), plane(size[1] * size[2]), line(size[2]) {}

  __device__ Position split(std::uint32_t index) const {
    const std::uint32_t outer = whole.divide(index);
    index -= outer * whole.divisor;
    const std::uint32_t first = plane.divide(index);
    index -= first * plane.divisor;
    const std::uint32_t second = line.divide(index);
    const std::uint32_t third = index - second * line.divisor;
    return {static_cast<int>(outer), {static_cast<int>(first), static_cast<int>(second), static_cast<int>(third)}};
  }
};

}  // namespace nnzoo
