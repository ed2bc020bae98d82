#include "cuemu/wgmma.h"

#include <cstdio>
#include <cstring>

#include "cuemu/block.h"
#include "cuemu/observer.h"
#include "cuemu/reduced_precision.h"
#include "cuemu/tensor_map.h"
#include "cuemu/warp.h"
#include "cuemu/wgmma_queue.h"

namespace cuemu {
namespace {

constexpr int kWarpRows = 16;  // of the 64 that the warpgroup has
constexpr int kDepth = 16;
constexpr int kMaxColumns = 256;
constexpr int kPiece = 8;  // elements of 16 bytes
constexpr unsigned kWarpgroup = 128;

// Shared memory as 18 bits of address see it; the first kilobyte belongs to the system.
constexpr std::uint64_t kWindowBegin = 1024;
constexpr std::uint64_t kAddressMask = 0x3ffff;

struct Layout {
  char* start;
  std::uint64_t leading;
  std::uint64_t stride;
  unsigned span;  // of the swizzle in bytes, 16 for none

  explicit Layout(std::uint64_t descriptor)
      : start(static_cast<char*>(current_block->shared_memory()) + ((descriptor & 0x3fff) << 4) - kWindowBegin),
        leading((descriptor >> 16 & 0x3fff) << 4),
        stride((descriptor >> 32 & 0x3fff) << 4) {
    constexpr unsigned kSpans[] = {16, 128, 64, 32};
    span = kSpans[descriptor >> 62];
  }

