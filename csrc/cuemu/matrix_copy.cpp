// `ldmatrix` and `stmatrix`: 8x8 matrices of 16-bit elements between shared memory and the registers of a warp (PTX
// ISA, "Warp-level matrix load instruction", "Warp-level matrix store instruction").
#include <cstring>

#include "cuemu/matrix.h"
#include "cuemu/observer.h"
#include "cuemu/warp.h"

namespace cuemu {
namespace {

constexpr std::size_t kRowBytes = 16;

struct LoadFrame {
  std::uint32_t* registers;
  const void* row;
  int count;
};

struct StoreFrame {
  const std::uint32_t* registers;
  void* row;
  int count;
};

void tell(const void* row, int count, bool is_store, Site site) {
  if (observer && lane() < 8 * static_cast<unsigned>(count)) observer->memory_access(row, kRowBytes, is_store, site);
}

bool is_aligned(const void* address) { return reinterpret_cast<std::uintptr_t>(address) % kRowBytes == 0; }

template <bool transposed>
const char* exchange_load(void** frames, unsigned lanes) {
  if (lanes != kFullMask) return "ldmatrix needs all 32 lanes of the warp";
  const int count = static_cast<LoadFrame*>(frames[0])->count;
  for (int matrix = 0; matrix < count; ++matrix) {
    std::uint16_t elements[8][8];
    for (int row = 0; row < 8; ++row) {
      const void* address = static_cast<LoadFrame*>(frames[matrix * 8 + row])->row;
      if (!is_aligned(address)) return "a row of ldmatrix is not aligned to 16 bytes";
      std::memcpy(elements[row], address, kRowBytes);
    }
    for (int lane = 0; lane < 32; ++lane) {
      const int row = lane / 4;
      const int column = lane % 4 * 2;
      std::uint32_t low = transposed ? elements[column][row] : elements[row][column];
      std::uint32_t high = transposed ? elements[column + 1][row] : elements[row][column + 1];
      static_cast<LoadFrame*>(frames[lane])->registers[matrix] = low | high << 16;
    }
  }
  return nullptr;
}

template <bool transposed>
const char* exchange_store(void** frames, unsigned lanes) {
  if (lanes != kFullMask) return "stmatrix needs all 32 lanes of the warp";
  const int count = static_cast<StoreFrame*>(frames[0])->count;
  for (int matrix = 0; matrix < count; ++matrix) {
    std::uint16_t elements[8][8];
    for (int lane = 0; lane < 32; ++lane) {
      const int row = lane / 4;
      const int column = lane % 4 * 2;
      const std::uint32_t packed = static_cast<StoreFrame*>(frames[lane])->registers[matrix];
      (transposed ? elements[column][row] : elements[row][column]) = static_cast<std::uint16_t>(packed);
      (transposed ? elements[column + 1][row] : elements[row][column + 1]) = static_cast<std::uint16_t>(packed >> 16);
    }
    for (int row = 0; row < 8; ++row) {
      void* address = static_cast<StoreFrame*>(frames[matrix * 8 + row])->row;
      if (!is_aligned(address)) return "a row of stmatrix is not aligned to 16 bytes";
      std::memcpy(address, elements[row], kRowBytes);
    }
  }
  return nullptr;
}

constexpr WarpOp load_op{"ldmatrix", &exchange_load<false>, Fault::misaligned};
constexpr WarpOp load_transposed_op{"ldmatrix.trans", &exchange_load<true>, Fault::misaligned};
constexpr WarpOp store_op{"stmatrix", &exchange_store<false>, Fault::misaligned};
constexpr WarpOp store_transposed_op{"stmatrix.trans", &exchange_store<true>, Fault::misaligned};

}  // namespace

void ldmatrix(std::uint32_t* registers, int count, bool transposed, const void* row, Site site) {
  tell(row, count, false, site);
  LoadFrame frame{registers, row, count};
  warp_collective(kFullMask, &frame, transposed ? load_transposed_op : load_op, site);
}

void stmatrix(const std::uint32_t* registers, int count, bool transposed, void* row, Site site) {
  tell(row, count, true, site);
  StoreFrame frame{registers, row, count};
  warp_collective(kFullMask, &frame, transposed ? store_transposed_op : store_op, site);
}

}  // namespace cuemu
