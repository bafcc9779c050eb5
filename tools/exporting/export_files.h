// SPDX-License-Identifier: Apache-2.0
// The folder that an export is: files under names of ours, written whole or not at all.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace kernelites {

/// What tells an export from any other folder, and holds its provenance.
inline constexpr const char* k_manifest_file = "MANIFEST.json";

/// `path` is relative and made of letters, digits, "_", "-", "." and "/", no part of it beginning with a dot.
struct ExportFile {
  std::string path;
  std::string bytes;
};

/// The file of that path. Throws Error if there is none.
const ExportFile& file_at(const std::vector<ExportFile>& files, const std::string& path);

/// Writes all files beside `folder` and renames: whoever looks sees the old export, or the new one, or (for an instant,
/// where the system cannot exchange two folders) none. Throws ConfigError naming --to, and leaves everything as it was,
/// if `folder` is there and neither empty nor an export, or its parent is missing; Error if the disk fails or a path is
/// not as above.
/// "an export of rmsnorm as cpp for sm_90a"; empty if `folder` holds none.
std::string export_words(const std::filesystem::path& folder);

void write_export(const std::filesystem::path& folder, const std::vector<ExportFile>& files);

/// Throws as `write_export` would, before anything was worked out.
void check_export_folder(const std::filesystem::path& folder);

/// What an export is of. Equal ones replace each other.
struct ExportIdentity {
  std::string target;       ///< "cpp"
  std::string task;         ///< its name
  std::string run_started;  ///< seconds since 1970, as the manifest has them
  bool operator==(const ExportIdentity&) const = default;
};

/// Throws ConfigError naming --to if `folder` holds an export of another run, task or kind.
void check_same_export(const std::filesystem::path& folder, const ExportIdentity& wanted);

}  // namespace kernelites
