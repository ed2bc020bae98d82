// The settings that a user gives by environment variables; read at every launch, so that a test can change them.
#pragma once

#include <cstdint>

namespace cuemu {

enum class Order { forward, reverse, random };

struct Schedule {
  Order order;
  std::uint64_t seed;
};

// CUEMU_ORDER=forward|reverse|random:SEED
Schedule schedule_from_environment();

// CUEMU_THREADS: how many OS threads run blocks, by default one per core.
unsigned workers_from_environment();

// CUEMU_SPIN_SECONDS: how long threads may do nothing but spin before that is called a deadlock, by default 30.
unsigned long spin_seconds_from_environment();

}  // namespace cuemu
