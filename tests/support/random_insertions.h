// SPDX-License-Identifier: Apache-2.0
// A search without kernels: random candidates of known speed go through placement into grid, champions and archive, and
// after every one of them what must never happen is looked for.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "archive/archive.h"
#include "archive/qd_metrics.h"
#include "engine/core/rng.h"
#include "engine/search/placement.h"

namespace kernelites {

/// What went wrong, with the insertion's number.
struct BrokenInvariant : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class RandomInsertions {
 public:
  static constexpr double k_effect_min = 0.005, k_half_width = 1e-4;

  /// `archive`: also told there; null: in memory only. `tie_share`: of what changes nothing, how much is told too.
  explicit RandomInsertions(std::uint64_t seed, Archive* archive = nullptr, double tie_share = 1,
                            const std::string& family = "decode")
      : rng_(seed), archive_(archive), tie_share_(tie_share), grid_(axes_of_family(family)) {
    for (const Axis& axis : grid_.axes()) axis_names_.emplace_back(axis.name);
    times_["baseline"] = {100, 100};
    insert(true);  // the baseline
  }

  /// One candidate; one in 20,000 times an elite is disproved instead.
  void step() {
    if (grid_.elite_count() > 3 && rng_.below(20'000) == 0) return withdraw();
    insert(false);
  }

  const Grid& grid() const { return grid_; }
  const std::vector<Champion>& champions() const { return champions_; }
  std::int64_t changes() const { return changes_; }
  std::int64_t withdrawals() const { return withdrawals_; }

  /// The archive of `folder`, opened again, holds what memory holds.
  void check_reopened(const Archive& reopened) const {
    const Grid grid = reopened.grid();
    ensure(grid.elites() == grid_.elites(), "the reopened grid is another");
    ensure(reopened.champions() == champions_, "the reopened champions are others");
    ensure(qd_metrics(grid) == qd_metrics(grid_), "the reopened figures are others");
  }

 private:
  using Times = std::vector<double>;
  static constexpr const char* k_workloads[] = {"a", "b"};

  void ensure(bool holds, const std::string& what) const {
    if (!holds) throw BrokenInvariant("insertion " + std::to_string(ordinal_) + ": " + what);
  }
  static double score(const Times& times) { return (std::log(times[0]) + std::log(times[1])) / 2; }
  double baseline_score() const { return score(times_.at("baseline")); }

  void insert(bool is_baseline) {
    ++ordinal_;
    Course course;
    course.record.ordinal = course.record.variation = ordinal_;
    course.record.candidate.source = "// " + std::to_string(ordinal_);
    course.record.id = is_baseline ? "baseline" : candidate_id(course.record.candidate);
    course.provenance.device.kind = "random";
    course.provenance.device.is_virtual = true;
    Examination examination;
    const bool is_failed = !is_baseline && rng_.below(5) == 0;
    examination.verdict = is_failed ? Verdict::failed("check", "numerical_mismatch", "") : Verdict::passed();
    // The lower of two draws: some cells are visited often, some seldom.
    const std::string& cell =
        grid_.cells()[std::min(rng_.below(grid_.cell_count()), rng_.below(grid_.cell_count()))];
    std::size_t at = 0;
    for (const std::string& axis : axis_names_) {
      const std::size_t end = std::min(cell.find('/', at), cell.size());
      examination.descriptors[axis] = cell.substr(at, end - at);
      at = end + 1;
    }
    const double level = is_baseline ? 0 : 0.5 * spread();
    const Times times =
        is_baseline ? Times{100, 100}
                    : Times{100 * std::exp(level + 0.05 * spread()), 100 * std::exp(level + 0.05 * spread())};
    course.examination = examination;
    finish(course, cell, times);
  }

  /// Roughly normal.
  double spread() {
    double sum = 0;
    for (int i = 0; i < 6; ++i) sum += rng_.uniform() - 0.5;
    return sum * std::sqrt(2.0);
  }

  void finish(Course& course, const std::string& cell, const Times& times) {
    const PlacementContext context{.grid = grid_,
                                   .champions = champions_,
                                   .baseline_id = "baseline",
                                   .weights = {{"a", 1.0}, {"b", 1.0}},
                                   .rule = {.effect_min = k_effect_min, .needs_confirmation = false}};
    NextStep next = next_step(course, context);
    while (const auto* need = std::get_if<NeedsDuel>(&next)) {
      // The baseline has nobody to beat but itself.
      course.duels.push_back(
          duel_of(course, times, need->arms.empty() ? std::vector<std::string>{"baseline"} : need->arms));
      ++course.duels_sent;
      next = next_step(course, context);
    }
    const auto* end = std::get_if<Ends>(&next);
    ensure(end != nullptr, "placement does not end");
    check_and_apply(course, cell, times, end->outcome);
  }

  EvaluationRecord duel_of(const Course& course, const Times& times,
                           const std::vector<std::string>& arms) const {
    EvaluationRecord record;
    record.request_id = std::to_string(ordinal_) + "-duel-" + std::to_string(course.duels_sent);
    record.ordinal = ordinal_;
    record.verb = "duel";
    record.state = "answered";
    record.provenance = course.provenance;
    Duel duel;
    duel.verdict = Verdict::passed();
    duel.arms = {"candidate"};
    for (int w = 0; w < 2; ++w)
      duel.timing[k_workloads[w]] = {{.time_us_median = times[std::size_t(w)], .samples = 9}};
    for (const std::string& arm : arms) {
      duel.arms.push_back(arm);
      const Times& other = times_.at(arm);
      for (std::size_t w = 0; w < 2; ++w) {
        const double ratio = std::log(times[w] / other[w]);
        duel.timing[k_workloads[w]].push_back({.time_us_median = other[w], .samples = 9});
        duel.ratio[k_workloads[w]].push_back({ratio, ratio - k_half_width, ratio + k_half_width, 0.999, 9});
      }
    }
    record.duel = duel;
    return record;
  }

  void check_and_apply(const Course& course, const std::string& cell, const Times& times,
                       const Outcome& outcome) {
    const bool is_passed = course.examination->verdict.is_passed;
    const bool is_baseline = course.record.id == "baseline";
    const Elite* present = grid_.find(cell);
    const std::optional<Elite> before = present ? std::optional(*present) : std::nullopt;
    const double qd_before = grid_.qd_score();
    const std::vector<Champion> champions_before = champions_;
    ensure(is_passed || (!outcome.elite && outcome.champions.empty()), "what failed enters");

    if (outcome.elite) grid_.put(*outcome.elite);
    for (const Champion& champion : outcome.champions) crown(champion);
    times_[course.record.id] = times;
    tell(course, outcome);

    const Elite* after = grid_.find(cell);
    ensure(!before || after != nullptr, "an elite is lost");
    ensure(grid_.qd_score() >= qd_before, "the QD score falls");
    if (before) ensure(after->fitness >= before->fitness, "a cell's fitness falls");
    if (before) ensure(score_of(*after) <= score_of(*before), "an elite is replaced by a slower one");
    if (is_passed) {
      ensure(after != nullptr, "a first candidate does not enter its cell");
      ensure(score_of(*after) <= score(times) - std::log1p(-k_effect_min) + k_half_width,
             "a faster candidate is refused");
      ensure(std::abs(std::log(after->fitness) - (baseline_score() - score_of(*after))) < 1e-6,
             "fitness is not the speed-up");
    }
    for (std::size_t w = 0; w < 2; ++w)
      check_champion(champions_before, w, is_passed && !is_baseline, times[w]);
    if (outcome.elite || !outcome.champions.empty()) ++changes_;
    forget(course.record.id);
  }

  void check_champion(const std::vector<Champion>& before, std::size_t w, bool is_passed,
                      double time_us) const {
    const auto of = [&](const std::vector<Champion>& all) -> const Champion* {
      for (const Champion& champion : all)
        if (champion.workload == k_workloads[w]) return &champion;
      return nullptr;
    };
    const Champion* now = of(champions_);
    ensure(!of(before) || now, "a champion is lost");
    if (now && of(before))
      ensure(times_.at(now->candidate_id)[w] <= times_.at(of(before)->candidate_id)[w],
             "a champion is slower");
    if (!is_passed) return;
    ensure(now != nullptr, "a workload has no champion");
    const double its = times_.at(now->candidate_id)[w];
    ensure(std::log(its / time_us) <= -std::log1p(-k_effect_min) + k_half_width,
           "a faster one is no champion");
    ensure(std::abs(std::log(now->speedup * its / times_.at("baseline")[w])) < 1e-9,
           "a champion's speed-up is wrong");
  }

  double score_of(const Elite& elite) const { return score(times_.at(elite.candidate_id)); }

  void crown(const Champion& champion) {
    for (Champion& present : champions_)
      if (present.workload == champion.workload) {
        present = champion;
        return;
      }
    champions_.push_back(champion);
    std::sort(champions_.begin(), champions_.end(),
              [](const Champion& a, const Champion& b) { return a.workload < b.workload; });
  }

  void tell(const Course& course, const Outcome& outcome) {
    if (archive_ == nullptr) return;
    const bool is_change = outcome.elite || !outcome.champions.empty();
    if (!is_change && rng_.uniform() >= tie_share_) return;
    archive_->record_variation({.ordinal = ordinal_, .operator_name = "refine"});
    archive_->record_candidate(course.record);
    EvaluationRecord request{
        .request_id = std::to_string(ordinal_) + "-examine", .ordinal = ordinal_, .verb = "examine"};
    archive_->record_request_sent(request);
    archive_->record_examination(request.request_id, *course.examination, course.provenance, 0.5, 0.25);
    for (const EvaluationRecord& duel : course.duels) {
      archive_->record_request_sent({.request_id = duel.request_id, .ordinal = ordinal_, .verb = "duel"});
      archive_->record_duel(duel.request_id, *duel.duel, duel.provenance, 0.5, 0.25);
    }
    archive_->tell(outcome);
  }

  void withdraw() {
    const std::vector<Elite> all = grid_.elites();
    const Elite elite = all[rng_.below(all.size())];
    if (elite.candidate_id == "baseline") return;
    const double before = grid_.qd_score();
    grid_.remove(elite.cell);
    std::erase_if(champions_, [&](const Champion& champion) { return champion.ordinal == elite.ordinal; });
    if (archive_ != nullptr) archive_->withdraw_elite(elite.cell, "a test says so");
    ensure(std::abs(before - elite.fitness - grid_.qd_score()) < 1e-9 * before,
           "a withdrawal takes more than its elite");
    forget(elite.candidate_id);
    ++withdrawals_;
  }

  /// Times are kept of what stands somewhere.
  void forget(const std::string&) {
    if (times_.size() < 4 * (grid_.cell_count() + 8)) return;
    std::map<std::string, Times> kept{{"baseline", times_.at("baseline")}};
    grid_.for_each([&](const Elite& elite) { kept[elite.candidate_id] = times_.at(elite.candidate_id); });
    for (const Champion& champion : champions_)
      kept[champion.candidate_id] = times_.at(champion.candidate_id);
    times_ = std::move(kept);
  }

  Rng rng_;
  Archive* archive_;
  double tie_share_;
  Grid grid_;
  std::vector<std::string> axis_names_;
  std::vector<Champion> champions_;
  std::map<std::string, Times> times_;  // by candidate, microseconds at the two workloads
  std::uint64_t ordinal_ = 0;
  std::int64_t changes_ = 0, withdrawals_ = 0;
};

}  // namespace kernelites
