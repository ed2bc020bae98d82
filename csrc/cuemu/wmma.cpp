// The fragments of a warp: to and from memory, and multiplied.
#include "cuemu/wmma.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "cuemu/block.h"
#include "cuemu/observer.h"
#include "cuemu/warp.h"

namespace cuemu {
namespace {

constexpr unsigned kPieceBytes = 16;      // what a lane moves at once
constexpr unsigned kAlignmentBytes = 32;  // of a matrix in memory
constexpr unsigned kMostElements = 32 * 16;
constexpr const char* kAllLanes = "functions of wmma need all 32 lanes of the warp";

unsigned bytes_of(Number type) {
  switch (type) {
    case Number::int8:
    case Number::uint8:
      return 1;
    case Number::float16:
    case Number::bfloat16:
      return 2;
    case Number::float64:
      return 8;
    default:
      return 4;
  }
}

struct MoveFrame {
  FragmentPart part;
  char* memory;
  unsigned pitch;
  bool by_columns;
  Site site;
};

// In bytes, from the beginning of the matrix in memory.
std::size_t place(const MoveFrame& frame, unsigned row, unsigned column) {
  const std::size_t line = frame.by_columns ? column : row;
  return (line * frame.pitch + (frame.by_columns ? row : column)) * bytes_of(frame.part.spread->type);
}

template <bool is_store>
const char* exchange_move(void** frames, unsigned lanes) {
  if (lanes != kFullMask) return kAllLanes;
  const MoveFrame& first = *static_cast<MoveFrame*>(frames[0]);
  const Spread& spread = *first.part.spread;
  const unsigned bytes = bytes_of(spread.type);
  for (unsigned lane = 0; lane < kWarpLanes; ++lane) {
    const MoveFrame& frame = *static_cast<MoveFrame*>(frames[lane]);
    if (!same_site(frame.site, first.site))
      fail(("only some lanes of the warp are at this function of wmma, others " + describe(frame.site)).c_str(),
           first.site, Fault::deadlock);
    if (frame.memory != first.memory || frame.pitch != first.pitch || frame.by_columns != first.by_columns)
      fail("the lanes of a warp move different matrices", frame.site);
    for (unsigned i = 0; i < spread.held; ++i) {
      const unsigned number = (lane * spread.held + i) % (spread.rows * spread.columns);
      char* memory = frame.memory + place(frame, number / spread.columns, number % spread.columns);
      char* element = static_cast<char*>(frame.part.elements) + i * bytes;
      std::memcpy(is_store ? memory : element, is_store ? element : memory, bytes);
    }
  }
  return nullptr;
}

constexpr WarpOp load_op{"wmma::load_matrix_sync", &exchange_move<false>};
constexpr WarpOp store_op{"wmma::store_matrix_sync", &exchange_move<true>};

// The lanes take pieces of the lines in turn: eight after each other are of eight lines, as in ldmatrix.
void tell(const MoveFrame& frame, bool is_store) {
  const Spread& spread = *frame.part.spread;
  const unsigned lines = frame.by_columns ? spread.columns : spread.rows;
  const unsigned line_bytes = (frame.by_columns ? spread.rows : spread.columns) * bytes_of(spread.type);
  const unsigned piece_bytes = std::min(kPieceBytes, line_bytes);
  for (unsigned piece = lane(); piece < lines * (line_bytes / piece_bytes); piece += kWarpLanes) {
    const std::size_t line = std::size_t{piece % lines} * frame.pitch * bytes_of(spread.type);
    observer->memory_access(frame.memory + line + piece / lines * piece_bytes, piece_bytes, is_store, frame.site);
  }
}

void move(MoveFrame frame, bool is_store) {
  if (reinterpret_cast<std::uintptr_t>(frame.memory) % kAlignmentBytes)
    fail("a matrix of wmma in memory is not aligned to 32 bytes", frame.site, Fault::misaligned);
  if (frame.pitch * bytes_of(frame.part.spread->type) % kPieceBytes)
    fail("the rows or columns of a matrix of wmma are no multiple of 16 bytes apart", frame.site, Fault::misaligned);
  if (observer) tell(frame, is_store);
  warp_collective(kFullMask, &frame, is_store ? store_op : load_op, frame.site);
}

struct MultiplyFrame {
  FragmentPart d, a, b, c;
  bool saturates;
};

template <class Sum>
Sum read(const FragmentPart& part, unsigned i) {
  auto bits = [&] { return static_cast<const std::uint16_t*>(part.elements)[i]; };
  switch (part.spread->type) {
    case Number::float16:
      return static_cast<Sum>(half_to_float(bits()));
    case Number::bfloat16:
      return static_cast<Sum>(bfloat16_to_float(bits()));
    case Number::tf32:
      return static_cast<Sum>(bits_float(static_cast<const std::uint32_t*>(part.elements)[i] & 0xffffe000u));
    case Number::float32:
      return static_cast<Sum>(static_cast<const float*>(part.elements)[i]);
    case Number::float64:
      return static_cast<Sum>(static_cast<const double*>(part.elements)[i]);
    case Number::int8:
      return static_cast<Sum>(static_cast<const signed char*>(part.elements)[i]);
    case Number::uint8:
      return static_cast<Sum>(static_cast<const unsigned char*>(part.elements)[i]);
    default:
      return static_cast<Sum>(static_cast<const std::int32_t*>(part.elements)[i]);
  }
}

template <class Sum>
void write(const FragmentPart& part, unsigned i, Sum value, bool saturates) {
  using Int = std::numeric_limits<std::int32_t>;
  switch (part.spread->type) {
    case Number::float16:
      static_cast<std::uint16_t*>(part.elements)[i] = float_to_half(static_cast<float>(value));
      break;
    case Number::float32:
      static_cast<float*>(part.elements)[i] = static_cast<float>(value);
      break;
    case Number::float64:
      static_cast<double*>(part.elements)[i] = static_cast<double>(value);
      break;
    default:
      if (saturates) value = std::clamp(value, static_cast<Sum>(Int::min()), static_cast<Sum>(Int::max()));
      static_cast<std::int32_t*>(part.elements)[i] = static_cast<std::int32_t>(static_cast<long long>(value));
  }
}

// One of the matrices, of all lanes.
template <class Sum>
void gather(void** frames, FragmentPart MultiplyFrame::* which, Sum (&matrix)[kMostElements]) {
  const Spread& spread = *(static_cast<MultiplyFrame*>(frames[0])->*which).spread;
  for (unsigned lane = 0; lane < kWarpLanes; ++lane)
    for (unsigned i = 0; i < spread.held; ++i)
      matrix[(lane * spread.held + i) % (spread.rows * spread.columns)] =
          read<Sum>(static_cast<MultiplyFrame*>(frames[lane])->*which, i);
}

// The order of a sum is ours, as in mma.sync.
template <class Sum>
const char* exchange_multiply(void** frames, unsigned lanes) {
  if (lanes != kFullMask) return kAllLanes;
  Sum a[kMostElements], b[kMostElements], c[kMostElements];
  gather(frames, &MultiplyFrame::a, a);
  gather(frames, &MultiplyFrame::b, b);
  gather(frames, &MultiplyFrame::c, c);
  const MultiplyFrame& first = *static_cast<MultiplyFrame*>(frames[0]);
  const unsigned depth = first.a.spread->columns;
  const unsigned columns = first.b.spread->columns;
  for (unsigned lane = 0; lane < kWarpLanes; ++lane) {
    const MultiplyFrame& frame = *static_cast<MultiplyFrame*>(frames[lane]);
    for (unsigned i = 0; i < frame.d.spread->held; ++i) {
      const unsigned number = lane * frame.d.spread->held + i;
      Sum sum = 0;
      for (unsigned k = 0; k < depth; ++k) sum += a[number / columns * depth + k] * b[k * columns + number % columns];
      write<Sum>(frame.d, i, c[number] + sum, frame.saturates);
    }
  }
  return nullptr;
}

constexpr WarpOp multiply_op{"wmma::mma_sync", &exchange_multiply<float>};
constexpr WarpOp multiply_doubles_op{"wmma::mma_sync", &exchange_multiply<double>};
constexpr WarpOp multiply_integers_op{"wmma::mma_sync", &exchange_multiply<long long>};

}  // namespace

void load_fragment(FragmentPart part, const void* memory, unsigned pitch, bool by_columns, Site site) {
  move({part, static_cast<char*>(const_cast<void*>(memory)), pitch, by_columns, site}, false);
}

void store_fragment(FragmentPart part, void* memory, unsigned pitch, bool by_columns, Site site) {
  move({part, static_cast<char*>(memory), pitch, by_columns, site}, true);
}

void multiply_fragments(FragmentPart d, FragmentPart a, FragmentPart b, FragmentPart c, bool saturates, Site site) {
  MultiplyFrame frame{d, a, b, c, saturates};
  const Number sum = c.spread->type;
  const WarpOp& op = sum == Number::int32     ? multiply_integers_op
                     : sum == Number::float64 ? multiply_doubles_op
                                              : multiply_op;
  warp_collective(kFullMask, &frame, op, site);
}

}  // namespace cuemu
