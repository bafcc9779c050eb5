// SPDX-License-Identifier: Apache-2.0
// Walking a hostile folder in small steps.
#include "engine/llm/scratch_folder.h"

#include <fmt/format.h>

#include "engine/core/error.h"
#include "engine/core/fresh_folder.h"

namespace kernelites {
namespace {

namespace fs = std::filesystem;

constexpr int k_entries_a_step = 512;
constexpr std::uint64_t k_bytes_per_file = 4096;  // what an empty one takes

}  // namespace

fs::path make_scratch(const fs::path& folder, const std::string& name) {
  const fs::path scratch = fs::absolute(folder) / name;
  remove_scratch(scratch);  // of a run that was killed
  std::error_code problem;
  make_private_folder(scratch, problem);
  if (!problem) fs::create_directories(scratch / "tmp", problem);
  if (problem) throw Error(fmt::format("{}: cannot be made: {}", scratch.string(), problem.message()));
  return fs::canonical(scratch);
}

void remove_scratch(const fs::path& scratch) {
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(scratch, ignored))) return;
  ScratchRemover remover;
  remover.add(scratch);
}

bool ScratchMeter::exceeds(std::uint64_t bytes_max) {
  std::error_code problem;
  if (at_ == fs::recursive_directory_iterator()) {
    bytes_ = 0;
    at_ = fs::recursive_directory_iterator(folder_, problem);
    if (problem) return true;
  }
  for (int seen = 0; seen < k_entries_a_step && at_ != fs::recursive_directory_iterator(); ++seen) {
    std::error_code ignored;
    bytes_ += k_bytes_per_file;
    if (at_->is_regular_file(ignored) && !at_->is_symlink(ignored)) {
      const std::uintmax_t size = at_->file_size(ignored);
      if (!ignored) bytes_ += size;
    }
    at_.increment(problem);
    // What may not be read hides how much it holds. What vanished meanwhile is no reason to stop counting.
    if (problem == std::errc::permission_denied) return true;
    if (problem) at_ = {};
  }
  return bytes_ > bytes_max;
}

ScratchRemover::~ScratchRemover() {
  while (!removals_.empty()) step();
}

void ScratchRemover::add(fs::path scratch) { removals_.push_back({std::move(scratch)}); }

void ScratchRemover::step() {
  if (removals_.empty()) return;
  std::vector<fs::path>& open = removals_.front();
  const fs::path folder = open.back();
  std::error_code problem, ignored;
  fs::permissions(folder, fs::perms::owner_all, fs::perm_options::add, ignored);
  fs::directory_iterator at(folder, problem);
  for (int seen = 0; !problem && at != fs::directory_iterator(); at.increment(problem)) {
    if (at->is_directory(ignored) && !at->is_symlink(ignored)) {
      open.push_back(at->path());  // emptied before this one is looked at again
      return;
    }
    fs::remove(at->path(), problem);
    if (problem) break;
    if (++seen == k_entries_a_step) return;
  }
  if (!problem) fs::remove(folder, problem);
  open.pop_back();
  if (problem || open.empty()) removals_.pop_front();  // what cannot be removed stays, and holds nobody up
}

}  // namespace kernelites
