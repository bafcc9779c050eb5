// SPDX-License-Identifier: Apache-2.0
// What the operator "meta" starts from: one operator's prompt, how its versions did, and what came of it lately.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace kernelites {

/// What variations under one version of a prompt brought.
struct PromptFigures {
  std::string version;
  std::int64_t variations = 0;  ///< that are over
  std::int64_t elites = 0;      ///< candidates that entered a cell
  double gain_bits = 0;         ///< of those: log2 of how much faster, summed (EliteGains)
};

struct PromptStudy {
  std::string operator_name;
  std::string version;                 ///< whose regions are rewritten
  std::vector<PromptFigures> figures;  ///< of all versions of the operator; the files' own first
  /// What became of the last variations under this version, one line each, newest first.
  std::vector<std::string> outcomes;
};

}  // namespace kernelites
