// A stable counting sort in three passes over the edges' keys: count, offsets, place.
#include "common/parallel.h"
#include "common/scratch.h"
#include "ops/gather_scatter/gather_scatter.h"

namespace nnzoo {
namespace NNZOO_ISA {
namespace {

// Each part of the edges has its own counters, so that threads don't meet, and their offsets keep the order of the
// parts.
struct Counters {
  std::int32_t* data;  // [parts, num_groups]
  std::int64_t num_groups;

  std::int32_t* of(int part) const { return data + part * num_groups; }
};

bool in_range(std::int64_t index, std::int64_t size) {
  return static_cast<std::uint64_t>(index) < static_cast<std::uint64_t>(size);
}

// Returns the first edge of the part that is out of range, or -1.
std::int64_t count_keys(const GroupEdges& args, Range edges, std::int32_t* counters) {
  for (std::int64_t group = 0; group < args.num_groups; ++group) counters[group] = 0;
  for (std::int64_t e = edges.begin; e < edges.end; ++e) {
    const bool valid =
        in_range(args.key[e], args.num_groups) && (!args.other || in_range(args.other[e], args.num_nodes));
    if (!valid) return e;
    ++counters[args.key[e]];
  }
  return -1;
}

std::int32_t edges_of(Range groups, const Counters& counters, int parts) {
  std::int32_t total = 0;
  for (int part = 0; part < parts; ++part) {
    for (std::int64_t group = groups.begin; group < groups.end; ++group) total += counters.of(part)[group];
  }
  return total;
}

// Turns counts into the positions where each part places its first edge of each group, from `position` on.
void find_positions(Range groups, const Counters& counters, int parts, std::int32_t position, std::int32_t* start) {
  for (std::int64_t group = groups.begin; group < groups.end; ++group) {
    start[group] = position;
    for (int part = 0; part < parts; ++part) {
      const std::int32_t count = counters.of(part)[group];
      counters.of(part)[group] = position;
      position += count;
    }
  }
}

void place_edges(const GroupEdges& args, Range edges, std::int32_t* next) {
  for (std::int64_t e = edges.begin; e < edges.end; ++e) {
    const std::int32_t position = next[args.key[e]]++;
    args.edge[position] = static_cast<std::int32_t>(e);
    if (args.other) args.node[position] = static_cast<std::int32_t>(args.other[e]);
  }
}

// Counters cost parts * num_groups: no more of them than a few per edge, and no part too small to be worth a thread.
int useful_parts(const GroupEdges& args) {
  constexpr std::int64_t kEdgesPerPart = 1 << 14;
  const std::int64_t by_memory = 1 + 4 * args.num_edges / (args.num_groups + 1);
  const std::int64_t by_work = args.num_edges / kEdgesPerPart;
  return clamp_threads(args.threads, by_memory < by_work ? by_memory : by_work);
}

}  // namespace

void group_edges(const GroupEdges& args) {
  const int parts = useful_parts(args);
  Scratch scratch;
  const Counters counters{scratch.take<std::int32_t>(parts * args.num_groups), args.num_groups};
  std::int64_t* const invalid = scratch.take<std::int64_t>(parts);
  std::int32_t* const totals = scratch.take<std::int32_t>(parts);
  *args.first_invalid = -1;
  parallel_team(parts, [&](int part, int count) {
    const Range edges = split_range(args.num_edges, part, count);
    const Range groups = split_range(args.num_groups, part, count);
    invalid[part] = count_keys(args, edges, counters.of(part));
    team_barrier(count);
    for (int other = 0; other < count; ++other) {
      if (invalid[other] < 0) continue;
      if (part == 0) *args.first_invalid = invalid[other];
      return;  // every thread sees the same and leaves here
    }
    totals[part] = edges_of(groups, counters, count);
    team_barrier(count);
    std::int32_t before = 0;
    for (int other = 0; other < part; ++other) before += totals[other];
    find_positions(groups, counters, count, before, args.start);
    if (part == 0) args.start[args.num_groups] = static_cast<std::int32_t>(args.num_edges);
    team_barrier(count);
    place_edges(args, edges, counters.of(part));
  });
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
