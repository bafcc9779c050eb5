// SPDX-License-Identifier: Apache-2.0
// Candidates by first parents.
#include "tools/inspect/family_tree.h"

#include <unordered_map>

namespace kernelites {

FamilyTree family_tree(const std::vector<CandidateRecord>& candidates) {
  std::unordered_map<std::string, std::uint64_t> ordinal_of;
  for (const CandidateRecord& record : candidates) ordinal_of[record.id] = record.ordinal;
  FamilyTree tree;
  for (const CandidateRecord& record : candidates) {
    const auto parent = record.parents.empty() ? ordinal_of.end() : ordinal_of.find(record.parents.front());
    // A candidate that was proposed again later keeps its number: nobody descends from himself or from later ones.
    const bool is_root = parent == ordinal_of.end() || parent->second >= record.ordinal;
    tree.parent[record.ordinal] = is_root ? std::nullopt : std::optional(parent->second);
    if (is_root)
      tree.roots.push_back(record.ordinal);
    else
      tree.children[parent->second].push_back(record.ordinal);
  }
  return tree;
}

std::set<std::uint64_t> ancestors_of(const FamilyTree& tree, const std::set<std::uint64_t>& ordinals) {
  std::set<std::uint64_t> found;
  for (std::optional<std::uint64_t> at : ordinals) {
    while (at && tree.parent.contains(*at) && found.insert(*at).second) at = tree.parent.at(*at);
  }
  return found;
}

std::set<std::uint64_t> descendants_of(const FamilyTree& tree, std::uint64_t ordinal) {
  std::set<std::uint64_t> found{ordinal};
  // Children come after their parents.
  for (const auto& [child, parent] : tree.parent)
    if (parent && found.contains(*parent)) found.insert(child);
  return found;
}

FamilyTree pruned(const FamilyTree& tree, const std::set<std::uint64_t>& kept) {
  FamilyTree left;
  for (const std::uint64_t ordinal : kept) {
    const auto parent = tree.parent.at(ordinal);
    const bool is_root = !parent || !kept.contains(*parent);
    left.parent[ordinal] = is_root ? std::nullopt : parent;
    if (is_root)
      left.roots.push_back(ordinal);
    else
      left.children[*parent].push_back(ordinal);
  }
  return left;
}

}  // namespace kernelites
