// SPDX-License-Identifier: Apache-2.0
// Counting, workload by workload, group by group.
#include "evaluators/worker/pipeline/profile.h"

#include <fmt/format.h>

#include <chrono>
#include <optional>

#include "engine/core/error.h"
#include "evaluators/worker/counters/counter_table.h"
#include "evaluators/worker/pipeline/evaluation_context.h"
#include "evaluators/worker/pipeline/examine.h"
#include "evaluators/worker/pipeline/proven_code.h"
#include "evaluators/worker/pipeline/workload_session.h"

namespace kernelites::worker {
namespace {

using Clock = std::chrono::steady_clock;

void add_readings(CounterGroup group, const CounterValues& values, CounterReport& report) {
  for (const CounterRow& row : counters_of(group)) {
    const auto value = values.values.find(std::string(row.name));
    if (value == values.values.end()) continue;
    report.readings.push_back({.name = std::string(row.name),
                               .value = value->second,
                               .unit = std::string(row.unit),
                               .words = std::string(row.words)});
  }
  if (!values.problem.empty() && report.problem.empty())
    report.problem = fmt::format("{}: {}", to_string(group), values.problem);
}

/// The second clock: how long events say that the launches took, and how long CUPTI's records of the kernels say.
void add_trace(const CounterValues& values, CounterReport& report) {
  const auto add = [&](const char* name, const char* words) {
    const auto value = values.values.find(name);
    if (value != values.values.end())
      report.readings.push_back({.name = name, .value = value->second, .unit = "us", .words = words});
  };
  add("event_us", "time between the events, as in every timing");
  add("traced_us", "time from the first kernel's start to the last one's end, by the profiler's records");
  if (!values.problem.empty() && report.problem.empty()) report.problem = "trace: " + values.problem;
}

/// All reports with the same problem.
std::map<std::string, CounterReport> unchecked(const CountOrder& order, const std::string& why) {
  std::map<std::string, CounterReport> reports;
  for (const auto& [workload, plan] : order.plans) reports[workload].problem = why;
  return reports;
}

CounterReport count_one(Station& station, ExecutorClient& profiler, int module, const std::string& name,
                        const CountOrder& order) {
  const Workload& workload = *order.task.find_workload(name);
  WorkloadSession session(station.referee(), profiler, order.task, workload);
  const int arm = session.add_arm(module, order.plans.at(name), order.compiled.lowered);
  session.fill(order.task.families.front(), 0, order.key.derive("count_" + name));
  CounterReport report;
  const ExecutorClient::Run run{.plan = arm,
                                .poison_seed = order.key.derive("poison").seed(),
                                .deadline_s = run_deadline_s(station.facts(), PointUse::bench)};
  add_trace(session.count(run, CounterGroup::count_), report);
  for (int group = 0; group < static_cast<int>(CounterGroup::count_); ++group) {
    if (group > 0 && name != order.explained) break;
    const CounterValues values = session.count(run, static_cast<CounterGroup>(group));
    if (profiler.fault()) {
      report.problem = profiler.fault()->message;
      return report;
    }
    add_readings(static_cast<CounterGroup>(group), values, report);
  }
  return report;
}

}  // namespace

std::map<std::string, CounterReport> count_workloads(Station& station, const CountOrder& order) {
  if (station.facts().is_virtual) return unchecked(order, "the virtual GPU has no counters");
  const Clock::time_point deadline =
      Clock::now() + std::chrono::milliseconds(static_cast<long>(1000 * order.deadline_s));
  try {
    const std::unique_ptr<ExecutorClient> profiler = station.start_profiler();
    const int module = profiler->load(image_of(order.compiled));
    std::map<std::string, CounterReport> reports = unchecked(order, "there was no time left");
    for (auto& [workload, report] : reports) {
      if (profiler->fault()) {
        report.problem = profiler->fault()->message;
      } else if (Clock::now() < deadline) {
        report = count_one(station, *profiler, module, workload, order);
      }
    }
    return reports;
  } catch (const Error& error) {
    return unchecked(order, error.what());
  }
}

Profile profile(const Workshop& workshop, const ProfileRequest& request, const Task& task, double deadline_s,
                double& device_s) {
  const Clock::time_point start = Clock::now();
  const DeviceFacts facts = workshop.stations.facts();
  std::vector<PlanPoint> points;
  for (const std::string& name : request.workloads) {
    const Workload* workload = task.find_workload(name);
    if (!workload)
      return {.verdict =
                  Verdict::failed("profile", "unknown_workload", fmt::format("no bench workload '{}'", name)),
              .reports = {}};
    points.push_back({.workload = workload, .reference_rows = 1});
  }
  const auto code = proven_code(workshop, task, request.candidate, points, facts);
  if (const auto* verdict = std::get_if<Verdict>(&code)) return {.verdict = *verdict, .reports = {}};
  const ProvenCode& proven = *std::get<std::shared_ptr<const ProvenCode>>(code);
  std::map<std::string, LaunchPlan> plans;
  for (const std::string& name : request.workloads) plans[name] = proven.plans.at(name);
  const Reference reference = compile_reference(workshop.compiler, task, points, facts);

  StationPool::Lease station = workshop.stations.take(deadline_s);
  const Clock::time_point taken = Clock::now();
  if (reference.inputs()) station->referee().use_inputs(*reference.inputs());
  Profile result{.verdict = Verdict::passed(), .reports = {}};
  const double left_s =
      deadline_s - std::chrono::duration<double>(taken - start - station.forgiven()).count();
  result.reports =
      count_workloads(*station, {.task = task,
                                 .compiled = proven.compiled,
                                 .plans = plans,
                                 .explained = request.wants_stalls ? request.workloads.front() : "",
                                 .key = request.key,
                                 .deadline_s = left_s});
  device_s += std::chrono::duration<double>(Clock::now() - taken).count();
  return result;
}

}  // namespace kernelites::worker
