// SPDX-License-Identifier: Apache-2.0
// Text with {{placeholders}}: which it has, and the text with all of them filled.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

namespace kernelites {

using PromptValues = std::map<std::string, std::string>;

/// Names of the placeholders in `text`: "{{", a name of [a-z0-9_], "}}". Anything else in double braces is
/// code.
std::set<std::string> placeholders_in(std::string_view text);

/// `text` with every placeholder replaced by its value. Values are inserted as they are and never scanned
/// again, so that a candidate's source cannot address the prompt. REQUIRES: `values` has every name of
/// `placeholders_in(text)` (asserted: the library checks it at start-up).
std::string fill_placeholders(std::string_view text, const PromptValues& values);

}  // namespace kernelites
