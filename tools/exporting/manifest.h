// SPDX-License-Identifier: Apache-2.0
// MANIFEST.json: where an export comes from, what is proven of it and by what, and a digest of every file.
#pragma once

#include <string>
#include <vector>

#include "engine/core/json.h"
#include "engine/core/task.h"
#include "tools/exporting/export_files.h"
#include "tools/exporting/portfolio.h"

namespace kernelites {

/// Version of the manifest; its member "kernelites_export".
inline constexpr int k_export_version = 1;

/// Of one portfolio: task, device, arms with lineage, verdict, times and resources, dispatch with what it gains.
/// Texts that came out of a database or from a model are in it as JSON strings and nowhere else.
Json portfolio_json(const Portfolio& portfolio, const Task& task);

/// The whole manifest: `portfolio_json`, the target, its `facts` as further members, and "files": path -> SHA-256 of
/// all `files`.
Json manifest_json(const Portfolio& portfolio, const Task& task, const std::string& target, const Json& facts,
                   const std::vector<ExportFile>& files);

/// `manifest_json` as the file to be written last.
ExportFile manifest_file(const Json& manifest);

}  // namespace kernelites
