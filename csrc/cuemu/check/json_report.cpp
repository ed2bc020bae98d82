#include "cuemu/check/json_report.h"

#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "cuemu/check/json.h"

namespace cuemu::check {
namespace {

Line line_of(SiteId site, const std::vector<Line>& lines) { return site == kNoSite ? Line{"??", 0} : lines[site]; }

std::string json_triple(const Index& index) {
  return "[" + json(std::uint64_t{index[0]}) + ", " + json(std::uint64_t{index[1]}) + ", " +
         json(std::uint64_t{index[2]}) + "]";
}

// Two kinds of finding come with others that have the same reason. Who reads before the other one writes also reads
// what nobody has written; and while some threads do wait for a copy, others that read too early race with them.
class Explanations {
 public:
  Explanations(const Findings& findings, const std::vector<Line>& lines) : lines_(lines) {
    for (const Finding& finding : findings.all()) {
      if (findings.is_allowed(finding)) continue;
      Line line = line_of(finding.site, lines);
      Line other = line_of(finding.other, lines);
      if (finding.fault == Fault::race) racing_.insert({line, other});
      if (finding.fault == Fault::missing_wait) early_.insert({{line, other}, {other, line}});
    }
  }
  bool is_explained(const Finding& finding) const {
    Line line = line_of(finding.site, lines_);
    if (finding.fault == Fault::race) return early_.count({line, line_of(finding.other, lines_)});
    return finding.fault == Fault::uninitialized && racing_.count(line);
  }