  // The 16 bytes that hold 8 elements: of k = 8 * across ... of row `along`, or if transposed of rows 8 * across ... of
  // k = `along`. A row here is one of m or n.
  const char* piece(int along, int across, bool is_transposed) const {
    const auto group = static_cast<std::uint64_t>(along / 8);
    const auto within = static_cast<std::uint64_t>(along % 8);
    const auto index = static_cast<std::uint64_t>(across);
    std::uint64_t offset = within * span;
    if (!is_transposed) {
      offset += group * stride + index * (span == 16 ? leading : 16);
    } else if (span == 16) {
      offset += group * leading + index * stride;
    } else {
      const unsigned pieces = span / 16;
      offset += group * stride + index % pieces * 16 + index / pieces * leading;
    }
    const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(start) + offset;
    return reinterpret_cast<const char*>(swizzle_address(address, span == 16 ? 0 : span));
  }
};

using Convert = float (*)(std::uint16_t);

// Reads rows [first_row, first_row + rows) of an operand into out[row][k].
const char* read_operand(std::uint64_t descriptor, bool is_transposed, int first_row, int rows, Convert convert,
                         float (*out)[kDepth], Site site) {
  const Layout layout(descriptor);
  const int count = is_transposed ? kDepth : rows;
  const int pieces = is_transposed ? rows / kPiece : kDepth / kPiece;
  for (int i = 0; i < count; ++i) {
    for (int j = 0; j < pieces; ++j) {
      const int along = is_transposed ? i : first_row + i;
      const int across = is_transposed ? first_row / kPiece + j : j;
      const char* piece = layout.piece(along, across, is_transposed);
      if (!current_block->has_dynamic_shared(piece)) return "an operand of wgmma reaches beyond the shared memory";
      if (observer) observer->engine_access(piece, 16, false, site);
      std::uint16_t elements[kPiece];
      std::memcpy(elements, piece, sizeof elements);
      for (int e = 0; e < kPiece; ++e)
        (is_transposed ? out[j * kPiece + e][i] : out[i][j * kPiece + e]) = convert(elements[e]);
    }
  }
  return nullptr;
}

// A register holds two neighbours along k ("Register fragments", as of mma.m16n8k16).
void read_registers(WgmmaOperation* const* operations, Convert convert, float (*out)[kDepth]) {
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      float* at = &out[lane / 4 + i % 2 * 8][lane % 4 * 2 + i / 2 * 8];
      const std::uint32_t packed = operations[lane]->a_registers[i];
      at[0] = convert(static_cast<std::uint16_t>(packed));
      at[1] = convert(static_cast<std::uint16_t>(packed >> 16));
    }
}

bool is_same(const WgmmaOperands& x, const WgmmaOperands& y) {
  return x.n == y.n && x.accumulates == y.accumulates && x.type == y.type && !x.a_registers == !y.a_registers &&
         x.a == y.a && x.b == y.b && x.a_is_transposed == y.a_is_transposed && x.b_is_transposed == y.b_is_transposed;
}

// The part of one warp: 16 rows.
const char* perform(WgmmaOperation* const* operations, unsigned warp) {
  const WgmmaOperands& common = operations[0]->operands;
  const Site site = operations[0]->site;
  for (int lane = 0; lane < 32; ++lane) {
    WgmmaOperation& own = *operations[lane];
    if (!is_same(common, own.operands)) return "the lanes of the warp have different operands of wgmma";
    const std::size_t bytes = own.d_before.size() * sizeof(float);
    if (bytes && std::memcmp(own.d_before.data(), own.operands.d, bytes))
      return "accumulators of wgmma were written before its wait";
  }
  if (observer) observer->engine_begins();
  const Convert convert = common.type == WgmmaType::bf16 ? bfloat16_to_float : half_to_float;
  float a[kWarpRows][kDepth];
  static thread_local float b[kMaxColumns][kDepth];
  if (common.a_registers) {
    read_registers(operations, convert, a);
  } else if (const char* error = read_operand(common.a, common.a_is_transposed, static_cast<int>(warp) * kWarpRows,
                                              kWarpRows, convert, a, site)) {
    return error;
  }
  if (const char* error = read_operand(common.b, common.b_is_transposed, 0, common.n, convert, b, site)) return error;
  for (int lane = 0; lane < 32; ++lane) {
    float* d = operations[lane]->operands.d;
    for (int i = 0; i < common.n / 2; ++i) {
      const float* row = a[lane / 4 + i / 2 % 2 * 8];
      const float* column = b[i / 4 * 8 + lane % 4 * 2 + i % 2];
      float sum = 0;
      for (int k = 0; k < kDepth; ++k) sum += row[k] * column[k];
      d[i] = common.accumulates ? d[i] + sum : sum;
    }
  }
  return nullptr;
}

// The wait of one thread for the first `count` operations of its warpgroup, which all threads of it must have started.
struct WaitFrame {
  WgmmaQueue* warpgroup;  // of its 128 threads
  std::size_t count;
};

bool has_started(const WgmmaQueue& queue, std::size_t count) { return queue.done + queue.operations.size() >= count; }

bool have_all_started(const void* frame) {
  auto* wait = static_cast<const WaitFrame*>(frame);
  for (unsigned i = 0; i < kWarpgroup; ++i)
    if (!has_started(wait->warpgroup[i], wait->count)) return false;
  return true;
}

void count_started(const void* frame, char* text, std::size_t size) {
  auto* wait = static_cast<const WaitFrame*>(frame);
  unsigned started = 0;
  for (unsigned i = 0; i < kWarpgroup; ++i) started += has_started(wait->warpgroup[i], wait->count);
  std::snprintf(text, size, "%u of its 128 threads have started it", started);
}

constexpr Condition wait_condition{"the wgmma of its warpgroup", have_all_started, count_started};

const char* exchange_wait(void**, unsigned lanes) {
  return lanes == kFullMask ? nullptr : "wgmma.wait_group needs all 32 lanes of the warp";
}

constexpr WarpOp wait_op{"wgmma.wait_group", &exchange_wait};

std::size_t count_due(const WgmmaQueue& queue, unsigned groups_left) {
  std::size_t due = 0;
  while (due < queue.operations.size() && queue.operations[due].group + groups_left < queue.open_group) ++due;
  return due;
}

}  // namespace

