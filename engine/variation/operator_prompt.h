// SPDX-License-Identifier: Apache-2.0
// From what an operator starts from to the messages that a model gets: stable parts first, trimmed to a limit.
#pragma once

#include <string>
#include <vector>

#include "engine/variation/operator.h"
#include "engine/variation/prompt_library.h"

namespace kernelites {

/// A conversation's opening.
struct OperatorPrompt {
  std::vector<ChatMessage>
      messages;  ///< system (the same for all calls of a run), then the operator's message
  std::size_t stable_messages = 1;
  std::vector<SectionCut> cuts;
};

/// The opening of operator `name` (prompts/operators/<name>.md).
OperatorPrompt render_operator(const std::string& name, const VariationInput& input,
                               const PromptLibrary& library);

/// The message of role "system": who the model is, task, device, contract.
std::string render_system(const VariationInput& input, const PromptLibrary& library);

/// What each axis of the target cell asks for, in words. REQUIRES: `target_cell` names a cell of the grid.
std::string target_text(const VariationInput& input, const PromptLibrary& library);

/// Lessons as lines; "" if there are none.
std::vector<std::string> lesson_lines(const VariationInput& input, const PromptLibrary& library);

/// "sm_90" of "sm_90a": the architecture without its suffix.
std::string architecture_family(const std::string& architecture);

}  // namespace kernelites
