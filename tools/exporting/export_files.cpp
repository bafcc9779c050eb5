// SPDX-License-Identifier: Apache-2.0
// Writes into a fresh folder, then exchanges it with the one that is there.
#include "tools/exporting/export_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <set>

#include "engine/core/error.h"
#include "engine/core/json.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t k_path_bytes_max = 200;
constexpr unsigned k_rename_exchange = 2;  // RENAME_EXCHANGE, linux/fs.h

bool is_ours(const std::string& path) {
  if (path.empty() || path.size() > k_path_bytes_max || path.front() == '/' || path.back() == '/')
    return false;
  char before = '/';
  for (const char c : path) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-' && c != '.' && c != '/')
      return false;
    if (before == '/' && (c == '.' || c == '/')) return false;
    before = c;
  }
  return true;
}

bool is_export(const fs::path& folder) {
  try {
    return read_json(folder / k_manifest_file).contains("kernelites_export");
  } catch (const ConfigError&) {
    return false;
  }
}

fs::path absolute_of(const fs::path& folder) {
  fs::path path = fs::absolute(folder).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return path;
}

void write_file(const fs::path& file, const std::string& bytes) {
  fs::create_directories(file.parent_path());
  std::ofstream stream(file, std::ios::binary);
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  stream.flush();
  if (!stream) throw Error(fmt::format("{} cannot be written", file.string()));
}

/// Removes what it names unless it was moved away.
struct Draft {
  fs::path folder;
  ~Draft() {
    std::error_code ignored;
    if (!folder.empty()) fs::remove_all(folder, ignored);
  }
};

/// What was at `folder` is then at `draft`.
void put_in_place(const fs::path& draft, const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder)) {
    fs::rename(draft, folder, error);
    if (error) throw Error(fmt::format("{} cannot be made: {}", folder.string(), error.message()));
    return;
  }
  if (::syscall(SYS_renameat2, AT_FDCWD, draft.c_str(), AT_FDCWD, folder.c_str(), k_rename_exchange) == 0)
    return;
  const fs::path old = draft.string() + "_old";
  fs::rename(folder, old, error);
  if (!error) fs::rename(draft, folder, error);
  if (error) {
    std::error_code ignored;
    if (!fs::exists(folder)) fs::rename(old, folder, ignored);
    throw Error(fmt::format("{} cannot be replaced: {}", folder.string(), error.message()));
  }
  fs::rename(old, draft, error);
}

}  // namespace

const ExportFile& file_at(const std::vector<ExportFile>& files, const std::string& path) {
  const auto found =
      std::find_if(files.begin(), files.end(), [&](const ExportFile& file) { return file.path == path; });
  if (found == files.end()) throw Error(fmt::format("the export has no file {}", path));
  return *found;
}

void check_export_folder(const fs::path& folder) {
  if (folder.empty()) throw ConfigError("--to", "", "is needed: the folder to be made");
  const fs::path path = absolute_of(folder);
  if (!fs::is_directory(path.parent_path()))
    throw ConfigError("--to", folder.string(), "lies in a folder that does not exist");
  if (!fs::exists(fs::symlink_status(path))) return;
  if (!fs::is_directory(fs::symlink_status(path)))
    throw ConfigError("--to", folder.string(), "is there and is no folder; nothing was changed");
  if (!fs::is_empty(path) && !is_export(path))
    throw ConfigError(
        "--to", folder.string(),
        "holds something that is no export of this program; nothing was changed: name another folder");
}

void check_same_export(const fs::path& folder, const ExportIdentity& wanted) {
  const fs::path file = absolute_of(folder) / k_manifest_file;
  if (!fs::exists(file)) return;
  const Json manifest = read_json(file);
  ExportIdentity found;
  try {
    manifest.at("target").get_to(found.target);
    manifest.at("task").at("name").get_to(found.task);
    manifest.at("run").at("started_unix_s").get_to(found.run_started);
  } catch (const Json::exception&) {
    throw ConfigError("--to", folder.string(),
                      "holds an export that does not say of what; --replace replaces it");
  }
  if (found == wanted) return;
  throw ConfigError(
      "--to", folder.string(),
      fmt::format("holds an export of {} as {}; nothing was changed: name another folder, or --replace",
                  found.task != wanted.task                 ? "task " + found.task
                  : found.run_started != wanted.run_started ? "another run of " + found.task
                                                            : "this run",
                  found.target));
}

std::string export_words(const fs::path& folder) {
  const fs::path file = absolute_of(folder) / k_manifest_file;
  if (!fs::exists(file)) return "";
  const Json manifest = read_json(file);
  try {
    return fmt::format("an export of {} as {} for {}", manifest.at("task").at("name").get<std::string>(),
                       manifest.at("target").get<std::string>(),
                       fmt::join(manifest.at("architectures").get<std::vector<std::string>>(), ", "));
  } catch (const Json::exception&) {
    return "an export";
  }
}

void write_export(const fs::path& folder, const std::vector<ExportFile>& files) {
  check_export_folder(folder);
  std::set<std::string> paths;
  for (const ExportFile& file : files) {
    if (!is_ours(file.path)) throw Error(fmt::format("an export cannot hold a file named \"{}\"", file.path));
    if (!paths.insert(file.path).second) throw Error(fmt::format("an export holds {} twice", file.path));
  }
  const fs::path path = absolute_of(folder);
  std::string name = (path.parent_path() / ("." + path.filename().string() + "_XXXXXX")).string();
  if (::mkdtemp(name.data()) == nullptr)
    throw Error(fmt::format("no folder can be made beside {}", folder.string()));
  const Draft draft{name};
  for (const ExportFile& file : files) write_file(draft.folder / file.path, file.bytes);
  fs::permissions(draft.folder, fs::perms::owner_all | fs::perms::group_read | fs::perms::group_exec |
                                    fs::perms::others_read | fs::perms::others_exec);
  put_in_place(draft.folder, path);
}

}  // namespace kernelites
