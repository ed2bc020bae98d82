// A check session: follows what kernels do, access by access, and remembers what is wrong and what it costs.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "cuemu/block.h"
#include "cuemu/check/findings.h"
#include "cuemu/check/memory.h"
#include "cuemu/check/order.h"
#include "cuemu/check/requests.h"
#include "cuemu/check/sites.h"
#include "cuemu/observer.h"

namespace cuemu::check {

// An access as the kernel asks for it.
struct Asked {
  const void* address;
  unsigned bytes;
  Kind kind;
  bool is_volatile = false;
  bool is_aligned = true;  // must the address be a multiple of the size?
  bool is_copy = false;    // an asynchronous one: begins now, its bytes come later
  bool is_bulk = false;    // the same, but its bytes are there for who acquires its barrier
  bool by_engine = false;  // no lane of a warp asks for it
};

inline Index to_index(uint3 index) { return {index.x, index.y, index.z}; }

// Told apart in the numbers of sites: an instruction that moves more than 16 bytes counts as several, and so does one
// that meets both spaces.
constexpr unsigned kSharedPart = 8;

class Session : public Observer {
 public:
  // The current thread is about to access memory. From instrumented code (sanitizer.cpp), or from the emulator on
  // behalf of the kernel.
  void access(const Asked& asked, const Place& place);
  // An index that is outside its array's type, likewise.
  void index_outside(const char* array_type, long long index, Place place);
  void fence();

  std::string report() const;
  GlobalMemory& global_memory() { return global_; }

  void launch_begins(const Grid& grid, const std::string& kernel) override;
  bool launch_ends() override;
  void block_begins(Block& block) override;
  void block_ends(Block& block) override;
  void thread_returns(Block& block) override;
  void block_meets(Block& block) override;
  void lanes_meet(Block& block, unsigned warp, unsigned lanes, bool orders_memory) override;
  void releases(const void* object) override;
  void acquires(const void* object) override;
  void atomic_access(const void* address, unsigned bytes, Atomic kind, const void* pc) override;
  void proxy_fence() override;
  void memory_access(const void* address, unsigned bytes, bool is_store, Site site) override;
  void engine_begins() override { ++engine_instruction_; }
  void engine_access(const void* address, unsigned bytes, bool is_store, Site site) override;
  void bulk_store(const void* address, unsigned bytes, Site site) override;
  void copy_begins(const Copy& copy) override;
  void copy_lands(const Copy& copy) override;
  void* allocates(std::size_t bytes, bool initialised, const std::string& name) override;
  void frees(void* memory) override;
  void host_writes(const void* address, std::size_t bytes) override;
  void race_is_meant(const void* address, std::size_t bytes) override;
  void finds(Fault fault, const std::string& message, Site site) override;
  void finds(Fault fault, const std::string& message, const void* pc) override { note(fault, message, pc); }

 private:
  // What is known of a block while it runs. The emulator uses its `Block`s again and again, so these stay as well.
  struct BlockState {
    std::unique_ptr<BlockOrder> order;
    bool is_running = false;
    SharedMemory shared;
    std::vector<WarpRequests> warps{kMaxWarps};
  };

  // One access on its way through the checks.
  struct Step {
    Block& block;
    BlockState& state;
    Thread& thread;
    std::uintptr_t address;
    unsigned bytes;
    Kind kind;
    Region* region;
    Access access;
    bool by_engine = false;
  };

  // A store over an unordered store is a race unless it changes nothing, which is known after it.
  struct DoubtfulStore {
    bool waits = false;
    std::uintptr_t address;
    unsigned bytes;
    unsigned char before[16];
    SiteId site;
    SiteId other;
    std::string message;
    Index block;
    Index thread;
  };

  // A thread that loads from one address, and does nothing else, waits for what another thread will store.
  struct Polled {
    const Thread* thread;
    const void* address;
    unsigned times;
  };

  // Files with kernels have host functions too, and those are instrumented as well.
  static bool in_kernel() { return current_block && current_block->current(); }
  BlockState& state_of(Block& block) {
    if (&block != latest_block_) {
      ++epoch_;
      latest_block_ = &block;
      latest_state_ = &states_[&block];
    }
    return *latest_state_;
  }
  // Where the bytes are; empty after a finding.
  Area find_area(Block& block, BlockState& state, const Asked& asked, Place place);
  void out_of_bounds(Block& block, BlockState& state, const Asked& asked, Place place);
  void misaligned(Block& block, BlockState& state, const Asked& asked, Region& region, Place place);
  std::string describe(const BlockState& state, std::uintptr_t address) const;
  void check(const Step& step);
  static bool is_untouched(const Step& step);
  void check_load(const Step& step, Cell& cell, std::size_t cell_bytes);
  void check_store(const Step& step, Cell& cell, std::size_t cell_bytes);
  bool in_order(const Step& step, const Access& earlier) const;
  void race(const Step& step, const Access& earlier, bool earlier_is_load);
  void note(const Step& step, Fault fault, SiteId other, const std::string& message);
  void note(Fault fault, const std::string& message, Place place);
  void settle_doubtful_store();
  void let_others_run(const Asked& asked, Block& block, const Place& place);
  void count_requests(Block& block, unsigned warp);

  std::string kernel_;
  KernelCounts* kernel_counts_ = nullptr;
  bool is_reported_ = true;  // why the launch ended early
  std::uint32_t blocks_begun_ = 0;
  std::uint64_t engine_instruction_ = 0;

  GlobalMemory global_;
  Order order_;
  Sites sites_;
  Findings findings_;
  Counts counts_;
  DoubtfulStore doubtful_;
  Polled polled_{};
  std::map<std::uintptr_t, std::uintptr_t> meant_races_;  // begin and end
  std::uint64_t epoch_ = 1;                               // another one where an instruction's area may no longer hold
  std::map<Block*, BlockState> states_;
  Block* latest_block_ = nullptr;
  BlockState* latest_state_ = nullptr;
};

// The open session, or nullptr.
extern Session* session;

}  // namespace cuemu::check
