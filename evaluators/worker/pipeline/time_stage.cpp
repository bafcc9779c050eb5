// SPDX-License-Identifier: Apache-2.0
// Stage time: all arms in one executor, interleaved in random order, every timed launch poisoned and liable
// to be checked.
//
// Each round takes one sample of every arm, in an order drawn anew: the mean of some launches, each with outputs
// poisoned and the L2 flushed exactly as in `check`. A round in which the clock moved is taken again. In two rounds per
// arm that only the key knows, the timed launch's outputs are compared with the reference. Ratios are paired by round;
// at a few looks on the way they may already decide, and who is proven to be hopeless is timed no more.
//
// The virtual GPU models times from counts (modelled_times.h): under one model key all arms of all duels see the same.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <future>
#include <set>
#include <thread>

#include "engine/core/paired_ratio.h"
#include "engine/core/rng.h"
#include "engine/core/roofline.h"
#include "engine/core/statistics.h"
#include "engine/core/time_verdict.h"
#include "evaluators/worker/contract/descriptors.h"
#include "evaluators/worker/pipeline/evaluation_context.h"
#include "evaluators/worker/pipeline/examine.h"
#include "evaluators/worker/pipeline/metadata.h"
#include "evaluators/worker/pipeline/modelled_times.h"
#include "evaluators/worker/pipeline/proven_code.h"
#include "evaluators/worker/pipeline/timed_arms.h"
#include "evaluators/worker/pipeline/timed_round.h"

namespace kernelites::worker {
namespace {

constexpr std::uint64_t k_warm_up_runs = 5;
constexpr int k_checked_rounds = 2;
constexpr std::int64_t k_checked_rows = 64;

/// Atomics of global memory that tell what was there: a count of the blocks that came before, for instance.
bool has_atomic_results(const CompiledCandidate& code) {
  const StaticCounts counts = count_opcodes(code.ptx);
  return counts.opcodes.contains("atom.global") || counts.opcodes.contains("atom.generic");
}

/// What a duel knows of one arm.
struct Arm {
  const DuelArm* spec = nullptr;
  std::shared_ptr<const ProvenCode> code;
  int module = -1;
};

class DuelRun {
 public:
  DuelRun(const Workshop& workshop, const DuelRequest& request, const Task& task)
      : workshop_(workshop), request_(request), task_(task), facts_(workshop.stations.facts()) {}

  std::optional<Verdict> run(Duel& result, double deadline_s, double& device_s) {
    deadline_ =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(static_cast<long>(deadline_s * 1000));
    if (auto verdict = find_workloads()) return verdict;
    // Beside the arms and the start of the executor.
    std::future<Reference> compiling =
        std::async(std::launch::async, [this] { return compile_reference_rows(); });
    if (auto verdict = compile()) return verdict;

    const Reference reference = compiling.get();  // no device waits for it
    StationPool::Lease station = workshop_.stations.take(deadline_s);
    deadline_ += station.forgiven();
    const auto start = std::chrono::steady_clock::now();
    executor_ = station->take_executor(LeaseUse::timing);
    std::optional<Verdict> verdict;
    for (std::size_t a = 0; a < arms_.size() && !verdict; ++a) {
      arms_[a].module = executor_->load(image_of(arms_[a].code->compiled));
      verdict = fault_of_arm(a);
    }
    reference.load_into(station->referee());
    for (std::size_t w = 0; w < workloads_.size() && !verdict; ++w) {
      verdict = time_workload(station->referee(), reference, w, result);
    }
    executor_.reset();
    device_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return verdict;
  }

 private:
  std::optional<Verdict> find_workloads() {
    for (const std::string& name : request_.workloads) {
      const Workload* workload = task_.find_workload(name);
      if (!workload)
        return Verdict::failed("time", "unknown_workload", fmt::format("no bench workload '{}'", name));
      workloads_.push_back(*workload);
    }
    return std::nullopt;
  }

  /// How many rows of a timed output are compared.
  std::int64_t checked_rows(std::size_t w) const {
    if (facts_.is_virtual) return modelled_rows(task_, workloads_[w]);
    return std::min({row_count(task_, workloads_[w]), task_.sampled_rows, k_checked_rows});
  }

  Reference compile_reference_rows() const {
    std::vector<PlanPoint> points;
    for (const Workload& workload : workloads_) {
      points.push_back({.workload = &workload, .reference_rows = checked_rows(points.size())});
    }
    return compile_reference(workshop_.compiler, task_, points, facts_);
  }

