// SPDX-License-Identifier: Apache-2.0
// Families of kernels, and splits that keep a family together: what a model is tested on, it has not been trained on.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace kernelites {

/// What ties one kernel to others.
struct Kin {
  std::string id;                    ///< candidate id
  std::vector<std::string> same;     ///< digests of text, machine code, replies: equal ones are duplicates
  std::vector<std::string> parents;  ///< candidate ids, all of them
  std::vector<std::string> shown;    ///< candidate ids that stood in its prompt besides
};

/// Groups: the connected components over `same`, `parents` and, if so wished, `shown`.
class KinGroups {
 public:
  explicit KinGroups(bool joins_shown) : joins_shown_(joins_shown) {}
  void add(const Kin& kin);
  /// The name of the group: the smallest candidate id in it, whatever the order of adding. REQUIRES: `id` was added, or
  /// named as somebody's parent.
  std::string group_of(const std::string& id) const;

 private:
  std::size_t node(const std::string& key);
  std::size_t root(std::size_t node) const;
  void join(std::size_t a, std::size_t b);

  bool joins_shown_;
  std::map<std::string, std::size_t> node_of_;
  mutable std::vector<std::size_t> up_;
  std::vector<std::string> smallest_;  // by root; empty: no candidate in it
};

/// A split and its share of the records.
struct SplitShare {
  std::string name;
  double share = 0;
};

/// "train=0.9,test=0.1". Throws ConfigError unless the names are identifiers, all different, and the shares positive
/// with the sum 1.
std::vector<SplitShare> parse_splits(const std::string& text);

/// A split for every group of `sizes` (records by group): from the largest group to the smallest, each goes where most
/// is missing. The same for the same sizes.
std::map<std::string, std::string> assign_splits(const std::map<std::string, std::size_t>& sizes,
                                                 const std::vector<SplitShare>& shares);

}  // namespace kernelites
