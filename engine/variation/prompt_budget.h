// SPDX-License-Identifier: Apache-2.0
// Prompt economy: how long a prompt is in tokens, and what is left out of one that is too long.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/json.h"
#include "engine/llm/endpoint.h"

namespace kernelites {

/// A part of a prompt that consists of items of falling worth.
struct PromptSection {
  std::string name;
  std::vector<std::string> items;
  std::string if_empty;  ///< what stands there when there are no items
};

/// What was left out of a section. Stored with the call.
struct SectionCut {
  std::string section;
  std::size_t items = 0;
  std::size_t bytes = 0;
};

/// Tokens of `text`, by the estimate of endpoint.h.
std::int64_t estimated_tokens(std::string_view text);
/// Of everything that the request sends.
std::int64_t estimated_tokens(const ModelRequest& request);

/// The section's items in order, or `if_empty`.
std::string section_text(const PromptSection& section);

/// Leaves items out, the last of a section first, until the sections and `fixed_tokens` fit `tokens_max`. Order, by
/// the table in prompt_budget.cpp: rejections, all failures but the newest, all inspirations but the first, lessons,
/// then the rest of these. What is not in the table is never cut: a prompt may stay too long.
std::vector<SectionCut> trim_sections(std::vector<PromptSection>& sections, std::int64_t fixed_tokens,
                                      std::int64_t tokens_max);

Json cuts_json(const std::vector<SectionCut>& cuts);

}  // namespace kernelites
