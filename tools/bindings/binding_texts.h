// SPDX-License-Identifier: Apache-2.0
// Texts that bindings for Python are made of, and facts of an export in words
// and as test cases.
#pragma once

#include <string>
#include <string_view>

#include "engine/core/json.h"
#include "tools/exporting/export_target.h"
#include "tools/exporting/library_texts.h"

namespace kernelites {

/// A file of tools/bindings that the program holds. REQUIRES: there is one of
/// that name.
std::string binding_text(std::string_view name);

/// Printable ASCII without quotes and backslashes, at most 400 characters: fit
/// for a docstring and a Python string.
std::string plain_line(std::string_view text);
/// "-a -b" as the items of a Python list: "\"-a\", \"-b\", ".
std::string python_list(std::string_view words);

/// Check and bench workloads with shapes, kinds of metadata and the archive's
/// times: what a test and a bench need.
Json cases_json(const ExportInputs& inputs);
/// The time of the kernel that the dispatch takes at a bench workload, as its
/// duel has it; null: not timed.
const ArmTime* time_at(const Portfolio& portfolio, const Workload& workload);

/// Lines of Markdown lists.
std::string arm_lines(const Portfolio& portfolio);
std::string domain_lines(const ExportInputs& inputs);
/// Which text of a model's the user compiles.
std::string plan_words(const ExportInputs& inputs);

}  // namespace kernelites