 private:
  const std::vector<Line>& lines_;
  std::set<Line> racing_;
  std::set<std::pair<Line, Line>> early_;
};

// One for each kind and line, although templates and unrolled loops have several places for a line.
std::string write_findings(const Findings& findings, const std::vector<Line>& lines) {
  std::vector<Finding> merged;
  std::map<std::pair<Fault, Line>, std::size_t> by_line;
  Explanations explanations(findings, lines);
  for (const Finding& finding : findings.all()) {
    if (findings.is_allowed(finding) || explanations.is_explained(finding)) continue;
    auto [known, is_new] = by_line.insert({{finding.fault, line_of(finding.site, lines)}, merged.size()});
    if (is_new) {
      merged.push_back(finding);
    } else {
      merged[known->second].count += finding.count;
    }
  }
  JsonArray array;
  for (const Finding& finding : merged) {
    Line line = line_of(finding.site, lines);
    JsonObject object;
    object.field("kind", std::string(name_of(finding.fault))).field("file", line.file).field("line", line.line);
    object.field("kernel", finding.kernel).field("message", finding.message).field("count", finding.count);
    object.raw("block", json_triple(finding.block)).raw("thread", json_triple(finding.thread));
    Line other = line_of(finding.other, lines);
    std::string other_line = JsonObject().field("file", other.file).field("line", other.line).text();
    object.raw("other", finding.other == kNoSite ? "null" : other_line);
    array.add(object.text());
  }
  return array.text();
}

constexpr std::uint64_t kSectorBytes = 32;

template <class Sum>
std::string json_mean(Sum sum, std::uint64_t count) {
  return count ? json(static_cast<double>(sum) / static_cast<double>(count)) : "null";
}

struct LineCounts {
  SiteCounts sum;
  std::uint64_t bytes = 0;
  std::uint64_t atomic_requests = 0;
};

std::string write_lines(const Counts& counts, const std::vector<Line>& lines) {
  std::map<std::tuple<Line, bool, Space>, LineCounts> merged;
  for (SiteId id = 0; id < counts.sites.size(); ++id) {
    const SiteCounts& site = counts.sites[id];
    if (site.requests + site.engine_requests == 0) continue;
    LineCounts& line = merged[{lines[id], site.kind != Kind::load, site.space}];
    line.sum.requests += site.requests;
    line.sum.lanes += site.lanes;
    line.sum.sectors += site.sectors;
    line.sum.sectors_needed += site.sectors_needed;
    line.sum.bank_ways += site.bank_ways;
    line.sum.engine_requests += site.engine_requests;
    line.sum.engine_bytes += site.engine_bytes;
    line.bytes += site.lanes * site.bytes + site.engine_bytes;
    if (is_atomic(site.kind)) line.atomic_requests += site.requests;
  }
  JsonArray array;
  for (const auto& [key, line] : merged) {
    const auto& [place, is_store, space] = key;
    bool shared = space == Space::shared;
    const SiteCounts& sum = line.sum;
    const std::uint64_t requests = sum.requests + sum.engine_requests;
    const double engine_sectors = static_cast<double>(sum.engine_bytes) / static_cast<double>(kSectorBytes);
    JsonObject object;
    object.field("file", place.file).field("line", place.line);
    object.field("access", std::string(is_store ? "store" : "load"));
    object.field("space", std::string(shared ? "shared" : "global")).field("requests", requests);
    object.raw("active_lanes", json_mean(sum.lanes + sum.engine_requests, requests)).field("bytes", line.bytes);
    object.raw("sectors_per_request",
               shared ? "null" : json_mean(static_cast<double>(sum.sectors) + engine_sectors, requests));
    object.raw("sectors_needed",
               shared ? "null" : json_mean(static_cast<double>(sum.sectors_needed) + engine_sectors, requests));
    object.raw("bank_ways", shared ? json_mean(sum.bank_ways, sum.requests) : "null");
    object.field("atomic_requests", line.atomic_requests);
    array.add(object.text());
  }
  return array.text();
}

std::string write_kernels(const Counts& counts) {
  JsonArray array;
  for (const auto& [name, kernel] : counts.kernels) {
    JsonObject object;
    object.field("name", name).field("launches", kernel.launches);
    object.field("bytes_read", kernel.bytes_read + kernel.engine_read);
    object.field("bytes_written", kernel.bytes_written + kernel.engine_written);
    object.field("compulsory_read", kernel.compulsory_read).field("compulsory_written", kernel.compulsory_written);
    object.field("sector_bytes_read", kernel.sectors_read * kSectorBytes + kernel.engine_read);
    object.field("sector_bytes_written", kernel.sectors_written * kSectorBytes + kernel.engine_written);
    object.field("engine_bytes", kernel.engine_read + kernel.engine_written);
    object.raw("load_sectors_per_request", json_mean(kernel.sectors_read, kernel.load_requests));
    object.raw("store_sectors_per_request", json_mean(kernel.sectors_written, kernel.store_requests));
    object.raw("bank_ways", json_mean(kernel.bank_ways, kernel.shared_requests));
    object.field("requests", kernel.requests).field("divergent_requests", kernel.divergent_requests);
    double fraction = kernel.lanes_possible ? static_cast<double>(kernel.lanes) / kernel.lanes_possible : 1.0;
    object.field("active_lane_fraction", fraction);
    array.add(object.text());
  }
  return array.text();
}

}  // namespace

const char* name_of(Fault fault) {
  switch (fault) {
    case Fault::race:
      return "race";
    case Fault::out_of_bounds:
      return "out_of_bounds";
    case Fault::uninitialized:
      return "uninitialized";
    case Fault::misaligned:
      return "misaligned";
    case Fault::deadlock:
      return "deadlock";
    case Fault::missing_wait:
      return "missing_wait";
    case Fault::exited_lane:
      return "exited_lane";
    default:
      return "other";
  }
}

std::string write_report(const Findings& findings, const Counts& counts, const std::vector<Line>& lines) {
  return "{\n  \"findings\": " + write_findings(findings, lines) + ",\n  \"lines\": " + write_lines(counts, lines) +
         ",\n  \"kernels\": " + write_kernels(counts) + "\n}\n";
}

}  // namespace cuemu::check
