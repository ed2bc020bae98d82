// The directions of a layer, step by step. A run of one direction (recurrent_forward.h, recurrent_backward.h) has
//
//     Run(args, cell, directions)                takes all its memory, packs the weights
//     static void run(runs, directions)          the whole layer, chunk by chunk
//     int phases() const                         a barrier ends each phase of a step
//     void step(s, phase, thread, count)         this thread's share of a phase; threads own hidden units
//
// Two directions need nothing of each other, so each runs on half of the threads, or in turn on a single one.
#pragma once

#include "common/parallel.h"
#include "common/recurrent.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Threads for the steps of a layer: a barrier ends each, so a thread must have enough work between two of them.
inline int step_threads(const RecurrentShape& shape, int gates, int directions, std::int64_t units) {
  const std::int64_t products = shape.rows / shape.steps * gates * shape.hidden * shape.out() * directions;
  const std::int64_t least = 1 << 15;
  const std::int64_t worth = products / least;
  const std::int64_t most = units * directions < worth ? units * directions : worth;
  return most < shape.threads ? static_cast<int>(most < 1 ? 1 : most) : shape.threads;
}

// The threads of a team of `count` that run direction `index` of `directions`.
NNZOO_INLINE Range threads_of(int index, int directions, int count) {
  return count >= directions ? split_range(count, index, directions) : Range{0, count};
}

// All steps first..last of a chunk; `step_of(i)` is the i-th to run.
template <class Run, class StepOf>
void run_steps(Run* const* runs, int directions, std::int64_t steps, int threads, const StepOf& step_of) {
  const int phases = runs[0]->phases();
  parallel_team(threads, [&](int thread, int count) {
    for (std::int64_t i = 0; i < steps; ++i) {
      for (int phase = 0; phase < phases; ++phase) {
        for (int d = 0; d < directions; ++d) {
          const Range own = threads_of(d, directions, count);
          if (thread < own.begin || thread >= own.end) continue;
          runs[d]->step(step_of(i), phase, thread - static_cast<int>(own.begin), static_cast<int>(own.end - own.begin));
        }
        team_barrier(count);
      }
    }
  });
}

template <class Run, class Layer>
void run_layer(const Layer& layer, const typename Run::Cell& cell) {
  Run first(layer.directions[0], cell, layer.count);
  if (layer.count == 1) {
    Run* const runs[] = {&first};
    return Run::run(runs, 1);
  }
  Run second(layer.directions[1], cell, layer.count);
  Run* const runs[] = {&first, &second};
  Run::run(runs, 2);
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
