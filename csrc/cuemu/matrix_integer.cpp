// `mma.sync` of 8-bit integers (PTX ISA, "Matrix Fragments for mma.m16n8k16 with integer type" and "... mma.m16n8k32").
#include "cuemu/matrix.h"
#include "cuemu/warp.h"

namespace cuemu {
namespace {

constexpr int kRows = 16;
constexpr int kColumns = 8;

struct IntegerMmaFrame {
  std::int32_t* d;
  const std::uint32_t* a;
  const std::uint32_t* b;
  const std::int32_t* c;
  bool a_is_signed;
  bool b_is_signed;
};

int element(std::uint32_t packed, int index, bool is_signed) {
  const auto byte = static_cast<std::uint8_t>(packed >> (8 * index));
  return is_signed ? static_cast<std::int8_t>(byte) : byte;
}

// Register i of a holds four neighbours along k of row `group`, or of `group + 8` if i is odd; each pair of registers
// is for another 16 of k.
template <int depth>
const char* exchange(void** frames, unsigned lanes) {
  if (lanes != kFullMask) return "mma.sync needs all 32 lanes of the warp";
  constexpr int kHalves = depth / 16;
  int a[kRows][depth];
  int b[depth][kColumns];
  for (int lane = 0; lane < 32; ++lane) {
    auto* frame = static_cast<IntegerMmaFrame*>(frames[lane]);
    const int group = lane / 4;
    const int k = lane % 4 * 4;
    for (int j = 0; j < 4; ++j) {
      for (int i = 0; i < 2 * kHalves; ++i)
        a[group + i % 2 * 8][i / 2 * 16 + k + j] = element(frame->a[i], j, frame->a_is_signed);
      for (int i = 0; i < kHalves; ++i) b[i * 16 + k + j][group] = element(frame->b[i], j, frame->b_is_signed);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    auto* frame = static_cast<IntegerMmaFrame*>(frames[lane]);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8;
      const int column = lane % 4 * 2 + i % 2;
      auto sum = static_cast<std::uint32_t>(frame->c[i]);
      for (int k = 0; k < depth; ++k) sum += static_cast<std::uint32_t>(a[row][k] * b[k][column]);
      frame->d[i] = static_cast<std::int32_t>(sum);
    }
  }
  return nullptr;
}

constexpr WarpOp k32_op{"mma.sync.m16n8k32.s8", &exchange<32>};
constexpr WarpOp k16_op{"mma.sync.m16n8k16.s8", &exchange<16>};

}  // namespace

void mma_m16n8k32(std::int32_t (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                  const std::int32_t (&c)[4], bool a_is_signed, bool b_is_signed, Site site) {
  IntegerMmaFrame frame{d, a, b, c, a_is_signed, b_is_signed};
  warp_collective(kFullMask, &frame, k32_op, site);
}

void mma_m16n8k16(std::int32_t (&d)[4], const std::uint32_t (&a)[2], const std::uint32_t (&b)[1],
                  const std::int32_t (&c)[4], bool a_is_signed, bool b_is_signed, Site site) {
  IntegerMmaFrame frame{d, a, b, c, a_is_signed, b_is_signed};
  warp_collective(kFullMask, &frame, k16_op, site);
}

}  // namespace cuemu
