// The report as JSON; README.md has its fields.
#pragma once

#include <string>
#include <vector>

#include "cuemu/check/findings.h"
#include "cuemu/check/requests.h"
#include "cuemu/check/sites.h"

namespace cuemu::check {

// `lines` by SiteId.
std::string write_report(const Findings& findings, const Counts& counts, const std::vector<Line>& lines);

}  // namespace cuemu::check
