// SPDX-License-Identifier: Apache-2.0
// What the text of a candidate may not contain, judged before it is compiled; and its compile options.
//
// Text rules are the outer fence: they turn the common attempts and mistakes into clear words. What they miss
// meets the jail (files) and the screen (code).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/core/verdict.h"

namespace kernelites::worker {

/// The source without comments and with every literal's content blanked; same length, same lines.
std::string code_without_literals(std::string_view source);

/// A verdict of stage "compile" if the source is too long, not UTF-8, asks whether it is being
/// constant-evaluated, includes what is not on the list, or uses file-system or embedding directives.
std::optional<Verdict> check_source(std::string_view source);

/// Compiler options of `// options:` comment lines, each on the allow-list; or a verdict that lists it.
std::variant<std::vector<std::string>, Verdict> candidate_options(std::string_view source);

}  // namespace kernelites::worker