std::uint64_t wgmma_descriptor(const void* shared, unsigned leading_bytes, unsigned stride_bytes, WgmmaSwizzle swizzle,
                               Site site) {
  if (!current_block->has_dynamic_shared(shared))
    fail("an operand of wgmma is not in dynamic shared memory", site, Fault::out_of_bounds);
  if (reinterpret_cast<std::uintptr_t>(shared) % 16)
    fail("an operand of wgmma is aligned to 16 bytes", site, Fault::misaligned);
  if (leading_bytes % 16 || stride_bytes % 16 || leading_bytes > kAddressMask || stride_bytes > kAddressMask)
    fail("the distances in a descriptor are multiples of 16 below 2^18", site);
  const auto offset = static_cast<std::uint64_t>(static_cast<const char*>(shared) -
                                                 static_cast<const char*>(current_block->shared_memory()));
  return (offset + kWindowBegin) >> 4 | std::uint64_t{leading_bytes >> 4} << 16 |
         std::uint64_t{stride_bytes >> 4} << 32 | static_cast<std::uint64_t>(swizzle) << 62;
}

void wgmma(const WgmmaOperands& operands, Site site) {
  const unsigned warpgroup = current_block->current()->number / kWarpgroup;
  if ((warpgroup + 1) * kWarpgroup > current_block->thread_count())
    fail("wgmma needs a warpgroup of 128 threads", site);
  if (operands.n < 8 || operands.n > kMaxColumns || operands.n % 8)
    fail("the columns of a wgmma are a multiple of 8 up to 256", site);
  WgmmaQueue& queue = current_block->wgmma_queue();
  if (!queue.is_fenced) fail("the first wgmma comes without a wgmma.fence before it", site, Fault::missing_wait);
  WgmmaOperation operation{operands, {}, {}, queue.open_group, site};
  if (operands.a_registers) std::memcpy(operation.a_registers, operands.a_registers, sizeof operation.a_registers);
  bool is_first = true;
  for (const WgmmaOperation& earlier : queue.operations) is_first = is_first && earlier.operands.d != operands.d;
  if (is_first) operation.d_before.assign(operands.d, operands.d + operands.n / 2);
  queue.operations.push_back(std::move(operation));
}

void wgmma_fence(Site) { current_block->wgmma_queue().is_fenced = true; }

void wgmma_commit(Site) { ++current_block->wgmma_queue().open_group; }

// A product of the warpgroup is over for all four warps at once: whoever waits first does it for all.
void wgmma_wait(unsigned groups_left, Site site) {
  warp_collective(kFullMask, nullptr, wait_op, site);
  WgmmaQueue& own = current_block->wgmma_queue();
  WgmmaQueue* warpgroup = &own - current_block->current()->number % kWarpgroup;
  WaitFrame frame{warpgroup, own.done + count_due(own, groups_left)};
  wait_until(wait_condition, &frame, site);
  // Others may have done it in the meantime.
  const std::size_t due = count_due(own, groups_left);
  for (std::size_t i = 0; i < due; ++i)
    for (unsigned warp = 0; warp < kWarpgroup / 32; ++warp) {
      WgmmaOperation* operations[32];
      for (unsigned lane = 0; lane < 32; ++lane) operations[lane] = &warpgroup[warp * 32 + lane].operations[i];
      if (const char* error = perform(operations, warp)) fail(error, site, Fault::missing_wait);
    }
  for (unsigned i = 0; i < kWarpgroup; ++i) {
    auto& operations = warpgroup[i].operations;
    warpgroup[i].done += due;
    operations.erase(operations.begin(), operations.begin() + static_cast<std::ptrdiff_t>(due));
  }
  // Whoever has waited knows that the operands have been read: one thread may then hand their memory back for all.
  if (!observer) return;
  if (due > 0) observer->releases(warpgroup);
  observer->acquires(warpgroup);
}

}  // namespace cuemu
