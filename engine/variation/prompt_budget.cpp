// SPDX-License-Identifier: Apache-2.0
// The table of what is left out first.
#include "engine/variation/prompt_budget.h"

#include <algorithm>
#include <array>

namespace kernelites {
namespace {

/// Items beyond `kept` of this section go next.
struct TrimRule {
  std::string_view section;
  std::size_t kept;
};

constexpr std::array<TrimRule, 7> k_trim_rules{{{"rejections", 0},
                                                {"failures", 1},
                                                {"inspirations", 1},
                                                {"lessons", 2},
                                                {"failures", 0},
                                                {"inspirations", 0},
                                                {"lessons", 0}}};

std::int64_t tokens_of(const std::vector<PromptSection>& sections) {
  std::int64_t tokens = 0;
  for (const PromptSection& section : sections) tokens += estimated_tokens(section_text(section));
  return tokens;
}

}  // namespace

std::int64_t estimated_tokens(std::string_view text) { return estimated_tokens(text.size()); }

std::int64_t estimated_tokens(const ModelRequest& request) {
  return estimated_tokens(request_bytes(request));
}

std::string section_text(const PromptSection& section) {
  if (section.items.empty()) return section.if_empty;
  std::string text;
  for (const std::string& item : section.items) text += item;
  return text;
}

std::vector<SectionCut> trim_sections(std::vector<PromptSection>& sections, std::int64_t fixed_tokens,
                                      std::int64_t tokens_max) {
  std::vector<SectionCut> cuts;
  for (const TrimRule& rule : k_trim_rules)
    for (PromptSection& section : sections) {
      if (section.name != rule.section) continue;
      while (section.items.size() > rule.kept && fixed_tokens + tokens_of(sections) > tokens_max) {
        auto cut = std::find_if(cuts.begin(), cuts.end(),
                                [&](const SectionCut& known) { return known.section == section.name; });
        if (cut == cuts.end()) cut = cuts.insert(cuts.end(), {.section = section.name});
        ++cut->items;
        cut->bytes += section.items.back().size();
        section.items.pop_back();
      }
    }
  return cuts;
}

Json cuts_json(const std::vector<SectionCut>& cuts) {
  Json json = Json::array();
  for (const SectionCut& cut : cuts)
    json.push_back({{"section", cut.section}, {"items", cut.items}, {"bytes", cut.bytes}});
  return json;
}

}  // namespace kernelites
