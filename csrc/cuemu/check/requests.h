// What the lanes of a warp ask of memory together, and what that costs.
//
// A GPU executes an instruction for all lanes of a warp at once; here the lanes run one after the other. So accesses
// are collected: the n-th execution of an instruction by each lane, since the lanes last met, makes one request.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cuemu/check/access.h"
#include "cuemu/check/memory.h"

namespace cuemu::check {

// Half an address is enough to tell sectors and banks apart, unless lanes are 4 GB apart.
struct Request {
  std::uint32_t lanes;
  std::uint32_t addresses[32];
};

// Distinct 32-byte sectors, and as many as the distinct bytes would fill.
struct Sectors {
  unsigned touched;
  unsigned needed;
};
Sectors count_sectors(const Request& request, unsigned bytes);

// How often the busiest of the 32 banks of 4 bytes is used for different words. Lanes are served together as long as
// their bytes make up 128: all of them, half-warps for 8 bytes, quarters for 16; the mean over those is returned.
double count_bank_ways(const Request& request, unsigned bytes);

struct KernelCounts {
  std::uint64_t launches = 0;
  std::uint64_t bytes_read = 0, bytes_written = 0;
  std::uint64_t compulsory_read = 0, compulsory_written = 0;
  std::uint64_t sectors_read = 0, sectors_written = 0;
  std::uint64_t engine_read = 0, engine_written = 0;  // bytes
  std::uint64_t requests = 0, divergent_requests = 0;
  std::uint64_t load_requests = 0, store_requests = 0, shared_requests = 0;
  double bank_ways = 0;
  std::uint64_t lanes = 0, lanes_possible = 0;
};

// Of one instruction (a site), over all kernels.
struct SiteCounts {
  Kind kind;
  Space space;
  unsigned bytes = 0;  // of one lane; 0: never executed
  std::uint64_t requests = 0;
  std::uint64_t lanes = 0;
  std::uint64_t sectors = 0;
  std::uint64_t sectors_needed = 0;
  double bank_ways = 0;
  std::uint64_t engine_requests = 0;
  std::uint64_t engine_bytes = 0;
  std::uint64_t latest_engine_instruction = 0;

  // A piece that an engine moves: no request of a warp. It moves whole sectors, and has no lanes to diverge.
  void count_engine(std::uint64_t instruction, unsigned piece, KernelCounts& kernel) {
    engine_requests += latest_engine_instruction != instruction;
    latest_engine_instruction = instruction;
    engine_bytes += piece;
    if (space == Space::global) (kind == Kind::load ? kernel.engine_read : kernel.engine_written) += piece;
  }
};

struct Counts {
  std::vector<SiteCounts> sites;  // by SiteId
  std::map<std::string, KernelCounts> kernels;
};

// The accesses of one warp since its lanes last met.
class WarpRequests {
 public:
  void record(unsigned lane, SiteId site, std::uintptr_t address) {
    if (site >= instructions_.size()) instructions_.resize(site + 1);
    std::unique_ptr<Instruction>& slot = instructions_[site];
    if (!slot) slot.reset(new Instruction());
    Instruction& instruction = *slot;
    unsigned index = instruction.executions[lane]++;
    if (index == instruction.used) begin_request(instruction, site);
    Request& request = instruction.requests[index];
    request.lanes |= 1u << lane;
    request.addresses[lane] = static_cast<std::uint32_t>(address);
  }

  // Counts what has been recorded and forgets it. `existing`: the lanes of the warp that the block has.
  void count(std::uint32_t existing, Counts& counts, KernelCounts& kernel);

 private:
  struct Instruction {
    std::uint32_t executions[32] = {};
    std::uint32_t used = 0;
    std::vector<Request> requests;
  };
  void begin_request(Instruction& instruction, SiteId site);

  std::vector<std::unique_ptr<Instruction>> instructions_;  // by SiteId
  std::vector<SiteId> recorded_;
};

}  // namespace cuemu::check
