// SPDX-License-Identifier: Apache-2.0
// The prompts of a run: the files' own, and the versions of them that a model wrote, out of the archive.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "archive/archive.h"
#include "engine/search/arm.h"
#include "engine/variation/prompt_library.h"

namespace kernelites {

class PromptVersions {
 public:
  /// Borrows both. Reads the archive's versions: one whose operator's file has changed since is left out, since its
  /// text would not be what the version names.
  PromptVersions(const PromptLibrary& files, Archive& archive);

  /// Versions of an operator that new variations may use, the files' own first. One empty text for an operator without
  /// a prompt.
  const std::vector<std::string>& live(const std::string& operator_name);
  /// Each arm that has a prompt once for every version in use, which share its weight.
  std::vector<ArmWeight> spread(const std::vector<ArmWeight>& arms);
  /// The prompts under which a variation of this version works; the files' own if the version is unknown.
  const PromptLibrary& library(const std::string& version) const;
  /// Records what the open variation `ordinal` wrote, closes it, and uses it from now on. The version; empty, and
  /// nothing changes, if the same text is there already.
  std::string add(const std::string& operator_name, const std::string& parent, const PromptRegions& regions,
                  std::uint64_t ordinal, double now_unix_s);
  /// The version is not used for new variations any more. REQUIRES: it is no file's own.
  void retire(const std::string& operator_name, const std::string& version);

 private:
  const PromptLibrary& files_;
  Archive& archive_;
  std::map<std::string, std::vector<std::string>> live_;  // by operator
  std::map<std::string, PromptLibrary> written_;          // by version
};

}  // namespace kernelites