  std::optional<Verdict> compile() {
    std::vector<PlanPoint> points;
    for (const Workload& workload : workloads_) points.push_back({.workload = &workload});
    for (const DuelArm& spec : request_.arms) {
      auto code = proven_code(workshop_, task_, spec.candidate, points, facts_);
      if (auto* verdict = std::get_if<Verdict>(&code)) {
        if (arms_.empty()) return std::move(*verdict);
        return Verdict::failed("time", "arm_unusable",
                               arm_fault_words(spec.label, "cannot be used: " + verdict->message));
      }
      arms_.push_back({.spec = &spec, .code = std::get<std::shared_ptr<const ProvenCode>>(std::move(code))});
    }
    return std::nullopt;
  }

  /// Rounds in which arm `a`'s output is looked at; drawn by the key, unknown to the executor. The first of them comes
  /// before anybody may stop.
  std::set<int> checked_rounds(std::size_t workload, std::size_t arm, const LookPlan& looks) const {
    Rng rng(request_.key.derive("checked_rounds", workload * 1000 + arm).seed());
    const auto drawn = [&rng](int rounds) {
      return static_cast<int>(rng.below(static_cast<std::uint64_t>(rounds)));
    };
    std::set<int> chosen{drawn(request_.may_stop_early ? looks.first_look() : looks.rounds_max())};
    while (static_cast<int>(chosen.size()) < std::min(k_checked_rounds, looks.rounds_max()))
      chosen.insert(drawn(looks.rounds_max()));
    return chosen;
  }

  /// Stages before this one have run it in full: what goes on for too long here is the sample of its blocks.
  bool is_beyond_model(const DeviceFault& fault) const {
    return facts_.is_virtual && (fault.reason == "deadlock" || fault.reason == "budget_exceeded");
  }

  /// The first fault since the last question is `arm`'s: it was the only one that did anything.
  std::optional<Verdict> fault_of_arm(std::size_t arm) const {
    if (!executor_->fault()) return std::nullopt;
    if (arm == 0 && is_beyond_model(*executor_->fault())) {
      return Verdict::failed(
          "time", "not_modelled",
          "no time can be modelled: a few of its blocks alone get nowhere or do the work of all, since "
          "blocks "
          "wait for each other or draw their work as they go, and the whole grid is too much to interpret; "
          "on a GPU it can be timed");
    }
    if (arm == 0) return fault_verdict("time", *executor_->fault());
    return Verdict::failed(
        "time", "arm_unusable",
        arm_fault_words(arms_[arm].spec->label, "faulted: " + executor_->fault()->message));
  }

  std::optional<Verdict> time_workload(Referee& referee, const Reference& reference, std::size_t w,
                                       Duel& result) {
    WorkloadSession session(referee, *executor_, task_, workloads_[w], facts_.is_virtual);
    std::vector<int> arms;
    for (std::size_t a = 0; a < arms_.size(); ++a) {
      arms.push_back(session.add_arm(arms_[a].module, arms_[a].code->plans.at(workloads_[w].name),
                                     arms_[a].code->compiled.lowered));
      if (auto verdict = fault_of_arm(a)) return verdict;
    }
    return facts_.is_virtual ? model_workload(session, arms, reference, w, result)
                             : measure_workload(session, arms, reference, w, result);
  }

  std::optional<Verdict> model_workload(WorkloadSession& session, const std::vector<int>& arms,
                                        const Reference& reference, std::size_t w, Duel& result) {
    const std::string& name = workloads_[w].name;
    fill_for_model(session, task_, workloads_[w], request_.model_key);
    std::vector<std::vector<double>> time_us;
    std::vector<std::vector<ModelledLaunch>> launches;
    for (std::size_t a = 0; a < arms.size(); ++a) {
      time_us.push_back({modelled_time_us(session, arms[a], request_.model_key)});
      if (auto verdict = fault_of_arm(a)) return verdict;
      launches.push_back(executor_->modelled());
      if (auto verdict = late()) return verdict;
    }
    result.modelled[name] = launches.front();
    if (auto verdict = check_times(w, session, time_us)) return verdict;
    for (std::size_t a = 0; a < arms.size(); ++a) {
      if (auto verdict = check_modelled(session, reference, w, a, arms[a], launches[a])) return verdict;
      if (auto verdict = late()) return verdict;
    }
    for (std::size_t a = 0; a < arms.size(); ++a) {
      result.timing[name].push_back(summarise(time_us[a], /*is_modelled=*/true));
      if (a > 0)
        result.ratio[name].push_back(
            exact_ratio(time_us[0].front(), time_us[a].front(), request_.confidence));
    }
    return std::nullopt;
  }

