// What runtime.h promises to kernels: each call goes to the block that this OS thread runs.
#include "cuemu/runtime.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cuemu/block.h"
#include "cuemu/diagnostics.h"
#include "cuemu/observer.h"

namespace cuemu {

Observer* observer = nullptr;

void warp_collective(unsigned mask, void* frame, const WarpOp& op, Site site) {
  current_block->warp_collective(mask, frame, op, site);
}

unsigned thread_number() { return current_block->current()->number; }

unsigned lane() { return current_block->current()->number % 32; }

int block_barrier(bool predicate, Site site) { return current_block->barrier(predicate, site); }

void fail(const char* message, Site site, Fault fault) {
  current_block->fail(std::string(message) + " " + describe(site), site, fault);
}

void named_barrier(unsigned id, unsigned threads, bool waits, Site site) {
  current_block->named_barrier(id, threads, waits, site);
}

void wait_until(const Condition& condition, void* frame, Site site) {
  current_block->wait_until(condition, frame, site);
}

unsigned converged_lanes(Site site) { return current_block->converge(site); }

void spin(Site site) {
  // The host may use atomics too.
  if (current_block) current_block->spin(site);
}

bool runs_a_kernel() { return current_block != nullptr; }

void assertion_failed(const char* expression, Site site) {
  if (current_block) current_block->fail("assertion failed: " + std::string(expression) + " " + describe(site));
  std::fprintf(stderr, "%s:%d: assertion failed: %s\n", site.file, site.line, expression);
  std::abort();
}

void* dynamic_shared_memory() { return current_block->shared_memory(); }

void push_copy(void* shared, const void* global, unsigned bytes, unsigned zero_bytes, Site site) {
  CopyQueue& queue = current_block->copies();
  queue.copies.push_back({shared, global, bytes, zero_bytes, queue.open_group, site});
  if (observer) observer->copy_begins(queue.copies.back());
}

void commit_copies() { ++current_block->copies().open_group; }

void wait_copies(unsigned groups_left) {
  CopyQueue& queue = current_block->copies();
  auto is_due = [&](const Copy& copy) { return copy.group + groups_left < queue.open_group; };
  auto due_end = std::find_if_not(queue.copies.begin(), queue.copies.end(), is_due);
  for (auto copy = queue.copies.begin(); copy != due_end; ++copy) {
    if (copy->bytes) std::memcpy(copy->shared, copy->global, copy->bytes);
    std::memset(static_cast<char*>(copy->shared) + copy->bytes, 0, copy->zero_bytes);
    if (observer) observer->copy_lands(*copy);
  }
  queue.copies.erase(queue.copies.begin(), due_end);
}

void tell_atomic(const void* address, unsigned bytes, Atomic kind, const void* pc) {
  if (observer) observer->atomic_access(address, bytes, kind, pc);
}

void tell_release(const void* object) {
  if (observer) observer->releases(object);
}

void tell_acquire(const void* object) {
  if (observer) observer->acquires(object);
}

void tell_meant_race(const void* address, std::size_t bytes) {
  if (observer) observer->race_is_meant(address, bytes);
}

}  // namespace cuemu
