// What kernel-facing headers ask of the scheduler (block.cpp): park the calling thread until others have come.
#pragma once

#include <cstddef>

#include "cuemu/language.h"

namespace cuemu {

// The line of the kernel that called; filled in by the default argument of each intrinsic.
struct Site {
  const char* file;
  int line;
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

// In check mode the compiler adds a call to every load and store of a kernel. A function that touches memory on behalf
// of a kernel is marked CUEMU_UNCHECKED instead and tells what it does, as an access of the line that called it.
#ifdef __SANITIZE_THREAD__
#define CUEMU_UNCHECKED __attribute__((no_sanitize("thread"), noinline))
#define CUEMU_TELL_ATOMIC(address, kind) \
  cuemu::tell_atomic(address, sizeof *(address), kind, __builtin_return_address(0))
#else
#define CUEMU_UNCHECKED
#define CUEMU_TELL_ATOMIC(address, kind) static_cast<void>(kind)
#endif

// What a checker calls what is wrong (check/README.md).
enum class Fault { other, race, out_of_bounds, uninitialized, misaligned, deadlock, missing_wait, exited_lane };

// A collective of one warp. Each lane parks a pointer to its own frame (operands and room for the result); when the
// last lane of the mask has come, `exchange` reads and writes all frames at once. `lanes` says which frames are there.
// It returns what is wrong, or nullptr.
struct WarpOp {
  const char* name;
  const char* (*exchange)(void** frames, unsigned lanes);
  Fault fault = Fault::exited_lane;  // what an error of `exchange` is
  bool orders_memory = false;        // as __syncwarp does, and no other collective
};
void warp_collective(unsigned mask, void* frame, const WarpOp& op, Site site);
unsigned lane();
// x + y * blockDim.x + z * blockDim.x * blockDim.y
unsigned thread_number();

// Waits until all threads of the block that have not returned are here; returns how many of them came with a true
// predicate.
int block_barrier(bool predicate, Site site);

// `bar.sync id, threads` and, without waiting, `bar.arrive id, threads`.
void named_barrier(unsigned id, unsigned threads, bool waits, Site site);

// Waits until `holds(frame)`, which is asked whenever nobody else can go on. `explain`, if there, adds to the report
// what the frame is waiting for.
struct Condition {
  const char* name;
  bool (*holds)(const void* frame);
  void (*explain)(const void* frame, char* text, std::size_t size);
};
void wait_until(const Condition& condition, void* frame, Site site);

// The lanes of the warp that have come to this line when nobody else can go on: the widest convergence that a GPU could
// show.
unsigned converged_lanes(Site site);

// Lets others run. `may_spin` is called by all that a thread can do again and again while it waits for another one.
void spin(Site site);
extern __thread unsigned idle_turns;
CUEMU_UNCHECKED inline void may_spin(Site site) {
  constexpr unsigned kPatience = 16;
  if (++idle_turns < kPatience) return;
  idle_turns = 0;
  spin(site);
}

// Blocks that run together: a cluster, and all blocks of a cooperative launch.
unsigned cluster_rank();
uint3 cluster_size();
bool is_cooperative();
void cluster_arrive(Site site);
void cluster_wait(Site site);
void grid_barrier(Site site);
// The same variable or dynamic shared memory in the block of that rank.
void* map_shared(const void* address, unsigned rank, Site site);

// Ends the whole launch: the host gets an exception with this message, the kernel, the block and the thread.
[[noreturn]] void fail(const char* message, Site site, Fault fault = Fault::other);

bool runs_a_kernel();
[[noreturn]] void assertion_failed(const char* expression, Site site);

// The block's dynamic shared memory; every byte starts as 0xff, which is a NaN in each floating-point type.
void* dynamic_shared_memory();
template <class T>
T* dynamic_shared() {
  return static_cast<T*>(dynamic_shared_memory());
}

// cp.async: the copy is remembered and done by the thread's own wait.
void push_copy(void* shared, const void* global, unsigned bytes, unsigned zero_bytes, Site site);
void commit_copies();
void wait_copies(unsigned groups_left);

enum class Atomic { update, exchange, compare_and_swap };
void tell_atomic(const void* address, unsigned bytes, Atomic kind, const void* pc);
// What annotate.h says.
void tell_release(const void* object);
void tell_acquire(const void* object);
void tell_meant_race(const void* address, std::size_t bytes);

// Runs `entry(body)` once for every thread of the grid, and returns when all are done.
// Throws std::invalid_argument for a launch that a GPU would refuse, std::runtime_error for what goes wrong inside.
struct Grid {
  unsigned grid[3];
  unsigned block[3];
  std::size_t shared_bytes;
  const char* kernel;
  unsigned cluster[3] = {1, 1, 1};
  bool cooperative = false;  // all blocks run at the same time
};
void run_grid(const Grid& grid, void (*entry)(const void*), const void* body);

}  // namespace cuemu
