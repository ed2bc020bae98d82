#include "cuemu/matrix.h"

#include <cstring>

#include "cuemu/observer.h"
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

// Products are exact in float32; the order of the sum over k is ours (hardware's is not documented).
template <int depth>
void multiply(void** frames, const float (&a)[kRows][depth], const float (&b)[depth][kColumns]) {
  float d[kRows][kColumns];
  for (int i = 0; i < kRows; ++i) {
    float sum[kColumns] = {};
    for (int k = 0; k < depth; ++k)
      for (int j = 0; j < kColumns; ++j) sum[j] += a[i][k] * b[k][j];
    for (int j = 0; j < kColumns; ++j) d[i][j] = sum[j];
  }
  for (int lane = 0; lane < 32; ++lane) {
    auto* frame = static_cast<MmaFrame*>(frames[lane]);
    for (int i = 0; i < 4; ++i) frame->d[i] = frame->c[i] + d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
  }
}

// A register holds two neighbouring elements along k, the first in the low half.
template <float convert(std::uint16_t)>
const char* exchange_16bit(void** frames, unsigned lanes) {
  if (lanes != kFullMask) return "mma.sync needs all 32 lanes of the warp";
  float a[kRows][16];
  float b[16][kColumns];
  for (int lane = 0; lane < 32; ++lane) {
    auto* frame = static_cast<MmaFrame*>(frames[lane]);
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
  multiply(frames, a, b);
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
  multiply(frames, a, b);
  return nullptr;
}

constexpr WarpOp bf16_op{"mma.sync.m16n8k16.bf16", &exchange_16bit<bfloat16_to_float>};
constexpr WarpOp f16_op{"mma.sync.m16n8k16.f16", &exchange_16bit<half_to_float>};
constexpr WarpOp tf32_op{"mma.sync.m16n8k8.tf32", &exchange_tf32};

struct LoadFrame {
  std::uint32_t* registers;
  const void* row;
  int count;
};

template <bool transposed>
const char* exchange_load(void** frames, unsigned lanes) {
  if (lanes != kFullMask) return "ldmatrix needs all 32 lanes of the warp";
  int count = static_cast<LoadFrame*>(frames[0])->count;
  for (int matrix = 0; matrix < count; ++matrix) {
    std::uint16_t elements[8][8];
    for (int row = 0; row < 8; ++row) {
      const void* address = static_cast<LoadFrame*>(frames[matrix * 8 + row])->row;
      if (reinterpret_cast<std::uintptr_t>(address) % 16) return "a row of ldmatrix is not aligned to 16 bytes";
      std::memcpy(elements[row], address, 16);
    }
    for (int lane = 0; lane < 32; ++lane) {
      int row = lane / 4;
      int column = lane % 4 * 2;
      std::uint32_t low = transposed ? elements[column][row] : elements[row][column];
      std::uint32_t high = transposed ? elements[column + 1][row] : elements[row][column + 1];
      static_cast<LoadFrame*>(frames[lane])->registers[matrix] = low | high << 16;
    }
  }
  return nullptr;
}

constexpr WarpOp load_op{"ldmatrix", &exchange_load<false>, Fault::misaligned};
constexpr WarpOp load_transposed_op{"ldmatrix.trans", &exchange_load<true>, Fault::misaligned};

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

void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], const float (&c)[4],
                      Site site) {
  MmaFrame frame{d, a, b, c};
  warp_collective(kFullMask, &frame, tf32_op, site);
}

void ldmatrix(std::uint32_t* registers, int count, bool transposed, const void* row, Site site) {
  if (observer && lane() < 8 * static_cast<unsigned>(count)) observer->memory_access(row, 16, false, site);
  LoadFrame frame{registers, row, count};
  warp_collective(kFullMask, &frame, transposed ? load_transposed_op : load_op, site);
}

}  // namespace cuemu
