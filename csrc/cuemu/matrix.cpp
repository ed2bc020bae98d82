#include "cuemu/matrix.h"

#include <cstring>

#include "cuemu/reduced_precision.h"
#include "cuemu/warp.h"

namespace cuemu {
namespace {

constexpr int kRows = 16;
constexpr int kColumns = 8;

struct MmaFrame {
  float* d;
  const std::uint32_t* a;
  const std::uint32_t* b;
  const float* c;
};

// c and d as pairs of halves.
struct HalfMmaFrame {
  std::uint32_t* d;
  const std::uint32_t* a;
  const std::uint32_t* b;
  const std::uint32_t* c;
};

void add_product(MmaFrame& frame, int lane, const float (&product)[kRows][kColumns]) {
  for (int i = 0; i < 4; ++i) frame.d[i] = frame.c[i] + product[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
}

void add_product(HalfMmaFrame& frame, int lane, const float (&product)[kRows][kColumns]) {
  for (int i = 0; i < 2; ++i) {
    const float* at = &product[lane / 4 + i * 8][lane % 4 * 2];
    const float low = half_to_float(static_cast<std::uint16_t>(frame.c[i])) + at[0];
    const float high = half_to_float(static_cast<std::uint16_t>(frame.c[i] >> 16)) + at[1];
    frame.d[i] = float_to_half(low) | static_cast<std::uint32_t>(float_to_half(high)) << 16;
  }
}

// Products are exact in float32; the order of the sum over k is ours (hardware's is not documented).
template <class Frame, int depth>
void multiply(void** frames, const float (&a)[kRows][depth], const float (&b)[depth][kColumns]) {
  float d[kRows][kColumns];
  for (int i = 0; i < kRows; ++i) {
    float sum[kColumns] = {};
    for (int k = 0; k < depth; ++k)
      for (int j = 0; j < kColumns; ++j) sum[j] += a[i][k] * b[k][j];
    for (int j = 0; j < kColumns; ++j) d[i][j] = sum[j];
  }
  for (int lane = 0; lane < 32; ++lane) add_product(*static_cast<Frame*>(frames[lane]), lane, d);
}

// A register holds two neighbouring elements along k, the first in the low half.
template <class Frame, float convert(std::uint16_t)>
const char* exchange_16bit(void** frames, unsigned lanes) {
  if (lanes != kFullMask) return "mma.sync needs all 32 lanes of the warp";
  float a[kRows][16];
  float b[16][kColumns];
  for (int lane = 0; lane < 32; ++lane) {
    auto* frame = static_cast<Frame*>(frames[lane]);
    int group = lane / 4;
    int k = lane % 4 * 2;
    for (int i = 0; i < 4; ++i) {
      float* at = &a[group + i % 2 * 8][k + i / 2 * 8];
      at[0] = convert(static_cast<std::uint16_t>(frame->a[i]));
      at[1] = convert(static_cast<std::uint16_t>(frame->a[i] >> 16));
    }
    for (int i = 0; i < 2; ++i) {
      b[k + i * 8][group] = convert(static_cast<std::uint16_t>(frame->b[i]));
      b[k + i * 8 + 1][group] = convert(static_cast<std::uint16_t>(frame->b[i] >> 16));
    }
  }
  multiply<Frame>(frames, a, b);
  return nullptr;
}

const char* exchange_tf32(void** frames, unsigned lanes) {
  if (lanes != kFullMask) return "mma.sync needs all 32 lanes of the warp";
  constexpr std::uint32_t kept = 0xffffe000u;
  float a[kRows][8];
  float b[8][kColumns];
  for (int lane = 0; lane < 32; ++lane) {
    auto* frame = static_cast<MmaFrame*>(frames[lane]);
    int group = lane / 4;
    int k = lane % 4;
    for (int i = 0; i < 4; ++i) a[group + i % 2 * 8][k + i / 2 * 4] = bits_float(frame->a[i] & kept);
    for (int i = 0; i < 2; ++i) b[k + i * 4][group] = bits_float(frame->b[i] & kept);
  }
  multiply<MmaFrame>(frames, a, b);
  return nullptr;
}

constexpr WarpOp bf16_op{"mma.sync.m16n8k16.bf16", &exchange_16bit<MmaFrame, bfloat16_to_float>};
constexpr WarpOp f16_op{"mma.sync.m16n8k16.f16", &exchange_16bit<MmaFrame, half_to_float>};
constexpr WarpOp f16_in_f16_op{"mma.sync.m16n8k16.f16.f16", &exchange_16bit<HalfMmaFrame, half_to_float>};
constexpr WarpOp tf32_op{"mma.sync.m16n8k8.tf32", &exchange_tf32};

}  // namespace

void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], const float (&c)[4],
                       Site site) {
  MmaFrame frame{d, a, b, c};
  warp_collective(kFullMask, &frame, bf16_op, site);
}

void mma_m16n8k16_f16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], const float (&c)[4],
                      Site site) {
  MmaFrame frame{d, a, b, c};
  warp_collective(kFullMask, &frame, f16_op, site);
}

void mma_m16n8k16_f16(std::uint32_t (&d)[2], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                      const std::uint32_t (&c)[2], Site site) {
  HalfMmaFrame frame{d, a, b, c};
  warp_collective(kFullMask, &frame, f16_in_f16_op, site);
}

void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], const float (&c)[4],
                      Site site) {
  MmaFrame frame{d, a, b, c};
  warp_collective(kFullMask, &frame, tf32_op, site);
}

}  // namespace cuemu
