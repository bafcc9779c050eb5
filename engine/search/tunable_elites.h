// SPDX-License-Identifier: Apache-2.0
// Which elites the tuner can still work on; what does not change is looked up once.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "archive/archive.h"

namespace kernelites {

/// A cache of what the archive says: made again by `resume`, kept in step by `note_exhausted`.
class TunableElites {
 public:
  void resume(const Archive& archive);
  /// The tuner found nothing left to try on this candidate.
  void note_exhausted(const std::string& candidate_id) { exhausted_.insert(candidate_id); }
  /// Ids of the grid's elites that declare tunables and are not exhausted, in grid order.
  std::vector<std::string> of(const Grid& grid, const Archive& archive);

 private:
  std::map<std::string, bool> has_tunables_;  // by candidate id, which is its content
  std::set<std::string> exhausted_;
};

}  // namespace kernelites
