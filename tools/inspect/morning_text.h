// SPDX-License-Identifier: Apache-2.0
// A run on one page of text: what was tried, what won and why, what failed repeatedly, what it cost, what to do next.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "archive/failure_groups.h"
#include "tools/inspect/run_facts.h"

namespace kernelites {

/// What the page is written from.
struct MorningFacts {
  RunFacts run;
  std::vector<FailureGroup> failures;
};

/// Throws ConfigError if `folder` holds no run.
MorningFacts morning_facts(const std::string& folder);

/// At most about 60 lines of at most `columns`.
std::string morning_text(const MorningFacts& facts, std::size_t columns);

/// What to do next, each with the command line that does it, the most worth while first.
struct Advice {
  std::string why;
  std::string command;
};
std::vector<Advice> next_steps(const MorningFacts& facts);

}  // namespace kernelites
