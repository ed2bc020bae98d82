// What cooperative_groups/reduce.h, scan.h and memcpy_async.h have: collectives over a group, and its copies.
#pragma once

#include "cuemu/async_copy.h"
#include "cuemu/cooperative_groups.h"

namespace cooperative_groups {

#define CUEMU_GROUP_OPERATION(name, expression)         \
  template <class T>                                    \
  struct name {                                         \
    T operator()(T a, T b) const { return expression; } \
  };
CUEMU_GROUP_OPERATION(plus, a + b)
CUEMU_GROUP_OPERATION(less, b < a ? b : a)
CUEMU_GROUP_OPERATION(greater, a < b ? b : a)
CUEMU_GROUP_OPERATION(bit_and, a& b)
CUEMU_GROUP_OPERATION(bit_or, a | b)
CUEMU_GROUP_OPERATION(bit_xor, a ^ b)
#undef CUEMU_GROUP_OPERATION

namespace details {

template <class T, class Operation>
struct FoldFrame {
  T value;
  T total;      // of all lanes
  T inclusive;  // of the lanes up to this one
  T exclusive;  // of the lanes before this one; nothing if `is_first`
  bool is_first;
  const Operation* operation;
};

template <class T, class Operation>
CUEMU_UNCHECKED const char* exchange_fold(void** frames, unsigned lanes) {
  using Frame = FoldFrame<T, Operation>;
  Frame* before = nullptr;
  for (unsigned rest = lanes; rest; rest &= rest - 1) {
    auto* frame = static_cast<Frame*>(frames[__builtin_ctz(rest)]);
    frame->is_first = before == nullptr;
    frame->inclusive = before ? (*frame->operation)(before->inclusive, frame->value) : frame->value;
    if (before) frame->exclusive = before->inclusive;
    before = frame;
  }
  for (unsigned rest = lanes; rest; rest &= rest - 1)
    static_cast<Frame*>(frames[__builtin_ctz(rest)])->total = before->inclusive;
  return nullptr;
}

template <class T, class Operation>
struct FoldOp {
  static constexpr cuemu::WarpOp op{"a reduction or scan of a group", &exchange_fold<T, Operation>};
};

template <class T, class Operation>
FoldFrame<T, Operation> fold(const lane_group& group, T value, const Operation& operation, Site site) {
  FoldFrame<T, Operation> frame{value, value, value, value, true, &operation};
  cuemu::warp_collective(group.lanes(), &frame, FoldOp<T, Operation>::op, site);
  return frame;
}

}  // namespace details

// The sum is taken in the order of the ranks; hardware takes its own.
template <class T, class Operation>
T reduce(const lane_group& group, T value, Operation operation, Site site = Site::here()) {
  return details::fold(group, value, operation, site).total;
}
template <class T, class Operation>
T inclusive_scan(const lane_group& group, T value, Operation operation, Site site = Site::here()) {
  return details::fold(group, value, operation, site).inclusive;
}
template <class T>
T inclusive_scan(const lane_group& group, T value, Site site = Site::here()) {
  return details::fold(group, value, plus<T>(), site).inclusive;
}
// The thread of rank 0 gets a zero.
template <class T, class Operation>
T exclusive_scan(const lane_group& group, T value, Operation operation, Site site = Site::here()) {
  const auto frame = details::fold(group, value, operation, site);
  return frame.is_first ? T() : frame.exclusive;
}
template <class T>
T exclusive_scan(const lane_group& group, T value, Site site = Site::here()) {
  return exclusive_scan(group, value, plus<T>(), site);
}

// The threads share the work: each copies every so many words. Done by `wait`, not before.
template <class Group>
void memcpy_async(const Group& group, void* to, const void* from, std::size_t bytes, Site site = Site::here()) {
  constexpr std::size_t kWord = 4;
  auto* target = static_cast<char*>(to);
  auto* source = static_cast<const char*>(from);
  for (std::size_t at = group.thread_rank() * kWord; at < bytes; at += group.num_threads() * kWord) {
    const std::size_t left = bytes - at;
    cuemu::push_copy(target + at, source + at, static_cast<unsigned>(left < kWord ? left : kWord), 0, site);
  }
  cuemu::commit_copies();
}
template <unsigned stages, class Group>
void wait_prior(const Group& group, Site site = Site::here()) {
  cuemu::wait_copies(stages);
  group.sync(site);
}
template <class Group>
void wait(const Group& group, Site site = Site::here()) {
  wait_prior<0>(group, site);
}

}  // namespace cooperative_groups
