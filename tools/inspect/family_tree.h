// SPDX-License-Identifier: Apache-2.0
// Candidates by first parents: a forest whose roots are the seeds.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "archive/records.h"

namespace kernelites {

/// By ordinal; children and roots ascend.
struct FamilyTree {
  std::map<std::uint64_t, std::optional<std::uint64_t>> parent;  ///< of everybody; none: a root
  std::map<std::uint64_t, std::vector<std::uint64_t>> children;
  std::vector<std::uint64_t> roots;
};

/// A candidate whose first parent is not among them is a root.
FamilyTree family_tree(const std::vector<CandidateRecord>& candidates);

/// Those and all before them, up to the roots.
std::set<std::uint64_t> ancestors_of(const FamilyTree& tree, const std::set<std::uint64_t>& ordinals);
/// That one and all that came from it.
std::set<std::uint64_t> descendants_of(const FamilyTree& tree, std::uint64_t ordinal);
/// The tree of those alone; one whose parent is left out becomes a root.
FamilyTree pruned(const FamilyTree& tree, const std::set<std::uint64_t>& kept);

}  // namespace kernelites
