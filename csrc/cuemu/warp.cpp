#include "cuemu/warp.h"

namespace cuemu {

const char* exchange_vote(void** frames, unsigned lanes) {
  unsigned ballot = 0;
  for (unsigned i = 0; i < kWarpLanes; ++i)
    if ((lanes >> i & 1) && static_cast<VoteFrame*>(frames[i])->predicate) ballot |= 1u << i;
  for (unsigned i = 0; i < kWarpLanes; ++i)
    if (lanes >> i & 1) static_cast<VoteFrame*>(frames[i])->ballot = ballot;
  return nullptr;
}

const char* exchange_match(void** frames, unsigned lanes) {
  for (unsigned i = 0; i < kWarpLanes; ++i) {
    if (!(lanes >> i & 1)) continue;
    auto* frame = static_cast<MatchFrame*>(frames[i]);
    frame->same = 0;
    for (unsigned j = 0; j < kWarpLanes; ++j)
      if ((lanes >> j & 1) && static_cast<MatchFrame*>(frames[j])->value == frame->value) frame->same |= 1u << j;
  }
  return nullptr;
}

static const char* exchange_nothing(void**, unsigned) { return nullptr; }

// `extern` on each: a constant has internal linkage otherwise.
extern const WarpOp sync_op{"__syncwarp", &exchange_nothing, Fault::exited_lane, true};
extern const WarpOp ballot_op{"__ballot_sync", &exchange_vote};
extern const WarpOp any_op{"__any_sync", &exchange_vote};
extern const WarpOp all_op{"__all_sync", &exchange_vote};
static constexpr WarpOp match_op{"__match_any_sync", &exchange_match};

unsigned ballot(unsigned mask, bool predicate, const WarpOp& op, Site site) {
  VoteFrame frame{predicate, 0};
  warp_collective(mask, &frame, op, site);
  return frame.ballot;
}

unsigned match_any(unsigned mask, unsigned long long value, Site site) {
  MatchFrame frame{value, 0};
  warp_collective(mask, &frame, match_op, site);
  return frame.same;
}

}  // namespace cuemu
