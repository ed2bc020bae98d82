// Warp collectives: shuffles, votes, match, reduce. Each is a frame and an exchange over the frames of all lanes
// (runtime.h), so a lane of the mask that never comes ends in a deadlock report instead of a wrong number.
#pragma once

#include <cstring>

#include "cuemu/reduced_precision.h"
#include "cuemu/runtime.h"

namespace cuemu {

constexpr unsigned kWarpLanes = 32;
constexpr unsigned kFullMask = 0xffffffffu;

// The types that the hardware's shuffles take.
template <class T>
struct Shuffled;
#define CUEMU_SHUFFLED(type) \
  template <>                \
  struct Shuffled<type> {    \
    using Type = type;       \
  };
CUEMU_SHUFFLED(int)
CUEMU_SHUFFLED(unsigned)
CUEMU_SHUFFLED(long)
CUEMU_SHUFFLED(unsigned long)
CUEMU_SHUFFLED(long long)
CUEMU_SHUFFLED(unsigned long long)
CUEMU_SHUFFLED(float)
CUEMU_SHUFFLED(double)
CUEMU_SHUFFLED(__half)
CUEMU_SHUFFLED(__half2)
CUEMU_SHUFFLED(__nv_bfloat16)
CUEMU_SHUFFLED(__nv_bfloat162)
#undef CUEMU_SHUFFLED

template <class T>
struct ShuffleFrame {
  T value;
  T result;
  unsigned source;
};

template <class T>
CUEMU_UNCHECKED const char* exchange_shuffle(void** frames, unsigned lanes) {
  for (unsigned i = 0; i < kWarpLanes; ++i) {
    if (!(lanes >> i & 1)) continue;
    auto* frame = static_cast<ShuffleFrame<T>*>(frames[i]);
    if (!(lanes >> frame->source & 1))
      return "the shuffle reads from a lane that its mask does not name or that has returned";
    frame->result = static_cast<ShuffleFrame<T>*>(frames[frame->source])->value;
  }
  return nullptr;
}

enum class Shuffle { index, up, down, exclusive_or };

template <class T, Shuffle kind>
struct ShuffleOp {
  static constexpr const char* name() {
    switch (kind) {
      case Shuffle::index:
        return "__shfl_sync";
      case Shuffle::up:
        return "__shfl_up_sync";
      case Shuffle::down:
        return "__shfl_down_sync";
      default:
        return "__shfl_xor_sync";
    }
  }
  static constexpr WarpOp op{name(), &exchange_shuffle<T>};
};

// The value of lane `source`.
template <Shuffle kind, class T>
CUEMU_UNCHECKED T read_lane(unsigned mask, T value, unsigned source, Site site) {
  ShuffleFrame<T> frame{value, value, source};
  warp_collective(mask, &frame, ShuffleOp<T, kind>::op, site);
  return frame.result;
}

// `operand` is a lane, a distance or a bit mask. The warp is cut into sections of `width` lanes; where the source would
// lie outside the own section (for xor: in a later one), a lane gets its own value back.
CUEMU_UNCHECKED inline unsigned shuffle_source(Shuffle kind, unsigned operand, unsigned width, Site site) {
  if (width == 0 || width > kWarpLanes || (width & (width - 1)))
    fail("the width of a shuffle is a power of two up to 32", site);
  unsigned self = lane();
  unsigned section = self & ~(width - 1);
  switch (kind) {
    case Shuffle::index:
      return section | (operand & (width - 1));
    case Shuffle::up:
      return self - section >= operand ? self - operand : self;
    case Shuffle::down:
      return operand < width - (self - section) ? self + operand : self;
    default:
      return (self ^ operand) < section + width ? self ^ operand : self;
  }
}

template <Shuffle kind, class T>
CUEMU_UNCHECKED typename Shuffled<T>::Type shuffle(unsigned mask, T value, unsigned operand, unsigned width,
                                                   Site site) {
  return read_lane<kind>(mask, value, shuffle_source(kind, operand, width, site), site);
}

struct VoteFrame {
  bool predicate;
  unsigned ballot;
};
const char* exchange_vote(void** frames, unsigned lanes);

struct MatchFrame {
  unsigned long long value;
  unsigned same;
};
const char* exchange_match(void** frames, unsigned lanes);

enum class Reduce { add, minimum, maximum, bit_and, bit_or, bit_xor };

template <class T>
struct ReduceFrame {
  T value;
};

template <class T, Reduce kind>
CUEMU_UNCHECKED T reduce_pair(T a, T b) {
  switch (kind) {
    case Reduce::add:
      return a + b;
    case Reduce::minimum:
      return b < a ? b : a;
    case Reduce::maximum:
      return a < b ? b : a;
    case Reduce::bit_and:
      return a & b;
    case Reduce::bit_or:
      return a | b;
    default:
      return a ^ b;
  }
}

template <class T, Reduce kind>
CUEMU_UNCHECKED const char* exchange_reduce(void** frames, unsigned lanes) {
  unsigned first = static_cast<unsigned>(__builtin_ctz(lanes));
  T total = static_cast<ReduceFrame<T>*>(frames[first])->value;
  for (unsigned i = first + 1; i < kWarpLanes; ++i)
    if (lanes >> i & 1) total = reduce_pair<T, kind>(total, static_cast<ReduceFrame<T>*>(frames[i])->value);
  for (unsigned i = first; i < kWarpLanes; ++i)
    if (lanes >> i & 1) static_cast<ReduceFrame<T>*>(frames[i])->value = total;
  return nullptr;
}

template <class T, Reduce kind>
struct ReduceOp {
  static constexpr WarpOp op{"__reduce_sync", &exchange_reduce<T, kind>};
};

template <Reduce kind, class T>
CUEMU_UNCHECKED T reduce(unsigned mask, T value, Site site) {
  ReduceFrame<T> frame{value};
  warp_collective(mask, &frame, ReduceOp<T, kind>::op, site);
  return frame.value;
}

unsigned ballot(unsigned mask, bool predicate, const WarpOp& op, Site site);
// Values match bit by bit.
template <class T>
unsigned long long match_bits(T value) {
  unsigned long long bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}
unsigned match_any(unsigned mask, unsigned long long value, Site site);
inline unsigned match_all(unsigned mask, unsigned long long value, int* all, Site site) {
  const unsigned same = match_any(mask, value, site);
  *all = same == mask;
  return *all ? mask : 0;
}
extern const WarpOp ballot_op, any_op, all_op, sync_op;

}  // namespace cuemu

