// A stable counting sort in two levels: edges are first dealt into buckets of neighbouring groups, in sequential
// writes, and then each bucket is sorted by itself, with all that it writes at random in the cache.
#include "common/parallel.h"
#include "common/scratch.h"
#include "ops/gather_scatter/gather_scatter.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

struct Entry {
  std::int32_t key, node, edge;
};

// Bucket b holds the groups from b << shift on.
struct Buckets {
  std::int64_t count;
  int shift;

  // A bucket's edges, 8 bytes each in the result, fit beside its counters in L2; more buckets than this would need more
  // lines for writing than L1 has.
  static Buckets make(const GroupEdges& args) {
    constexpr std::int64_t kEdges = 8192, kMost = 256;
    const std::int64_t wanted = args.num_edges / kEdges, most = wanted < 1 ? 1 : wanted < kMost ? wanted : kMost;
    int shift = 0;
    while (((args.num_groups - 1) >> shift) + 1 > most) ++shift;
    return {((args.num_groups - 1) >> shift) + 1, shift};
  }

  std::int64_t of(std::int64_t key) const { return key >> shift; }
  Range groups(std::int64_t bucket, std::int64_t num_groups) const {
    const std::int64_t end = (bucket + 1) << shift;
    return {bucket << shift, end < num_groups ? end : num_groups};
  }
};

bool in_range(std::int64_t index, std::int64_t size) {
  return static_cast<std::uint64_t>(index) < static_cast<std::uint64_t>(size);
}

// Returns the first edge of the part that is out of range, or -1.
std::int64_t count_buckets(const GroupEdges& args, const Buckets& buckets, Range edges, std::int32_t* counts) {
  for (std::int64_t bucket = 0; bucket < buckets.count; ++bucket) counts[bucket] = 0;
  for (std::int64_t e = edges.begin; e < edges.end; ++e) {
    const bool valid =
        in_range(args.key[e], args.num_groups) && (!args.other || in_range(args.other[e], args.num_nodes));
    if (!valid) return e;
    ++counts[buckets.of(args.key[e])];
  }
  return -1;
}

// Turns counts [parts, buckets] into the places where each part puts its first entry of each bucket, and finds where
// buckets begin: starts [buckets + 1].
void find_places(const Buckets& buckets, int parts, std::int32_t* counts, std::int32_t* starts) {
  std::int32_t place = 0;
  for (std::int64_t bucket = 0; bucket < buckets.count; ++bucket) {
    starts[bucket] = place;
    for (int part = 0; part < parts; ++part) {
      std::int32_t& count = counts[part * buckets.count + bucket];
      const std::int32_t next = place + count;
      count = place;
      place = next;
    }
  }
  starts[buckets.count] = place;
}

void deal(const GroupEdges& args, const Buckets& buckets, Range edges, std::int32_t* next, Entry* entries) {
  for (std::int64_t e = edges.begin; e < edges.end; ++e) {
    const auto key = static_cast<std::int32_t>(args.key[e]);
    const auto node = static_cast<std::int32_t>(args.other ? args.other[e] : 0);
    entries[next[buckets.of(key)]++] = {key, node, static_cast<std::int32_t>(e)};
  }
}

// Sorts the entries first..last of the groups of one bucket; `next` has room for a counter for each of these.
void sort_bucket(const GroupEdges& args, Range groups, const Entry* entries, std::int32_t first, std::int32_t last,
                 std::int32_t* next) {
  for (std::int64_t group = groups.begin; group < groups.end; ++group) next[group - groups.begin] = 0;
  for (std::int32_t i = first; i < last; ++i) ++next[entries[i].key - groups.begin];
  std::int32_t position = first;
  for (std::int64_t group = groups.begin; group < groups.end; ++group) {
    std::int32_t& count = next[group - groups.begin];
    args.start[group] = position;
    position += count;
    count = args.start[group];
  }
  for (std::int32_t i = first; i < last; ++i) {
    const std::int32_t place = next[entries[i].key - groups.begin]++;
    args.edge[place] = entries[i].edge;
    if (args.other) args.node[place] = entries[i].node;
  }
}

int useful_parts(const GroupEdges& args) {
  constexpr std::int64_t kEdgesPerPart = 1 << 14;
  return clamp_threads(args.threads, args.num_edges / kEdgesPerPart);
}

}  // namespace

void group_edges(const GroupEdges& args) {
  *args.first_invalid = -1;
  args.start[args.num_groups] = static_cast<std::int32_t>(args.num_edges);
  const Buckets buckets = Buckets::make(args);
  const int parts = useful_parts(args);
  Scratch scratch;
  Entry* const entries = scratch.take<Entry>(args.num_edges);
  std::int32_t* const counts = scratch.take<std::int32_t>(parts * buckets.count);
  std::int32_t* const starts = scratch.take<std::int32_t>(buckets.count + 1);
  std::int64_t* const invalid = scratch.take<std::int64_t>(parts);
  std::int64_t next_bucket = 0;
  parallel_team(parts, [&](int part, int count) {
    const Range edges = split_range(args.num_edges, part, count);
    std::int32_t* const own = counts + part * buckets.count;
    invalid[part] = count_buckets(args, buckets, edges, own);
    team_barrier(count);
    for (int other = 0; other < count; ++other) {
      if (invalid[other] < 0) continue;
      if (part == 0) *args.first_invalid = invalid[other];
      return;  // every thread sees the same and leaves here
    }
    if (part == 0) find_places(buckets, count, counts, starts);
    team_barrier(count);
    deal(args, buckets, edges, own, entries);
    team_barrier(count);
    Scratch scratch;
    std::int32_t* const next = scratch.take<std::int32_t>(buckets.groups(0, args.num_groups).end);
    for (;;) {
      const std::int64_t bucket = __atomic_fetch_add(&next_bucket, 1, __ATOMIC_RELAXED);
      if (bucket >= buckets.count) return;
      const Range groups = buckets.groups(bucket, args.num_groups);
      sort_bucket(args, groups, entries, starts[bucket], starts[bucket + 1], next);
    }
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
