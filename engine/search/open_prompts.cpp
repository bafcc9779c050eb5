// SPDX-License-Identifier: Apache-2.0
// Ask: variations of the operator "meta", which write prompts and no kernels.
#include "engine/search/open_variations.h"

namespace kernelites {

/// A prompt is rewritten, if that is due: a variation without a parent.
bool OpenVariations::ask_for_prompt(std::uint64_t ordinal, const std::string& baseline_id) {
  const auto study = evolution_.due();
  if (!study) return false;
  VariationRecord record{.ordinal = ordinal,
                         .operator_name = "meta",
                         .endpoint = parts_.endpoints.names().front(),
                         .parents = {},
                         .inspirations = {},
                         .decision = {{"study", study_json(*study)}},
                         .created_unix_s = announcer_.now_unix_s(),
                         .prompt_version = parts_.prompts.version("meta")};
  evolution_.begun("meta", study->operator_name);
  parts_.archive.record_variation(record);
  announcer_.announce(
      {{"event", "asked"}, {"ordinal", ordinal}, {"operator", "meta"}, {"studied", study->operator_name}});
  Open& one = open(std::move(record), baseline_id);
  if (may_start(one, 0, false)) start(one);
  return true;
}

/// Whose prompts the variation shows: its own version's, or the one that it studies.
const PromptLibrary& OpenVariations::library_of(const VariationRecord& record) const {
  const bool is_meta = record.operator_name == "meta";
  return evolution_.versions().library(is_meta ? study_from(record.decision.at("study")).version
                                               : record.prompt_version);
}

void OpenVariations::accept_prompt(Open& one) {
  auto accepted = evolution_.accept(one.record, std::get<SubmitPrompt>(one.end), announcer_.now_unix_s());
  if (auto* rejection = std::get_if<Rejection>(&accepted)) {
    one.end = std::move(*rejection);
    return;
  }
  close(one.record, 0);
  announcer_.announce({{"event", "prompt_written"},
                       {"ordinal", one.record.ordinal},
                       {"operator", std::get<SubmitPrompt>(one.end).operator_name},
                       {"version", std::get<std::string>(accepted)}});
}

}  // namespace kernelites
