// SPDX-License-Identifier: Apache-2.0
// Ancestors, descendants and the tree of a chosen few.
#include "tools/inspect/family_tree.h"

#include "tests/support/catch.h"

using namespace kernelites;

namespace {

CandidateRecord child(std::uint64_t ordinal, std::vector<std::string> parents) {
  CandidateRecord record;
  record.ordinal = ordinal;
  record.id = "id" + std::to_string(ordinal);
  record.parents = std::move(parents);
  return record;
}

/// 1 and 2 are seeds; 3 and 4 come from 1, 5 from 3 (and 2), 6 from 2.
FamilyTree small_tree() {
  return family_tree({child(1, {}), child(2, {}), child(3, {"id1"}), child(4, {"id1"}),
                      child(5, {"id3", "id2"}), child(6, {"id2"})});
}

}  // namespace

TEST_CASE("seeds are roots, and the first parent counts") {
  const FamilyTree tree = small_tree();
  CHECK(tree.roots == std::vector<std::uint64_t>{1, 2});
  CHECK(tree.children.at(1) == std::vector<std::uint64_t>{3, 4});
  CHECK(tree.parent.at(5) == 3);
  CHECK(tree.children.at(2) == std::vector<std::uint64_t>{6});
}

TEST_CASE("a candidate that names one of later or of nowhere as its parent is a root") {
  const FamilyTree tree = family_tree({child(1, {"id2"}), child(2, {"unknown"})});
  CHECK(tree.roots == std::vector<std::uint64_t>{1, 2});
  CHECK(tree.children.empty());
}

TEST_CASE("ancestors lead up to a seed, descendants down to all leaves") {
  const FamilyTree tree = small_tree();
  CHECK(ancestors_of(tree, {5, 6}) == std::set<std::uint64_t>{1, 2, 3, 5, 6});
  CHECK(descendants_of(tree, 1) == std::set<std::uint64_t>{1, 3, 4, 5});
}

TEST_CASE("a pruned tree keeps who is left under whom") {
  const FamilyTree tree = pruned(small_tree(), {3, 5, 6});
  CHECK(tree.roots == std::vector<std::uint64_t>{3, 6});
  CHECK(tree.children.at(3) == std::vector<std::uint64_t>{5});
  CHECK(tree.parent.size() == 3);
}
