// SPDX-License-Identifier: Apache-2.0
// What one change of a kernel did to its time, in typed fields: what lessons are drawn from, all that outlives a run.
//
// Every field is a number, a digest or a word of a fixed shape; codes come from closed tables of the program
// (engine/variation/technique_table.h, bottleneck.h, shape_class.h). A code that this program does not know was written
// by another version: it is kept, and told to nobody. No text of a model or of a source has a place here
// (docs/architecture.md, invariant 8).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/core/json.h"

namespace kernelites {

/// How a change ended. Stored; append only.
enum class EffectOutcome {
  faster,  ///< the whole interval lies above no gain
  alike,   ///< the interval holds no gain
  slower,  ///< the whole interval lies below
  failed   ///< it compiled, and a later stage refused it: no gain was had
};
const char* effect_outcome_name(EffectOutcome outcome);

/// One change, at the timed workloads of one shape class.
struct Effect {
  std::string id;      ///< `effect_id`
  std::string parent;  ///< digest of what was changed: changes of one kernel are compared with each other
  std::string pair;    ///< digest of parent and winner: a change and what it was minimised to are one witness
  // What it was measured for and on:
  std::string task;
  std::string family;
  std::string dtype;         ///< of the first input
  std::string architecture;  ///< "sm_90a"
  std::string device;        ///< DeviceFacts.kind
  bool is_modelled = false;  ///< times come from the virtual GPU
  std::string toolkit;
  std::string harness_version;
  // The change:
  std::string state;                                          ///< what limited the parent
  std::string shape_class;                                    ///< of the workloads
  std::vector<std::string> techniques;                        ///< codes, sorted, at least one
  std::map<std::string, std::pair<double, double>> measures;  ///< closed names -> before, after; what changed
  bool is_minimal = false;                                    ///< what a minimisation left of a change
  int parts = 0;  ///< of the change: hunks and tunables; 0: not counted
  // What came of it:
  EffectOutcome outcome = EffectOutcome::failed;
  double log_gain = 0;  ///< log(time before / time after): positive is faster
  double log_gain_low = 0;
  double log_gain_high = 0;
  int rounds = 0;
  bool is_paired = false;  ///< both ran in one duel; else through a third kernel that both met
  std::optional<double> predicted_log_gain = {};  ///< by the lessons that the run knew, before it was tried
  double measured_unix_s = 0;
  bool operator==(const Effect&) const = default;
};

inline constexpr std::size_t k_effect_techniques_max = 24;
inline constexpr std::size_t k_effect_measures_max = 64;

/// Of a change from one candidate to another, as this harness with this toolkit measured it for the task on the device.
/// The same change measured twice has one id: repeating a run adds no evidence.
std::string effect_id(const std::string& parent_id, const std::string& child_id,
                      const std::string& task_digest, const Effect& effect);

/// `text` as a code: lower case, everything but letters and digits as '_', at most 40 characters; "other" if it does
/// not begin with a letter.
std::string effect_code(std::string_view text);

/// What is wrong with a field, one sentence that names it; empty: nothing. Texts that are not of their field's shape
/// (a sentence where a code belongs) are wrong.
std::string effect_problem(const Effect& effect);

void to_json(Json& json, const Effect& effect);
/// Throws nlohmann's exceptions and Error on what `to_json` cannot have written.
void from_json(const Json& json, Effect& effect);

/// Effects by id, and the ids that a person wants to hear no more of. `join` is commutative, associative and
/// idempotent: files can be merged in any order and as often as one likes.
struct EffectSet {
  std::map<std::string, Effect> effects;
  std::set<std::string> forgotten;

  /// The union. Of two measurements of one change the one with the narrower interval stays; of equally narrow ones
  /// the one whose text sorts first. What is forgotten in either is forgotten.
  void join(const EffectSet& other);
  void add(const Effect& effect);
  void forget(const std::string& id);
  bool operator==(const EffectSet&) const = default;
};

}  // namespace kernelites
