// SPDX-License-Identifier: Apache-2.0
// Texts that exports are made of: files that go out as they are, and templates with {{names}} to fill in.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace kernelites {

/// A file of tools/exporting/runtime or tools/exporting/templates by its name; includes of the repository's own paths
/// become plain names. Throws Error if there is none.
std::string export_text(std::string_view name);

/// `text` with every {{name}} replaced. Throws Error if one is not among `values`.
std::string filled(std::string text, const std::map<std::string, std::string>& values);

}  // namespace kernelites
