// SPDX-License-Identifier: Apache-2.0
// The duels of the best elite with itself: sending them, recording them, and whether timing is open.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "engine/search/null_watch.h"
#include "engine/search/run_parts.h"

namespace kernelites {

/// True for the record of a null: it is no duel of its candidate.
bool is_null_duel(const EvaluationRecord& record);

class NullDuels {
 public:
  /// On the virtual GPU, whose times repeat exactly, there are none.
  NullDuels(RunParts& parts, Announcer& announcer);

  /// A run goes on, and has elites.
  void resume() { watch_.demand(); }
  /// One that was sent before the run was interrupted.
  void adopt(const EvaluationRecord& record) { outstanding_ = record; }
  void count_timed() { watch_.count(); }
  /// Whether duels of candidates may be sent.
  bool is_open() const { return watch_.is_open() && !outstanding_; }
  /// The null to send now, recorded as sent.
  std::optional<EvaluationRecord> due(const Grid& grid);
  /// True if the reply is one to a null: it has been recorded then.
  bool take(const Reply& reply, const std::map<std::string, double>& weights);

 private:
  RunParts& parts_;
  Announcer& announcer_;
  NullWatch watch_;
  std::optional<EvaluationRecord> outstanding_;
};

}  // namespace kernelites
