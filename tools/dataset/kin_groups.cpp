// SPDX-License-Identifier: Apache-2.0
// Union-find over candidates and their digests.
#include "tools/dataset/kin_groups.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "engine/core/error.h"
#include "engine/core/identifier.h"

namespace kernelites {
namespace {

constexpr const char* k_candidate = "candidate ";
constexpr const char* k_digest = "digest ";

}  // namespace

std::size_t KinGroups::node(const std::string& key) {
  const auto [found, is_new] = node_of_.emplace(key, up_.size());
  if (is_new) {
    const bool is_candidate = key.starts_with(k_candidate);
    up_.push_back(up_.size());
    smallest_.push_back(is_candidate ? key.substr(std::string(k_candidate).size()) : "");
  }
  return found->second;
}

std::size_t KinGroups::root(std::size_t at) const {
  while (up_[at] != at) at = up_[at] = up_[up_[at]];
  return at;
}

void KinGroups::join(std::size_t a, std::size_t b) {
  a = root(a);
  b = root(b);
  if (a == b) return;
  up_[b] = a;
  if (smallest_[a].empty() || (!smallest_[b].empty() && smallest_[b] < smallest_[a]))
    smallest_[a] = smallest_[b];
}

void KinGroups::add(const Kin& kin) {
  const std::size_t self = node(k_candidate + kin.id);
  for (const std::string& digest : kin.same) join(self, node(k_digest + digest));
  for (const std::string& parent : kin.parents) join(self, node(k_candidate + parent));
  if (!joins_shown_) return;
  for (const std::string& shown : kin.shown) join(self, node(k_candidate + shown));
}

std::string KinGroups::group_of(const std::string& id) const {
  const auto found = node_of_.find(k_candidate + id);
  KERNELITES_ASSERT(found != node_of_.end());
  return smallest_[root(found->second)];
}

std::vector<SplitShare> parse_splits(const std::string& text) {
  constexpr const char* k_expected = "expected names with shares that add up to 1, as in train=0.9,test=0.1";
  std::vector<SplitShare> shares;
  std::istringstream words(text);
  double sum = 0;
  for (std::string word; std::getline(words, word, ',');) {
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const auto is_same = [&](const SplitShare& share) { return share.name == name; };
    double share = 0;
    std::istringstream number(equals == std::string::npos ? "" : word.substr(equals + 1));
    if (!is_identifier(name) || !(number >> share) || !number.eof() || !(share > 0) ||
        std::any_of(shares.begin(), shares.end(), is_same))
      throw ConfigError("--splits", word, k_expected);
    shares.push_back({name, share});
    sum += share;
  }
  if (std::abs(sum - 1) > 1e-6) throw ConfigError("--splits", text, k_expected);
  return shares;
}

std::map<std::string, std::string> assign_splits(const std::map<std::string, std::size_t>& sizes,
                                                 const std::vector<SplitShare>& shares) {
  std::vector<std::pair<std::string, std::size_t>> groups(sizes.begin(), sizes.end());
  std::stable_sort(groups.begin(), groups.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  double total = 0;
  for (const auto& [name, size] : groups) total += static_cast<double>(size);
  std::vector<double> missing;
  for (const SplitShare& share : shares) missing.push_back(share.share * total);
  std::map<std::string, std::string> split_of;
  for (const auto& [name, size] : groups) {
    const auto most = std::max_element(missing.begin(), missing.end());
    *most -= static_cast<double>(size);
    split_of[name] = shares[static_cast<std::size_t>(most - missing.begin())].name;
  }
  return split_of;
}

}  // namespace kernelites
