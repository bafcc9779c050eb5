// SPDX-License-Identifier: Apache-2.0
// The prompts of a run: the files' own, and the versions of them that a model wrote, out of the archive.
#include "engine/search/prompt_versions.h"

#include <algorithm>

#include "engine/core/error.h"

namespace kernelites {
namespace {

/// True if these are the regions of the operator's present file, each with the placeholders that it has there.
bool fits(const PromptLibrary& files, const std::string& operator_name, const PromptRegions& regions) {
  if (!files.has("operators/" + operator_name)) return false;
  const PromptRegions now = regions_of(files.file("operators/" + operator_name).pieces);
  return now.size() == regions.size() && std::all_of(now.begin(), now.end(), [&](const auto& region) {
           const auto other = regions.find(region.first);
           return other != regions.end() && placeholders_in(other->second) == placeholders_in(region.second);
         });
}

}  // namespace

PromptVersions::PromptVersions(const PromptLibrary& files, Archive& archive)
    : files_(files), archive_(archive) {
  for (const PromptVersionRecord& record : archive_.prompt_versions()) {
    const auto regions = record.regions.get<PromptRegions>();
    if (!fits(files_, record.operator_name, regions)) continue;
    PromptLibrary library = files_.with_regions(record.operator_name, regions);
    if (library.version(record.operator_name) != record.version) continue;
    written_.emplace(record.version, std::move(library));
    live(record.operator_name);
    if (record.state == "live") live_.at(record.operator_name).push_back(record.version);
  }
}

const std::vector<std::string>& PromptVersions::live(const std::string& operator_name) {
  const auto [at, is_new] = live_.try_emplace(operator_name);
  if (is_new) at->second = {files_.version(operator_name)};
  return at->second;
}

std::vector<ArmWeight> PromptVersions::spread(const std::vector<ArmWeight>& arms) {
  std::vector<ArmWeight> all;
  for (const ArmWeight& one : arms) {
    if (one.arm.prompt_version.empty()) {
      all.push_back(one);
      continue;
    }
    const std::vector<std::string>& versions = live(one.arm.operator_name);
    for (const std::string& version : versions)
      all.push_back({{one.arm.operator_name, one.arm.endpoint, version},
                     one.weight / static_cast<double>(versions.size())});
  }
  return all;
}

const PromptLibrary& PromptVersions::library(const std::string& version) const {
  const auto found = written_.find(version);
  return found == written_.end() ? files_ : found->second;
}

std::string PromptVersions::add(const std::string& operator_name, const std::string& parent,
                                const PromptRegions& regions, std::uint64_t ordinal, double now_unix_s) {
  PromptLibrary library = files_.with_regions(operator_name, regions);
  std::string version = library.version(operator_name);
  const bool is_known = version == live(operator_name).front();
  if (is_known || !archive_.record_prompt_version({.version = version,
                                                   .operator_name = operator_name,
                                                   .parent = parent,
                                                   .ordinal = ordinal,
                                                   .regions = regions,
                                                   .created_unix_s = now_unix_s}))
    return "";
  written_.emplace(version, std::move(library));
  live_.at(operator_name).push_back(version);
  return version;
}

void PromptVersions::retire(const std::string& operator_name, const std::string& version) {
  std::vector<std::string>& live_ones = live_.at(operator_name);
  KERNELITES_ASSERT(!live_ones.empty() && live_ones.front() != version);
  std::erase(live_ones, version);
  archive_.retire_prompt_version(version);
}

}  // namespace kernelites
