// SPDX-License-Identifier: Apache-2.0
// Facts from counters, from the time model, from plan and code.
#include "tools/inspect/gain_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "engine/core/device_peaks.h"
#include "tools/inspect/change_text.h"

namespace kernelites {
namespace {

constexpr double k_share_min = 0.01;  // smaller changes of a number are no fact
constexpr double k_stall_min = 0.3;   // warps waiting per issued instruction
constexpr double k_points_min = 2;    // percentage points
constexpr std::size_t k_groups_told = 4;
constexpr double k_schedulers = 4, k_warp_threads = 32;

double counter(const CandidateChange& change, const std::string& workload, const char* name, bool is_after) {
  const auto numbers = change.counters.find(workload);
  if (numbers == change.counters.end()) return -1;
  for (const ChangedNumber& number : numbers->second)
    if (number.name == name && number.before && number.after)
      return is_after ? *number.after : *number.before;
  return -1;
}

/// One counted amount of work, and how much of it the device does in a microsecond.
struct CountedWork {
  std::vector<const char*> counters;  ///< added up
  const char* words;
  const char* unit;
  double per_us;  ///< 0: no rate is known
};

std::vector<CountedWork> counted_works(const DeviceFacts& device) {
  const DevicePeaks* const peaks = peaks_of(device);
  const double cycles = peaks ? peaks->clock_ghz * 1e3 * device.sm_count : 0;  // of all SMs in a microsecond
  const double memory = peaks ? peaks->memory_gb_per_s * 1e3 : device.memory_gb_per_s * 1e3;
  return {
      {{"dram_read_bytes", "dram_write_bytes"}, "device memory traffic", "bytes", memory},
      {{"instructions"}, "instructions executed", "warp instructions", k_schedulers * cycles},
      {{"tensor_bf16_operations", "tensor_fp16_operations"},
       "tensor-core work",
       "operations",
       peaks ? peaks->tensor_flops * cycles : 0},
      {{"special_instructions"},
       "special functions and conversions",
       "warp instructions",
       peaks ? peaks->special_operations * cycles / k_warp_threads : 0},
      {{"shared_bank_conflicts"}, "bank conflicts in shared memory", "wavefronts", cycles},
      {{"local_loads", "local_stores"}, "accesses to spilled registers", "warp instructions", cycles},
      {{"l1_fill_bytes"}, "bytes moved from the L2 into SMs", "bytes", 0},
  };
}

void add_counted_works(const RunReader& run, const CandidateChange& change, const std::string& workload,
                       std::vector<GainFact>& facts) {
  for (const CountedWork& work : counted_works(run.device)) {
    double before = 0, after = 0;
    bool is_known = false;
    for (const char* name : work.counters) {
      const double a = counter(change, workload, name, false), b = counter(change, workload, name, true);
      if (a < 0 || b < 0) continue;
      before += a;
      after += b;
      is_known = true;
    }
    const double larger = std::max(before, after);
    if (!is_known || larger == 0 || std::abs(before - after) < k_share_min * larger) continue;
    facts.push_back(
        {FactSource::counted,
         fmt::format("{}: {} instead of {} ({:+.1f} %)", work.words, amount_text(after, work.unit),
                     amount_text(before, work.unit), before > 0 ? 100 * (after / before - 1) : 100),
         work.per_us > 0 ? std::optional((before - after) / work.per_us) : std::nullopt});
  }
}

/// What says how much goes on at once.
void add_counted_states(const CandidateChange& change, const WorkloadTimes& times,
                        std::vector<GainFact>& facts) {
  constexpr std::pair<const char*, const char*> k_shares[] = {
      {"issue_active_percent", "cycles in which a scheduler issues"},
      {"warps_active_percent", "resident warps"},
      {"tensor_active_percent", "cycles in which the tensor cores work"}};
  for (const auto& [name, words] : k_shares) {
    const double a = counter(change, times.workload, name, false),
                 b = counter(change, times.workload, name, true);
    if (a < 0 || b < 0 || std::abs(a - b) < k_points_min) continue;
    facts.push_back({FactSource::counted, fmt::format("{}: {:.0f} % instead of {:.0f} %", words, b, a), {}});
  }
  const auto numbers = change.counters.find(times.workload);
  if (numbers == change.counters.end()) return;
  for (const ChangedNumber& number : numbers->second) {
    if (!number.name.starts_with("stall_") || !number.before || !number.after) continue;
    if (std::abs(*number.before - *number.after) < k_stall_min) continue;
    facts.push_back({FactSource::counted,
                     fmt::format("warps {}: {:.1f} for each issued instruction instead of {:.1f}",
                                 number.words, *number.after, *number.before),
                     {}});
  }
}

/// The rate at which the device's memory worked, where its traffic was counted.
void add_memory_rate(const CandidateChange& change, const WorkloadTimes& times,
                     std::vector<GainFact>& facts) {
  double rate[2];
  for (const bool is_after : {false, true}) {
    const double bytes = counter(change, times.workload, "dram_read_bytes", is_after) +
                         counter(change, times.workload, "dram_write_bytes", is_after);
    if (bytes <= 0) return;
    rate[is_after] = bytes / (is_after ? *times.after : *times.before).time_us_median * 1e-3;
  }
  if (std::abs(rate[1] / rate[0] - 1) < k_share_min) return;
  facts.push_back({FactSource::counted,
                   fmt::format("device memory moves {:.0f} GB/s instead of {:.0f} GB/s", rate[1], rate[0]),
                   {}});
}

const std::vector<ModelledLaunch>* modelled_at(const CandidateEnd& end, const std::string& workload) {
  const auto& duel = end.end.specimen.duel;
  if (!duel) return nullptr;
  const auto launches = duel->modelled.find(workload);
  return launches == duel->modelled.end() || launches->second.empty() ? nullptr : &launches->second;
}

std::string launch_words(const ModelledLaunch& launch) {
  return fmt::format("limited by {}, occupancy {:.0f} %, {:.2f} waves", launch.limit, 100 * launch.occupancy,
                     launch.waves);
}

/// ", limited by DRAM instead of issue"; empty where the limit stayed.
std::string limit_change(const ModelledLaunch& before, const ModelledLaunch& after) {
  return before.limit == after.limit
             ? ""
             : fmt::format(", limited by {} instead of {}", after.limit, before.limit);
}

/// The counts of a launch that changed most, in words.
std::string changed_counts(const ModelledLaunch& before, const ModelledLaunch& after) {
  constexpr std::pair<const char*, const char*> k_told[] = {
      {"dram_load_bytes", "bytes loaded"},
      {"instructions", "instructions"},
      {"integer", "integer instructions"},
      {"fp32", "float instructions"},
      {"tensor", "tensor instructions"},
      {"special", "special functions"},
      {"shared_load_wavefronts", "shared loads"},
      {"shared_store_wavefronts", "shared stores"},
      {"barrier", "barriers"},
      {"shuffle", "shuffles"},
      {"longest_block", "instructions of the longest block"},
      {"chain_far", "steps that wait for memory"}};
  std::string words;
  for (const auto& [name, what] : k_told) {
    const auto a = before.counts.find(name), b = after.counts.find(name);
    const double x = a == before.counts.end() ? 0 : a->second, y = b == after.counts.end() ? 0 : b->second;
    if (std::max(x, y) == 0 || std::abs(x - y) < 0.05 * std::max(x, y)) continue;
    words += fmt::format("{}{} {} -> {}", words.empty() ? "; " : ", ", what, amount_text(x, ""),
                         amount_text(y, ""));
  }
  return words;
}

/// Of both, by kernel: what stayed in pairs, what went and what came.
struct MatchedLaunches {
  std::vector<std::pair<const ModelledLaunch*, const ModelledLaunch*>> stayed;
  std::vector<const ModelledLaunch*> went, came;
};

MatchedLaunches matched(const std::vector<ModelledLaunch>& before, const std::vector<ModelledLaunch>& after) {
  MatchedLaunches found;
  for (const ModelledLaunch& launch : after) found.came.push_back(&launch);
  for (const ModelledLaunch& old : before) {
    const auto same = std::find_if(found.came.begin(), found.came.end(), [&](const ModelledLaunch* launch) {
      return kernel_stem(launch->kernel) == kernel_stem(old.kernel);
    });
    if (same == found.came.end()) {
      found.went.push_back(&old);
    } else {
      found.stayed.emplace_back(&old, *same);
      found.came.erase(same);
    }
  }
  return found;
}

/// "launches split_kv<8> and combine", and their time.
std::pair<std::string, double> together(const std::vector<const ModelledLaunch*>& launches) {
  std::string names = launches.size() == 1 ? "launch " : "launches ";
  double time_us = 0;
  for (std::size_t i = 0; i < launches.size(); ++i) {
    names += fmt::format("{}{}",
                         i == 0                     ? ""
                         : i + 1 == launches.size() ? " and "
                                                    : ", ",
                         launches[i]->kernel);
    time_us += launches[i]->time_us;
  }
  return {names, time_us};
}

const ModelledLaunch& longest(const std::vector<const ModelledLaunch*>& launches) {
  return **std::max_element(launches.begin(), launches.end(),
                            [](const auto* a, const auto* b) { return a->time_us < b->time_us; });
}

void add_modelled(const CandidateChange& change, const std::string& workload, std::vector<GainFact>& facts) {
  const auto *before = modelled_at(change.before, workload), *after = modelled_at(change.after, workload);
  if (!before || !after) return;
  const auto add = [&](std::string words, double worth_us, std::string brief) {
    facts.push_back({FactSource::modelled, std::move(words), worth_us, std::move(brief)});
  };
  const MatchedLaunches launches = matched(*before, *after);
  for (const auto& [old, now] : launches.stayed) {
    if (std::abs(old->time_us - now->time_us) < 0.001 * old->time_us) continue;
    const std::string stem = kernel_stem(now->kernel);
    add(fmt::format("launch {}: {:.2f} us instead of {:.2f} us; {} instead of {}{}", stem, now->time_us,
                    old->time_us, launch_words(*now), launch_words(*old), changed_counts(*old, *now)),
        old->time_us - now->time_us,
        fmt::format("launch {}: {:.2f} us instead of {:.2f} us{}", stem, now->time_us, old->time_us,
                    limit_change(*old, *now)));
  }
  // Where some came for those that went they do their work: by themselves they would seem to gain and to cost all.
  const bool is_exchange = launches.went.size() == launches.came.size();
  if (!is_exchange && !launches.went.empty() && !launches.came.empty()) {
    const auto [old_names, old_us] = together(launches.went);
    const auto [now_names, now_us] = together(launches.came);
    const std::string words =
        fmt::format("{} instead of {}: {:.2f} us instead of {:.2f} us", now_names, old_names, now_us, old_us);
    add(fmt::format("{}; {} instead of {}{}", words, launch_words(longest(launches.came)),
                    launch_words(longest(launches.went)),
                    changed_counts(longest(launches.went), longest(launches.came))),
        old_us - now_us, words + limit_change(longest(launches.went), longest(launches.came)));
    return;
  }
  for (std::size_t i = 0; i < launches.went.size(); ++i) {
    const ModelledLaunch& old = *launches.went[i];
    if (!is_exchange) {
      add(fmt::format("launch {} is gone, it took {:.2f} us ({})", old.kernel, old.time_us,
                      launch_words(old)),
          old.time_us, fmt::format("launch {} is gone: {:.2f} us", old.kernel, old.time_us));
      continue;
    }
    const ModelledLaunch& now = *launches.came[i];
    add(fmt::format("launch {} instead of {}: {:.2f} us instead of {:.2f} us; {} instead of {}{}", now.kernel,
                    old.kernel, now.time_us, old.time_us, launch_words(now), launch_words(old),
                    changed_counts(old, now)),
        old.time_us - now.time_us,
        fmt::format("launch {} instead of {}: {:.2f} us instead of {:.2f} us{}", now.kernel, old.kernel,
                    now.time_us, old.time_us, limit_change(old, now)));
  }
  if (is_exchange) return;
  for (const ModelledLaunch* launch : launches.came)
    add(fmt::format("launch {} is new and takes {:.2f} us ({})", launch->kernel, launch->time_us,
                    launch_words(*launch)),
        -launch->time_us, fmt::format("launch {} is new: {:.2f} us", launch->kernel, launch->time_us));
}

/// Of a launch that came or went only that it did; of the others what changed besides template arguments and order.
std::vector<ChangedValue> plan_facts(const std::vector<ChangedValue>& values) {
  constexpr std::string_view k_kernel = " kernel";
  std::vector<std::string> whole;  // launches that came or went
  std::vector<std::string> went, came;
  for (const ChangedValue& value : values) {
    if (!value.name.ends_with(k_kernel) || (!value.before.empty() && !value.after.empty())) continue;
    whole.push_back(value.name.substr(0, value.name.size() - k_kernel.size()) + " ");
    if (value.after.empty()) went.push_back(value.before);
    if (value.before.empty()) came.push_back(value.after);
  }
  std::vector<ChangedValue> facts;
  for (std::size_t i = 0; i < std::max(went.size(), came.size()); ++i)
    facts.push_back({"launch", i < went.size() ? went[i] : "", i < came.size() ? came[i] : ""});
  for (const ChangedValue& value : values) {
    const bool is_of_whole = std::any_of(whole.begin(), whole.end(),
                                         [&](const auto& launch) { return value.name.starts_with(launch); });
    if (!is_of_whole && !value.name.ends_with(k_kernel) && !value.name.ends_with("after launch"))
      facts.push_back(value);
  }
  return facts;
}

std::string change_words(const ChangedValue& value) {
  if (value.name == "launch" && value.after.empty()) return fmt::format("launch {} is gone", value.before);
  if (value.name == "launch" && value.before.empty()) return fmt::format("launch {} is new", value.after);
  return fmt::format("{}: {} instead of {}", value.name, value.after.empty() ? "none" : value.after,
                     value.before.empty() ? "none" : value.before);
}

void add_plan_and_code(const CandidateChange& change, const std::string& workload,
                       std::vector<GainFact>& facts) {
  const auto add = [&](FactSource source, const ChangedValue& value) {
    facts.push_back({source, change_words(value), {}});
  };
  if (const auto plan = change.plans.find(workload); plan != change.plans.end())
    for (const ChangedValue& value : plan_facts(plan->second)) add(FactSource::planned, value);
  for (const ChangedValue& value : change.descriptors) add(FactSource::compiled, value);
  for (const ChangedValue& value : change.resources) {
    const bool is_told = value.name.ends_with("registers") || value.name.ends_with("spilled B");
    if (is_told && !value.before.empty() && !value.after.empty()) add(FactSource::compiled, value);
  }
  std::vector<ChangedNumber> groups = change.instructions;
  std::stable_sort(groups.begin(), groups.end(), [](const ChangedNumber& a, const ChangedNumber& b) {
    return std::abs(*a.after - *a.before) > std::abs(*b.after - *b.before);
  });
  if (groups.size() > k_groups_told) groups.resize(k_groups_told);
  std::string words;
  for (const ChangedNumber& group : groups)
    words += fmt::format("{}{} {:.0f} -> {:.0f}", words.empty() ? "" : ", ", group.name, *group.before,
                         *group.after);
  if (!words.empty()) facts.push_back({FactSource::compiled, "instructions in the code: " + words, {}, {}});
}

}  // namespace

std::size_t counted_in_both(const CandidateChange& change, const std::string& workload) {
  const auto numbers = change.counters.find(workload);
  if (numbers == change.counters.end()) return 0;
  return static_cast<std::size_t>(
      std::count_if(numbers->second.begin(), numbers->second.end(),
                    [](const ChangedNumber& number) { return number.before && number.after; }));
}

std::vector<GainFact> gain_facts(const RunReader& run, const CandidateChange& change,
                                 const WorkloadTimes& times) {
  std::vector<GainFact> facts;
  add_counted_works(run, change, times.workload, facts);
  add_modelled(change, times.workload, facts);
  const double sign = times.before->time_us_median >= times.after->time_us_median ? 1 : -1;
  std::stable_sort(facts.begin(), facts.end(), [&](const GainFact& a, const GainFact& b) {
    return sign * a.worth_us.value_or(-sign * 1e30) > sign * b.worth_us.value_or(-sign * 1e30);
  });
  add_memory_rate(change, times, facts);
  add_counted_states(change, times, facts);
  add_plan_and_code(change, times.workload, facts);
  return facts;
}

}  // namespace kernelites
