// SPDX-License-Identifier: Apache-2.0
// The outcome of an evaluation: failed until the last stage says passed, and always with a named reason.
#pragma once

#include <string>
#include <vector>

#include "engine/core/json.h"

namespace kernelites {

/// One thing a model or a person should know: a compile error, a wrong row, a warning of ptxas.
struct Diagnostic {
  std::string code;     ///< "plan_grid_not_divisible_by_cluster"
  std::string message;  ///< one or two sentences in words a model can act on
  int line = 0;         ///< in the candidate's own file; 0: none
  bool operator==(const Diagnostic&) const = default;
};

/// Passed or failed, where and why. Default: failed at no stage ("no_reply").
struct Verdict {
  bool is_passed = false;
  std::string stage = "none";  ///< a name of the stage table: plan, compile, screen, smoke, check, time, ...
  std::string reason = "no_reply";  ///< a stable code in snake_case; "passed" when passed
  std::string message;  ///< what to change, for people and prompts; never a hidden shape or a value
  std::vector<Diagnostic> diagnostics;

  static Verdict passed() {
    return {.is_passed = true, .stage = "all", .reason = "passed", .message = "passed"};
  }
  static Verdict failed(std::string stage, std::string reason, std::string message) {
    return {.stage = std::move(stage), .reason = std::move(reason), .message = std::move(message)};
  }
  bool operator==(const Verdict&) const = default;
};

void to_json(Json& json, const Diagnostic& diagnostic);
void from_json(const Json& json, Diagnostic& diagnostic);
void to_json(Json& json, const Verdict& verdict);
void from_json(const Json& json, Verdict& verdict);

}  // namespace kernelites