  /// What was timed is looked at once for each candidate, workload and model key.
  std::optional<Verdict> check_modelled(WorkloadSession& session, const Reference& reference, std::size_t w,
                                        std::size_t a, int arm,
                                        const std::vector<ModelledLaunch>& launches) const {
    const std::string& name = workloads_[w].name;
    const std::string look =
        digest_parts({task_.digest, candidate_id(arms_[a].spec->candidate), name, request_.model_key.hex()});
    if (workshop_.proven.was_looked_at(look)) return std::nullopt;
    const Key key = request_.key.derive("modelled_look", w * k_arms_max + a);
    const ReferencePlan plan = reference.plan(w);
    double time_us = 0;
    for (const ModelledLaunch& launch : launches) time_us += launch.time_us;
    const ModelledSight sight =
        look_at_modelled({.session = session,
                          .executor = *executor_,
                          .task = task_,
                          .workload = workloads_[w],
                          .reference = plan,
                          .arm = arm,
                          .time_us = time_us,
                          .launches = launches,
                          .model_key = request_.model_key,
                          .key = key,
                          .looks = workloads_.size(),
                          .may_count_blocks = has_atomic_results(arms_[a].code->compiled)});
    if (auto verdict = fault_of_arm(a)) return verdict;
    if (sight.wrong) return wrong_while_timed(w, a, *sight.wrong);
    if (auto objection = sight.objection(name))
      return of_arm(a, objection->reason, objection->words, std::move(objection->message));
    workshop_.proven.add_look(look);
    return std::nullopt;
  }

  /// The candidate's own failure; that of another arm makes the duel useless.
  Verdict of_arm(std::size_t a, const char* reason, std::string_view words, std::string message) const {
    if (a == 0) return Verdict::failed("time", reason, std::move(message));
    return Verdict::failed("time", "arm_unusable", arm_fault_words(arms_[a].spec->label, words));
  }

  Verdict wrong_while_timed(std::size_t w, std::size_t a, const OutputError& error) const {
    return of_arm(a, "timed_output_wrong", "gave a wrong output while timed",
                  fmt::format("output '{}' of a timed launch at workload '{}' is wrong", error.output,
                              workloads_[w].name));
  }

  std::optional<Verdict> measure_workload(WorkloadSession& session, const std::vector<int>& arms,
                                          const Reference& reference, std::size_t w, Duel& result) {
    const Key key = request_.key.derive("workload", w);
    int launches = 1;
    if (auto verdict = warm_up(session, arms, key, launches)) return verdict;
    const LookPlan looks(request_.rounds, request_.confidence);
    std::vector<std::set<int>> checked;
    for (std::size_t a = 0; a < arms.size(); ++a) checked.push_back(checked_rounds(w, a, looks));
    RoundClock clock(request_.rounds);
    TimedArms timed(arms.size());
    std::vector<bool> is_itself;
    for (const Arm& arm : arms_) is_itself.push_back(arm.spec->candidate == request_.arms.front().candidate);
    Rng rng(key.derive("order").seed());
    std::uint64_t attempt = 0;
    for (int round = 0; round < request_.rounds && !timed.is_over; ++attempt) {
      // Fresh values for every round: what an arm might have kept of the round before is of no use to it.
      session.fill(task_.families.front(), 0, key.derive("round", attempt));
      TimedRound taken(arms.size());
      std::vector<std::size_t> order = timed.present();
      rng.shuffle(order);
      for (const std::size_t a : order) {
        taken[a] = session.run({.plan = arms[a],
                                .mode = RunMode::timing,
                                .poison_seed = rng.bits(),
                                .poison_kind = round % k_poison_kinds,
                                .deadline_s = run_s_max(),
                                .samples = launches});
        if (auto verdict = fault_of_arm(a)) return verdict;
        if (!checked[a].contains(round)) continue;
        if (auto verdict = check_timed(session, reference, w, a, key.derive("checked_rows", attempt)))
          return verdict;
      }
      if (auto verdict = late()) return verdict;
      if (!clock.accepts(taken)) {
        std::this_thread::sleep_for(std::chrono::milliseconds(clock.pause_ms()));
        continue;
      }
      for (const std::size_t a : order) timed.time_us[a].push_back(taken[a].elapsed_us);
      ++round;
      if (request_.may_stop_early) timed.look(looks, round, is_itself);
    }
    if (auto verdict = check_times(w, session, timed.time_us)) return verdict;
    summarise_workload(workloads_[w].name, timed, looks, result);
    for (ArmTiming& timing : result.timing[workloads_[w].name]) {
      timing.launches_each = launches;
      timing.clock_ghz = clock.usual_ghz();
      timing.discarded = clock.discarded();
    }
    return std::nullopt;
  }

