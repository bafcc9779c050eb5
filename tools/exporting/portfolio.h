// SPDX-License-Identifier: Apache-2.0
// What of a run is worth shipping: the champions of its bench workloads as arms, and the dispatch between them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "archive/archive.h"
#include "archive/public_secrets.h"
#include "engine/core/task.h"
#include "tools/exporting/dispatch.h"

namespace kernelites {

/// One ancestor, or the candidate itself.
struct LineageStep {
  std::uint64_t ordinal = 0;
  std::string candidate_id;
  std::string operator_name;
  std::string endpoint;  ///< empty: no model took part
  std::string summary;
};

/// What a duel says of an arm at one bench workload.
struct ArmTime {
  ArmTiming timing;    ///< as measured in that duel
  double speedup = 0;  ///< against the run's baseline, paired in that duel
  std::string duel_id;
};

/// One kernel of the portfolio: a candidate that passed every stage and was timed.
struct PortfolioArm {
  std::string label;  ///< "arm_0", "arm_1", ...: fit for any language
  std::uint64_t ordinal = 0;
  std::string candidate_id;
  Candidate candidate;
  std::string summary;
  std::vector<LineageStep> lineage;  ///< the candidate first, a seed last
  Examination examination;
  Provenance provenance;                 ///< of that examination
  std::map<std::string, ArmTime> times;  ///< by bench workload
  std::vector<std::string> champion_of;  ///< bench workloads
  double speedup = 0;                    ///< geometric mean over the bench workloads, by their weights
};

/// A champion of the run that is no arm, and why.
struct LeftOut {
  std::uint64_t ordinal = 0;
  std::string workload;  ///< whose champion it is
  double gain = 0;       ///< over the arm that is called there by the run's duels; 0: unknown
  double gain_min = 0;   ///< what a rule had to gain by them
};

struct Portfolio {
  std::string task;
  std::string run_started;  ///< seconds since 1970, as recorded
  std::vector<PortfolioArm> arms;
  Dispatch dispatch;
  std::vector<ShapeTimes> shapes;  ///< what the dispatch was made from; arms in the order of `arms`
  bool is_confirmed = false;       ///< `shapes` were measured with the exported dispatcher itself
  std::string baseline_id;
  std::uint64_t baseline_ordinal = 0;
  std::string baseline_summary;
  bool is_modelled = false;        ///< times are the virtual GPU's
  bool is_model_compared = false;  ///< with the device that it stands for
  double gain_min = 0;             ///< what a rule had to gain
  PublicSecrets known_before;      ///< of the run's secrets, by anybody
  std::vector<LeftOut> left_out;
};

struct PortfolioChoice {
  std::optional<std::uint64_t> only;  ///< ship this candidate alone
  std::optional<double> gain_min;     ///< what a rule must gain; empty: `least_gain` of what the times are
  /// Time of the caller's own kernel by bench workload: where it is faster, the dispatcher asks for the fallback. It is
  /// measured, and so compared with measured times alone: with modelled ones it waits for `with_measured`.
  std::map<std::string, double> fallback_us;
};

/// The share of its time that a kernel must save somewhere to be called there. Measured: 1 %. Modelled: as much as the
/// time model tells from nothing where it was compared (tools/inspect/model_error.h), since a rule would be made of
/// noise below.
double least_gain(bool is_modelled);

/// The best single elite and every champion that is faster than it somewhere by more than `gain_min`; or `only`. Times
/// of different duels are brought together by the baseline that took part in all of them. Throws ConfigError if
/// nothing of the run is proven and timed, or if `only` is not.
Portfolio read_portfolio(const Archive& archive, const Task& task, const PortfolioChoice& choice = {});

/// The same arms with a dispatch made from other times: those that the exported dispatcher measured. Arms that no
/// shape uses any more stay, so that the library is the one that was measured. REQUIRES: `shapes` have a time per arm.
Portfolio with_measured(Portfolio portfolio, std::vector<ShapeTimes> shapes,
                        std::optional<double> gain_min = {});

/// "#34, champion of llama3, is 0.3 % faster there than what is called: less than --gain 1.0 %".
std::string left_out_words(const LeftOut& champion);

/// What times the portfolio was made from, and what they are worth.
std::string times_words(const Portfolio& portfolio);
/// " by the model: ..." of a rule that is made of modelled times alone; `gain`: over the best single kernel.
std::string model_words(const Portfolio& portfolio, double gain);

/// What the run's results are no evidence of, since anybody could know its secrets before; empty: nothing. Times that
/// the exported dispatcher measured are evidence of speed.
std::string evidence_words(const Portfolio& portfolio);

/// Names of the dims that a caller gives, in the task's order.
std::vector<std::string> variable_dims(const Task& task);

}  // namespace kernelites
