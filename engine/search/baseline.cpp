// SPDX-License-Identifier: Apache-2.0
// The baseline of a run: the fastest of its seeds, and what chance alone does on this device.
#include "engine/search/baseline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "archive/elite_rule.h"
#include "engine/core/time_verdict.h"
#include "engine/search/placement.h"

namespace kernelites {
namespace {

/// "line 12: ..." where the verdict is of a line.
std::string placed_message(const Verdict& verdict) {
  const int line = verdict.diagnostics.empty() ? 0 : verdict.diagnostics.front().line;
  const bool is_placed = verdict.message.starts_with("line ");  // most stages say it themselves
  const bool is_of_compiler = verdict.reason == "compile_error" || verdict.reason == "plan_not_constant";
  const std::string place = is_placed        ? ""
                            : line > 0       ? fmt::format("line {}: ", line)
                            : is_of_compiler ? "no line (something may be left open at its end): "
                                             : "";
  return fmt::format("stage {}, {}: {}{}", verdict.stage, verdict.reason, place, verdict.message);
}

/// Why the seed cannot be a baseline, with its file.
std::string failure_words(const Course& course, const std::string& why) {
  return fmt::format("#{} {}: {}", course.record.ordinal, course.record.summary, why);
}

bool is_passed(const Course& course) {
  return course.error.empty() && course.examination && course.examination->verdict.is_passed;
}

/// Its own duel ended because of itself as another arm: there is no other seed to blame.
bool accuses_itself(const Course& course) {
  return is_spoilt(course) && accuses(course.duels.front().duel->verdict, course.record.id);
}

/// Why the seed is no arm of any duel; empty: it may be one. Its own duel did not pass, and that was nobody else's
/// fault; or it passed, and another seed's duel ended because of it: a fault that comes and goes stays with the seed
/// that had it. `passes`: what duels of later passes say does not count.
std::optional<Verdict> reason_out(const Course& course, const std::vector<const Course*>& seeds,
                                  std::size_t passes) {
  if (course.duels.empty() || (is_spoilt(course) && !accuses_itself(course))) return std::nullopt;
  const Verdict& own = course.duels.front().duel->verdict;
  if (!own.is_passed) return own;
  for (const Course* accuser : seeds)
    for (std::size_t pass = 0; pass < std::min(passes, accuser->accusations.size()); ++pass)
      if (const Verdict& verdict = accuser->accusations[pass]; accuses(verdict, course.record.id))
        return Verdict::failed(
            "time", k_arm_unusable,
            fmt::format("its own duel passed, and that of #{} {} says: {}", accuser->record.ordinal,
                        seed_name(accuser->record), verdict.message));
  return std::nullopt;
}

/// True if a first duel is still to come, or the one that comes after a spoilt one.
bool is_under_way(const Course& course, const std::vector<const Course*>& seeds) {
  if (!course.error.empty()) return false;
  if (!course.examination) return true;
  if (!is_passed(course)) return false;
  return course.duels.empty() ||
         (is_spoilt(course) && (!course.waiting_for.empty() || seed_duel(course, seeds)));
}

void fail(Baseline& baseline, const Course& course, const std::string& why) {
  if (baseline.failed != 0) return;
  baseline.failed = course.record.ordinal;
  baseline.failure = failure_words(course, why);
}

}  // namespace

std::optional<NeedsDuel> seed_duel(const Course& course, const std::vector<const Course*>& seeds) {
  if (!course.duels.empty() && (!is_spoilt(course) || accuses_itself(course))) return std::nullopt;
  NeedsDuel need;
  for (const Course* other : seeds) {
    if (!other->examination && other->error.empty()) return std::nullopt;
    if (!is_passed(*other)) continue;
    // Who is a duel ahead was fit for one when this pass began.
    const bool is_ahead = other->duels_sent > course.duels_sent;
    if (!is_ahead && reason_out(*other, seeds, static_cast<std::size_t>(course.duels_sent))) continue;
    if (!is_ahead && !course.duels.empty() &&
        (other->duels.empty() || (is_spoilt(*other) && !other->waiting_for.empty())))
      return std::nullopt;
    need.arms.push_back(other->record.id);
  }
  const auto can_help = [&] {  // "candidate" is an arm too
    return need.arms.size() + 1 < course.duels.front().duel->arms.size();
  };
  if (!course.duels.empty() && !can_help()) return std::nullopt;
  return need;
}

std::string seed_name(const CandidateRecord& seed) {
  constexpr std::string_view k_prefix = "seed ";
  return seed.summary.starts_with(k_prefix) ? seed.summary.substr(k_prefix.size()) : seed.summary;
}

Baseline baseline_of(const Archive& archive, const std::map<std::string, double>& weights) {
  Baseline baseline{.is_pending = false, .untimed = {}};
  std::vector<Course> seeds;
  for (const CandidateRecord& record : archive.seeds())
    seeds.push_back(course_of(record, archive.evaluations(record.ordinal)));
  std::vector<const Course*> all, timed;
  for (const Course& course : seeds) all.push_back(&course);
  for (const Course* course : all) {
    if (is_under_way(*course, all)) {
      baseline.is_pending = true;
    } else if (is_passed(*course)) {
      const Verdict& own = course->duels.front().duel->verdict;
      const Verdict verdict = reason_out(*course, all, all.size()).value_or(own);
      if (verdict.is_passed) {
        timed.push_back(course);
        continue;
      }
      baseline.untimed.push_back({.ordinal = course->record.ordinal,
                                  .id = course->record.id,
                                  .name = seed_name(course->record),
                                  .verdict = verdict});
      if (baseline.untimed.size() == 1) baseline.failed = 0;
      fail(baseline, *course, placed_message(baseline.untimed.back().verdict));
    } else {
      fail(baseline, *course,
           course->error.empty() ? placed_message(course->examination->verdict) : course->error);
    }
  }
  if (baseline.is_pending || timed.empty()) return baseline;
  baseline.id = fastest_seed(timed, weights);
  for (const Course* course : timed) {
    if (course->record.id != baseline.id) continue;
    baseline.ordinal = course->record.ordinal;
    if (const auto self = pooled_ratio(*course->duels.front().duel, baseline.id, weights))
      baseline.null_half_width = std::max(std::abs(self->log_ratio_low), std::abs(self->log_ratio_high));
  }
  return baseline;
}

std::string no_baseline_words(const std::string& task, bool is_virtual, const Baseline& baseline) {
  if (baseline.untimed.empty())
    return fmt::format("no seed of {} passes on this device: {}", task, baseline.failure);
  const std::size_t count = baseline.untimed.size();
  const bool is_all_refused =
      std::none_of(baseline.untimed.begin(), baseline.untimed.end(),
                   [](const UntimedSeed& seed) { return is_without_time(seed.verdict); });
  if (is_all_refused)
    return fmt::format(
        "no seed of {} is left: {} the examination and was refused in stage time: {}; name other seeds "
        "(--seeds)",
        task, count == 1 ? "one passed" : fmt::format("each of {} passed", count), baseline.failure);
  return fmt::format(
      "no seed of {} can be timed on this device, though {} every check: {}; {}name seeds that can be "
      "(--seeds)",
      task, count == 1 ? "one passes" : fmt::format("{} pass", count), baseline.failure,
      is_virtual ? "run on a GPU (--device gpu), or " : "");
}

}  // namespace kernelites
