// SPDX-License-Identifier: Apache-2.0
// A run's evolving prompts: when a variation of the operator "meta" is due, what it studies, and what is made of it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/search/prompt_population.h"
#include "engine/search/prompt_versions.h"
#include "engine/variation/operator.h"

namespace kernelites {

/// For VariationRecord::decision, and back.
Json study_json(const PromptStudy& study);
PromptStudy study_from(const Json& json);

class PromptEvolution {
 public:
  /// Borrows library and archive.
  PromptEvolution(const PromptLibrary& files, Archive& archive, const PopulationSettings& settings);

  PromptVersions& versions() { return versions_; }
  const PromptVersions& versions() const { return versions_; }

  /// A variation of this operator begins; of "meta", one that studies `studied`.
  void begun(const std::string& operator_name, const std::string& studied = "");
  /// The study of a variation of "meta" that is due now. Cheap until one is.
  std::optional<PromptStudy> due();
  /// What the open variation brought: closes it and uses the new version; another may retire for it. The version, or
  /// why there is none.
  std::variant<std::string, Rejection> accept(const VariationRecord& record, const SubmitPrompt& rewrite,
                                              double now_unix_s);
  /// What each version in use has brought so far, the files' own first. Reads the whole history.
  std::vector<PromptFigures> figures(const std::string& operator_name);

 private:
  struct Progress {
    std::int64_t begun = 0, rewrites = 0;
    std::int64_t looked_at = 0;  // `begun` when nothing was due although enough had begun
  };
  std::vector<std::string> outcomes(const std::string& operator_name, const std::string& version) const;

  Archive& archive_;
  PopulationSettings settings_;
  PromptVersions versions_;
  std::map<std::string, Progress> progress_;  // by operator whose prompt has regions
};

}  // namespace kernelites