  std::optional<Verdict> late() const {
    if (std::chrono::steady_clock::now() <= deadline_) return std::nullopt;
    return Verdict::failed("time", "deadline", "timing did not finish within the evaluation's deadline");
  }

  /// `launches`: of each sample, by the times of the last run of each arm.
  std::optional<Verdict> warm_up(WorkloadSession& session, const std::vector<int>& arms, const Key& key,
                                 int& launches) const {
    session.fill(task_.families.front(), 0, key.derive("warm_up"));
    std::vector<double> last_us(arms.size());
    for (std::uint64_t i = 0; i < k_warm_up_runs; ++i) {
      for (std::size_t a = 0; a < arms.size(); ++a) {
        last_us[a] =
            session.run(arms[a], RunMode::timing, key.derive("warm_up_poison", i).seed(), 0, run_s_max());
        if (auto verdict = fault_of_arm(a)) return verdict;
      }
    }
    launches = launches_per_sample(*std::min_element(last_us.begin(), last_us.end()));
    return std::nullopt;
  }

  /// The time below which work was skipped.
  double floor_us(std::size_t w, const WorkloadSession& session) const {
    if (facts_.is_virtual) return modelled_floor_us(session, task_, workloads_[w], facts_);
    return impossible_below_us(task_, workloads_[w], facts_, metadata_sums(session.metadata()));
  }

  double run_s_max() const { return run_deadline_s(facts_, PointUse::bench); }

  std::optional<Verdict> check_times(std::size_t w, const WorkloadSession& session,
                                     const std::vector<std::vector<double>>& time_us) const {
    const double floor = floor_us(w, session);
    for (std::size_t a = 0; a < time_us.size(); ++a) {
      const double time = median(time_us[a]);
      if (time > 0 && std::isfinite(time) && time >= floor) continue;
      return of_arm(a, "faster_than_roofline", "is faster than the device allows",
                    fmt::format("at workload '{}' the time is below what the device needs for the "
                                "task's reads and operations: work was skipped",
                                workloads_[w].name));
    }
    return std::nullopt;
  }

  std::optional<Verdict> check_timed(WorkloadSession& session, const Reference& reference, std::size_t w,
                                     std::size_t a, const Key& key) const {
    const RowLists rows = draw_rows(task_, workloads_[w], checked_rows(w), key);
    for (const OutputError& error : session.check(reference.plan(w), rows)) {
      if (!error.is_passed()) return wrong_while_timed(w, a, error);
    }
    return fault_of_arm(a);  // the check looks at the inputs too
  }

  void summarise_workload(const std::string& name, const TimedArms& timed, const LookPlan& looks,
                          Duel& result) const {
    for (std::size_t a = 0; a < timed.time_us.size(); ++a) {
      const ArmTiming timing = summarise(timed.time_us[a], /*is_modelled=*/false);
      result.timing[name].push_back(timing);
      if (timed.stopped_after[a] > 0)
        result.notes.push_back(fmt::format("{} at {}: stopped after {} rounds, hopeless against {}",
                                           request_.arms[a].label, name, timed.stopped_after[a],
                                           a == 0 ? "every other arm" : request_.arms.front().label));
      if (a == 0) continue;
      // Without looks on the way there is nothing to share the error with.
      double confidence = request_.may_stop_early ? looks.look_confidence() : looks.confidence();
      if (timed.stopped_after[0] > 0 || timed.stopped_after[a] > 0) confidence = looks.hopeless_confidence();
      result.ratio[name].push_back(timed.ratio(a, confidence));
    }
  }

  const Workshop& workshop_;
  const DuelRequest& request_;
  const Task& task_;
  const DeviceFacts facts_;
  std::chrono::steady_clock::time_point deadline_;
  std::vector<Workload> workloads_;
  std::vector<Arm> arms_;
  std::unique_ptr<ExecutorClient> executor_;
};

}  // namespace

Duel duel(const Workshop& workshop, const DuelRequest& request, const Task& task, double deadline_s,
          double& device_s) {
  const auto start = std::chrono::steady_clock::now();
  Duel result;
  for (const DuelArm& arm : request.arms) result.arms.push_back(arm.label);
  DuelRun run(workshop, request, task);
  const std::optional<Verdict> verdict = run.run(result, deadline_s, device_s);
  result.verdict = verdict ? *verdict : Verdict::passed();
  result.stage_ms["time"] =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace kernelites::worker
