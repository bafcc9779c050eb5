// SPDX-License-Identifier: Apache-2.0
// Secrets taken out of text that is kept or shown.
#pragma once

#include <string>
#include <string_view>

namespace kernelites {

/// Replaces every occurrence of `secret` in `text`. Shorter ones than six bytes are left: they are flags, and would
/// blot out ordinary words.
void blot_out(std::string& text, std::string_view secret);

}  // namespace kernelites