inline void __syncwarp(unsigned mask = cuemu::kFullMask, cuemu::Site site = cuemu::Site::here()) {
  cuemu::warp_collective(mask, nullptr, cuemu::sync_op, site);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, cuemu::Site site = cuemu::Site::here()) {
  return cuemu::shuffle<cuemu::Shuffle::index>(mask, value, static_cast<unsigned>(lane), static_cast<unsigned>(width),
                                               site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, cuemu::Site site = cuemu::Site::here()) {
  return cuemu::shuffle<cuemu::Shuffle::up>(mask, value, delta, static_cast<unsigned>(width), site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, cuemu::Site site = cuemu::Site::here()) {
  return cuemu::shuffle<cuemu::Shuffle::down>(mask, value, delta, static_cast<unsigned>(width), site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, cuemu::Site site = cuemu::Site::here()) {
  return cuemu::shuffle<cuemu::Shuffle::exclusive_or>(mask, value, static_cast<unsigned>(lane_mask),
                                                      static_cast<unsigned>(width), site);
}

// Which lanes have come to this line together is up to the hardware; here it is all that can.
inline unsigned __activemask(cuemu::Site site = cuemu::Site::here()) { return cuemu::converged_lanes(site); }

inline unsigned __ballot_sync(unsigned mask, int predicate, cuemu::Site site = cuemu::Site::here()) {
  return cuemu::ballot(mask, predicate != 0, cuemu::ballot_op, site);
}
inline int __any_sync(unsigned mask, int predicate, cuemu::Site site = cuemu::Site::here()) {
  return cuemu::ballot(mask, predicate != 0, cuemu::any_op, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, cuemu::Site site = cuemu::Site::here()) {
  return cuemu::ballot(mask, predicate == 0, cuemu::all_op, site) == 0;
}

#define CUEMU_MATCH(type)                                                                                         \
  inline unsigned __match_any_sync(unsigned mask, type value, cuemu::Site site = cuemu::Site::here()) {           \
    return cuemu::match_any(mask, cuemu::match_bits(value), site);                                                \
  }                                                                                                               \
  inline unsigned __match_all_sync(unsigned mask, type value, int* all, cuemu::Site site = cuemu::Site::here()) { \
    return cuemu::match_all(mask, cuemu::match_bits(value), all, site);                                           \
  }
CUEMU_MATCH(int)
CUEMU_MATCH(unsigned)
CUEMU_MATCH(long)
CUEMU_MATCH(unsigned long)
CUEMU_MATCH(long long)
CUEMU_MATCH(unsigned long long)
CUEMU_MATCH(float)
CUEMU_MATCH(double)
#undef CUEMU_MATCH

#define CUEMU_REDUCE(name, kind, type)                                                  \
  inline type name(unsigned mask, type value, cuemu::Site site = cuemu::Site::here()) { \
    return cuemu::reduce<cuemu::Reduce::kind>(mask, value, site);                       \
  }
CUEMU_REDUCE(__reduce_add_sync, add, int)
CUEMU_REDUCE(__reduce_add_sync, add, unsigned)
CUEMU_REDUCE(__reduce_min_sync, minimum, int)
CUEMU_REDUCE(__reduce_min_sync, minimum, unsigned)
CUEMU_REDUCE(__reduce_max_sync, maximum, int)
CUEMU_REDUCE(__reduce_max_sync, maximum, unsigned)
CUEMU_REDUCE(__reduce_and_sync, bit_and, unsigned)
CUEMU_REDUCE(__reduce_or_sync, bit_or, unsigned)
CUEMU_REDUCE(__reduce_xor_sync, bit_xor, unsigned)
#undef CUEMU_REDUCE
