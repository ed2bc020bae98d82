#include "cuemu/check/requests.h"

#include <algorithm>

namespace cuemu::check {
namespace {

constexpr std::uint32_t kSectorBytes = 32;
constexpr unsigned kBanks = 32;
constexpr std::uint32_t kBankBytes = 4;

// Counts the distinct values; sorts them. Most requests come sorted.
unsigned count_distinct(std::uint32_t* begin, std::uint32_t* end) {
  if (!std::is_sorted(begin, end)) std::sort(begin, end);
  return static_cast<unsigned>(std::unique(begin, end) - begin);
}

// Whether all that `lanes` ask for is in 32 words in a row, which are in 32 banks. Most requests are like that.
bool is_one_row(const Request& request, std::uint32_t lanes, unsigned bytes) {
  std::uint32_t first = ~0u;
  std::uint32_t last = 0;
  for (; lanes; lanes &= lanes - 1) {
    const std::uint32_t address = request.addresses[__builtin_ctz(lanes)];
    first = std::min(first, address);
    last = std::max(last, address + bytes - 1);
  }
  return last / kBankBytes - first / kBankBytes < kBanks;
}

// The words of each bank that `lanes` ask for.
unsigned busiest_bank(const Request& request, std::uint32_t lanes, unsigned bytes) {
  if (is_one_row(request, lanes, bytes)) return 1;
  std::uint32_t words[kBanks][2 * kBanks];  // an access that is not aligned has part in two
  unsigned used[kBanks] = {};
  unsigned busiest = 0;
  for (; lanes; lanes &= lanes - 1) {
    std::uint32_t address = request.addresses[__builtin_ctz(lanes)];
    for (std::uint32_t word = address / kBankBytes; word <= (address + bytes - 1) / kBankBytes; ++word) {
      std::uint32_t* of_bank = words[word % kBanks];
      unsigned& count = used[word % kBanks];
      if (std::find(of_bank, of_bank + count, word) != of_bank + count) continue;
      of_bank[count++] = word;
      busiest = std::max(busiest, count);
    }
  }
  return busiest;
}

}  // namespace

Sectors count_sectors(const Request& request, unsigned bytes) {
  std::uint32_t addresses[32];
  std::uint32_t sectors[64];
  unsigned lanes = 0;
  unsigned touched = 0;
  for (std::uint32_t rest = request.lanes; rest; rest &= rest - 1) {
    std::uint32_t address = request.addresses[__builtin_ctz(rest)];
    addresses[lanes++] = address;
    sectors[touched++] = address / kSectorBytes;
    std::uint32_t last = (address + bytes - 1) / kSectorBytes;
    if (last != address / kSectorBytes) sectors[touched++] = last;
  }
  unsigned distinct = count_distinct(addresses, addresses + lanes);
  unsigned needed = static_cast<unsigned>((distinct * bytes + kSectorBytes - 1) / kSectorBytes);
  return {count_distinct(sectors, sectors + touched), needed};
}

double count_bank_ways(const Request& request, unsigned bytes) {
  unsigned together = bytes <= kBankBytes ? 32 : static_cast<unsigned>(kBanks * kBankBytes / bytes);
  std::uint32_t first = together == 32 ? ~0u : (1u << together) - 1;
  unsigned ways = 0;
  unsigned phases = 0;
  for (unsigned lane = 0; lane < 32; lane += together) {
    std::uint32_t lanes = request.lanes & (first << lane);
    if (!lanes) continue;
    ways += busiest_bank(request, lanes, bytes);
    ++phases;
  }
  return static_cast<double>(ways) / phases;
}

void WarpRequests::begin_request(Instruction& instruction, SiteId site) {
  if (instruction.used == 0) recorded_.push_back(site);
  if (instruction.used == instruction.requests.size()) instruction.requests.emplace_back();
  instruction.requests[instruction.used++].lanes = 0;
}

void WarpRequests::count(std::uint32_t existing, Counts& counts, KernelCounts& kernel) {
  for (SiteId id : recorded_) {
    Instruction& instruction = *instructions_[id];
    SiteCounts& site = counts.sites[id];
    for (unsigned i = 0; i < instruction.used; ++i) {
      const Request& request = instruction.requests[i];
      unsigned lanes = static_cast<unsigned>(__builtin_popcount(request.lanes));
      ++site.requests;
      site.lanes += lanes;
      ++kernel.requests;
      kernel.lanes += lanes;
      kernel.lanes_possible += static_cast<unsigned>(__builtin_popcount(existing));
      kernel.divergent_requests += request.lanes != existing;
      if (site.space == Space::shared) {
        double ways = count_bank_ways(request, site.bytes);
        site.bank_ways += ways;
        kernel.bank_ways += ways;
        ++kernel.shared_requests;
        continue;
      }
      Sectors sectors = count_sectors(request, site.bytes);
      site.sectors += sectors.touched;
      site.sectors_needed += sectors.needed;
      bool is_load = site.kind == Kind::load;
      (is_load ? kernel.bytes_read : kernel.bytes_written) += std::uint64_t{lanes} * site.bytes;
      (is_load ? kernel.sectors_read : kernel.sectors_written) += sectors.touched;
      ++(is_load ? kernel.load_requests : kernel.store_requests);
    }
    instruction.used = 0;
    std::fill(std::begin(instruction.executions), std::end(instruction.executions), 0u);
  }
  recorded_.clear();
}

}  // namespace cuemu::check
