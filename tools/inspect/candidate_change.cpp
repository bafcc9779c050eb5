// SPDX-License-Identifier: Apache-2.0
// Each part of a change from the two records.
#include "tools/inspect/candidate_change.h"

#include <algorithm>
#include <set>

#include "archive/elite_rule.h"
#include "engine/core/roofline.h"
#include "engine/search/specimens.h"
#include "engine/variation/code_rows.h"
#include "engine/variation/tuning.h"
#include "tools/inspect/plan_values.h"
#include "tools/inspect/told_kind.h"

namespace kernelites {
namespace {

using Values = std::vector<std::pair<std::string, std::string>>;

std::vector<ChangedValue> changed_values(const Values& before, const Values& after) {
  std::vector<ChangedValue> changed;
  const auto find = [](const Values& values, const std::string& name) {
    return std::find_if(values.begin(), values.end(), [&](const auto& value) { return value.first == name; });
  };
  for (const auto& [name, value] : before) {
    const auto other = find(after, name);
    const std::string now = other == after.end() ? "" : other->second;
    if (now != value) changed.push_back({name, value, now});
  }
  for (const auto& [name, value] : after)
    if (find(before, name) == before.end()) changed.push_back({name, "", value});
  return changed;
}

Values tunable_values(const Candidate& candidate) {
  Values values;
  for (const auto& [name, value] : with_full_tuning(candidate).tuning)
    values.emplace_back(name, std::to_string(value));
  return values;
}

Values resource_values(const Examination& examination) {
  std::map<std::string, int> seen;
  Values values;
  for (const KernelResources& kernel : examination.kernels) {
    std::string name = kernel_stem(kernel.kernel);
    if (const int times = seen[name]++; times > 0) name += "#" + std::to_string(times + 1);
    const auto add = [&](const char* what, int value) {
      values.emplace_back(name + " " + what, std::to_string(value));
    };
    add("registers", kernel.registers);
    add("static shared B", kernel.static_shared_bytes);
    add("stack B", kernel.local_bytes);
    add("spilled B", kernel.spill_store_bytes + kernel.spill_load_bytes);
    add("code B", kernel.code_bytes);
    add("threads at most", kernel.threads_max);
  }
  return values;
}

template <typename Counts>
std::vector<ChangedNumber> changed_counts(const Counts& before, const Counts& after) {
  std::vector<ChangedNumber> changed;
  const auto find = [](const Counts& counts, const std::string& name) -> double {
    for (const auto& [known, count] : counts)
      if (known == name) return static_cast<double>(count);
    return 0;
  };
  std::set<std::string> told;
  for (const Counts* counts : {&before, &after})
    for (const auto& [name, count] : *counts) {
      const double a = find(before, name), b = find(after, name);
      if (a != b && told.insert(name).second)
        changed.push_back({.name = name, .unit = "instructions", .words = {}, .before = a, .after = b});
    }
  return changed;
}

std::vector<ChangedNumber> counters_of(const CounterReport* before, const CounterReport* after) {
  std::vector<ChangedNumber> numbers;
  const auto add = [&](const CounterReading& reading) {
    const auto known = std::find_if(numbers.begin(), numbers.end(),
                                    [&](const ChangedNumber& n) { return n.name == reading.name; });
    if (known != numbers.end()) return;
    const auto value = [&](const CounterReport* report) -> std::optional<double> {
      const CounterReading* found = report ? find_reading(*report, reading.name) : nullptr;
      return found ? std::optional(found->value) : std::nullopt;
    };
    numbers.push_back({reading.name, reading.unit, reading.words, value(before), value(after)});
  };
  for (const CounterReport* report : {before, after})
    if (report)
      for (const CounterReading& reading : report->readings) add(reading);
  return numbers;
}

void add_counters(const Task& task, CandidateChange& change) {
  const auto report = [](const CandidateEnd& end, const std::string& workload) -> const CounterReport* {
    const auto found = end.end.specimen.examination.counters.find(workload);
    return found == end.end.specimen.examination.counters.end() ? nullptr : &found->second;
  };
  for (const Workload& workload : task.bench) {
    auto numbers = counters_of(report(change.before, workload.name), report(change.after, workload.name));
    if (!numbers.empty()) change.counters[workload.name] = std::move(numbers);
  }
}

void add_plans(const Task& task, CandidateChange& change) {
  const auto values = [](const CandidateEnd& end, const std::string& workload) {
    const auto plan = end.end.specimen.examination.plans.find(workload);
    return plan == end.end.specimen.examination.plans.end() ? Values{} : plan_values(plan->second);
  };
  for (const Workload& workload : task.bench) {
    auto changed = changed_values(values(change.before, workload.name), values(change.after, workload.name));
    if (!changed.empty()) change.plans[workload.name] = std::move(changed);
  }
}

/// Where arm `id` stands in `duel`; 0: it takes no part.
std::size_t arm_in(const Duel& duel, const std::string& id) {
  const auto found = std::find(duel.arms.begin(), duel.arms.end(), id);
  return found == duel.arms.end() ? 0 : static_cast<std::size_t>(found - duel.arms.begin());
}

PairedRatio reversed(const PairedRatio& ratio) {
  PairedRatio other = ratio;
  other.log_ratio_median = -ratio.log_ratio_median;
  other.log_ratio_low = -ratio.log_ratio_high;
  other.log_ratio_high = -ratio.log_ratio_low;
  return other;
}

/// Of duels in which `first` was arm 0 and met `second`: times of both at a workload, and their ratios.
void read_duels(const CandidateEnd& first, const CandidateEnd& second, bool is_first_after,
                WorkloadTimes& times, std::vector<PairedRatio>& ratios) {
  for (const TimedDuel& timed : first.end.duels) {
    const std::size_t arm = arm_in(timed.duel, second.record.id);
    const auto arms = timed.duel.timing.find(times.workload);
    const auto ratio = timed.duel.ratio.find(times.workload);
    if (arm == 0 || arms == timed.duel.timing.end() || arms->second.size() <= arm) continue;
    (is_first_after ? times.after : times.before) = arms->second.front();
    (is_first_after ? times.before : times.after) = arms->second[arm];
    if (ratio == timed.duel.ratio.end() || ratio->second.size() < arm) continue;
    const PairedRatio& one = ratio->second[arm - 1];
    ratios.push_back(is_first_after ? one : reversed(one));
  }
}

WorkloadTimes times_at(const RunReader& run, const CandidateChange& change, const Workload& workload) {
  WorkloadTimes times{.workload = workload.name, .before = {}, .after = {}, .ratio = {}};
  std::vector<PairedRatio> ratios;
  read_duels(change.before, change.after, false, times, ratios);
  read_duels(change.after, change.before, true, times, ratios);
  if (!ratios.empty()) times.ratio = combined_ratio(ratios);
  if (const ArmTiming* own = own_timing(change.before, workload.name); own && !times.before)
    times.before = *own;
  if (const ArmTiming* own = own_timing(change.after, workload.name); own && !times.after) times.after = *own;
  const ArmTiming* known = times.after ? &*times.after : times.before ? &*times.before : nullptr;
  if (known) {
    const RooflineShare share =
        roofline_share(roofline_counts(run.task, workload), run.device, known->time_us_median);
    times.floor_us = share.floor_us;
    times.limit = share.limit;
  }
  return times;
}

Values descriptor_values(const CandidateEnd& end) {
  const Descriptors told = told_descriptors(end.end.specimen.examination, end.end.specimen.duel);
  return {told.begin(), told.end()};
}

}  // namespace

std::string kernel_stem(const std::string& kernel) { return kernel.substr(0, kernel.find('<')); }

const ArmTiming* own_timing(const CandidateEnd& end, const std::string& workload) {
  const auto& duel = end.end.specimen.duel;
  if (!duel) return nullptr;
  const auto arms = duel->timing.find(workload);
  return arms == duel->timing.end() || arms->second.empty() ? nullptr : &arms->second.front();
}

CandidateEnd candidate_end(const RunReader& run, const std::string& name) {
  CandidateEnd end{.record = find_candidate(run, name), .end = {}, .provenance = {}};
  const auto evaluated = run.archive.evaluated(end.record.ordinal);
  end.end.specimen = specimen_of(*evaluated, run.baseline_id, run.weights);
  if (evaluated->examination) end.provenance = evaluated->examination->provenance;
  for (EvaluationRecord& record : run.archive.evaluations(end.record.ordinal)) {
    if (!record.duel || !record.duel->verdict.is_passed || record.request.value("is_null", false)) continue;
    end.end.duels.push_back({.candidate_id = end.record.id, .duel = std::move(*record.duel)});
  }
  return end;
}

CandidateChange change_between(const RunReader& run, const CandidateEnd& before, const CandidateEnd& after) {
  CandidateChange change{.before = before, .after = after};
  const Examination &a = before.end.specimen.examination, &b = after.end.specimen.examination;
  change.tunables =
      changed_values(tunable_values(before.record.candidate), tunable_values(after.record.candidate));
  change.source = source_diff(before.record.candidate.source, after.record.candidate.source);
  change.descriptors = changed_values(descriptor_values(before), descriptor_values(after));
  change.resources = changed_values(resource_values(a), resource_values(b));
  change.instructions = changed_counts(instruction_groups(a.counts), instruction_groups(b.counts));
  change.opcodes = changed_counts(a.counts.sass, b.counts.sass);
  add_plans(run.task, change);
  add_counters(run.task, change);
  for (const Workload& workload : run.task.bench) {
    WorkloadTimes times = times_at(run, change, workload);
    if (times.before || times.after) change.times.push_back(std::move(times));
  }
  for (const WorkloadTimes& times : change.times)
    change.is_modelled = (times.after ? *times.after : *times.before).is_modelled;
  change.ratio = change_ratio(before.end, after.end, run.weights);
  return change;
}

}  // namespace kernelites
