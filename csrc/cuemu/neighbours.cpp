// What the threads of a cluster, or of a cooperative grid, do together.
#include <link.h>

#include <cstdio>

#include "cuemu/block.h"
#include "cuemu/observer.h"

namespace cuemu {
namespace {

struct Arrival {
  const GroupBarrier* barrier;
  unsigned phase;
};

bool has_passed(const void* frame) {
  auto* arrival = static_cast<const Arrival*>(frame);
  return arrival->barrier->phase != arrival->phase;
}

void count_arrivals(const void* frame, char* text, std::size_t size) {
  const GroupBarrier& barrier = *static_cast<const Arrival*>(frame)->barrier;
  std::snprintf(text, size, "%u of %u threads are there", barrier.arrived, barrier.expected);
}

constexpr Condition cluster_condition{"the barrier of the cluster", has_passed, count_arrivals};
constexpr Condition grid_condition{"the barrier of the grid", has_passed, count_arrivals};

// The thread-local variables of the module that the emulator is linked into, in the calling OS thread.
struct ThreadLocals {
  const char* base = nullptr;
  std::size_t bytes = 0;
};

int find_thread_locals(dl_phdr_info* module, std::size_t, void* found) {
  const char* own = reinterpret_cast<const char*>(&::threadIdx);
  auto* base = static_cast<const char*>(module->dlpi_tls_data);
  if (!base) return 0;
  for (int i = 0; i < module->dlpi_phnum; ++i) {
    if (module->dlpi_phdr[i].p_type != PT_TLS) continue;
    std::size_t bytes = module->dlpi_phdr[i].p_memsz;
    if (own < base || own >= base + bytes) continue;
    *static_cast<ThreadLocals*>(found) = {base, bytes};
    return 1;
  }
  return 0;
}

}  // namespace

unsigned cluster_rank() { return current_block->neighbours().rank; }

uint3 cluster_size() { return current_block->neighbours().cluster_size; }

void cluster_arrive(Site site) {
  Thread& thread = *current_block->current();
  GroupBarrier& barrier = *current_block->neighbours().cluster_barrier;
  if (thread.has_arrived) fail("a second arrival at the cluster's barrier without waiting for the first", site);
  thread.has_arrived = true;
  thread.arrived_phase = barrier.phase;
  if (observer) observer->releases(of_phase(&barrier, barrier.phase));
  barrier.arrive();
}

void cluster_wait(Site site) {
  Thread& thread = *current_block->current();
  if (!thread.has_arrived) fail("waits at the cluster's barrier without having arrived", site);
  thread.has_arrived = false;
  Arrival arrival{current_block->neighbours().cluster_barrier, thread.arrived_phase};
  wait_until(cluster_condition, &arrival, site);
  if (observer) observer->acquires(of_phase(arrival.barrier, arrival.phase));
}

bool is_cooperative() { return current_block->neighbours().grid_barrier != nullptr; }

// Every thread of the grid must come: hardware too waits for ever if a block has ended.
void grid_barrier(Site site) {
  GroupBarrier* barrier = current_block->neighbours().grid_barrier;
  if (!barrier) fail("a barrier of the whole grid needs a cooperative launch", site);
  Arrival arrival{barrier, barrier->phase};
  if (observer) observer->releases(of_phase(barrier, arrival.phase));
  barrier->arrive();
  wait_until(grid_condition, &arrival, site);
  if (observer) observer->acquires(of_phase(barrier, arrival.phase));
}

void* map_shared(const void* address, unsigned rank, Site site) {
  const Neighbours& neighbours = current_block->neighbours();
  const uint3& size = neighbours.cluster_size;
  if (rank >= size.x * size.y * size.z) fail("the cluster has no block of that rank", site);
  Block& owner = *neighbours.cluster[rank];
  if (owner.has_returned()) fail("the block whose shared memory is asked for has ended", site);
  void* there = owner.same_shared_address(*current_block, address);
  if (!there) fail("the address is not in the block's shared memory", site);
  return there;
}

void* Block::same_shared_address(const Block& other, const void* address) const {
  auto* bytes = static_cast<const char*>(address);
  if (other.has_dynamic_shared(address)) return shared_ + (bytes - other.shared_);
  // A static `__shared__` variable. Every OS thread has the same layout of thread-local variables.
  ThreadLocals own;
  dl_iterate_phdr(find_thread_locals, &own);
  if (bytes < own.base || bytes >= own.base + own.bytes) return nullptr;
  return thread_local_base_ + (bytes - other.thread_local_base_);
}

}  // namespace cuemu
