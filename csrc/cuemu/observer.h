// What the emulator tells a checker, at the moment it happens. Kernels that are compiled in check mode tell their loads
// and stores themselves (check/README.md). Internal to the emulator's .cpp files.
#pragma once

#include <string>

#include "cuemu/runtime.h"

namespace cuemu {

class Block;
struct Copy;

// "The caller" is the current thread of the block that this OS thread runs (block.h).
class Observer {
 public:
  virtual ~Observer() = default;

  virtual void launch_begins(const Grid& grid, const std::string& kernel) = 0;
  // Returns true if the reason for which the launch ended early, if it did, is in the report: nothing is thrown then.
  virtual bool launch_ends() = 0;
  virtual void block_begins(Block& block) = 0;
  virtual void block_ends(Block& block) = 0;
  virtual void thread_returns(Block& block) = 0;

  // What orders memory. All threads of the block, or these lanes of a warp of it, have met.
  virtual void block_meets(Block& block) = 0;
  virtual void lanes_meet(Block& block, unsigned warp, unsigned lanes, bool orders_memory) = 0;
  // What the caller has done so far happens before what anybody does who acquires `object` later.
  virtual void releases(const void* object) = 0;
  virtual void acquires(const void* object) = 0;

  // `fence.proxy.async`: what the caller has done and seen is there for the asynchronous engines.
  virtual void proxy_fence() = 0;

  // Memory that the emulator touches on behalf of the caller.
  virtual void memory_access(const void* address, unsigned bytes, bool is_store, Site site) = 0;
  virtual void atomic_access(const void* address, unsigned bytes, Atomic kind, const void* pc) = 0;
  // The caller has one of the asynchronous engines, bulk copies or wgmma, do an instruction; piece by piece it reads
  // and writes memory.
  virtual void engine_begins() = 0;
  virtual void engine_access(const void* address, unsigned bytes, bool is_store, Site site) = 0;
  // The caller starts a bulk copy into shared memory, whose bytes are there for who has waited at its barrier.
  virtual void bulk_store(const void* address, unsigned bytes, Site site) = 0;
  // The caller starts a `cp.async`; later its wait covers it, and the bytes are there.
  virtual void copy_begins(const Copy& copy) = 0;
  virtual void copy_lands(const Copy& copy) = 0;

  // Memory that a program gets from the CUDA runtime (host_api.h): the observer's, until it is released. Null where
  // there is none.
  virtual void* allocates(std::size_t bytes, bool initialised, const std::string& name) = 0;
  virtual void frees(void* memory) = 0;
  virtual void host_writes(const void* address, std::size_t bytes) = 0;

  // Races on these bytes are no finding.
  virtual void race_is_meant(const void* address, std::size_t bytes) = 0;
  // Something is wrong at `site`. It is the caller's fault if there is one.
  virtual void finds(Fault fault, const std::string& message, Site site) = 0;
  // The same at an instruction.
  virtual void finds(Fault fault, const std::string& message, const void* pc) = 0;
};

// A barrier that is used again is another object in every second phase: who leaves it has not seen what others, ahead
// of him, do before its next phase.
inline const void* of_phase(const void* barrier, unsigned phase) {
  return static_cast<const char*>(barrier) + phase % 2;
}

// Null: nobody watches.
extern Observer* observer;

}  // namespace cuemu
