// SPDX-License-Identifier: Apache-2.0
// Rows from times and roofs, from plan and resources, from counters.
#include "engine/variation/feedback_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/roofline.h"
#include "engine/variation/code_rows.h"
#include "engine/variation/profile_text.h"

namespace kernelites {
namespace {

/// Launches of the time model that are told.
constexpr std::size_t k_modelled_rows = 2;

/// Stalls below it, in warps waiting per issued instruction, are not worth a line.
constexpr double k_stall_min = 0.3;
constexpr std::size_t k_stalls_shown = 2;
constexpr double k_sector_bytes = 32, k_warp_threads = 32;

const ArmTiming* timing_of(const Specimen& specimen, const Workload& workload) {
  if (!specimen.duel) return nullptr;
  const auto arms = specimen.duel->timing.find(workload.name);
  return arms == specimen.duel->timing.end() || arms->second.empty() ? nullptr : &arms->second.front();
}

const CounterReport* report_of(const Specimen& specimen, const Workload& workload) {
  const auto report = specimen.examination.counters.find(workload.name);
  return report == specimen.examination.counters.end() ? nullptr : &report->second;
}

/// All groups were read, not the physics alone.
bool is_explained(const CounterReport* report) {
  return report && find_reading(*report, "issue_active_percent");
}

double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

void add_roof_rows(const std::vector<Roof>& all, const RooflineShare& share, const ArmTiming& timing,
                   std::vector<FeedbackRow>& rows) {
  const char* const how = timing.is_modelled ? "modelled" : "measured";
  if (all.empty()) {
    rows.push_back({"time", fmt::format("{:.2f} us {}", timing.time_us_median, how),
                    "this device's peak rates are not known, so there is no floor to compare with"});
    return;
  }
  rows.push_back(
      {"limiting roof",
       fmt::format("{}: {:.1f} us of {:.2f} us {} ({:.0f} %)", share.limit, share.floor_us,
                   timing.time_us_median, how, 100 * share.of_floor),
       "what a launch, or the compulsory work at the device's peak, needs; no kernel is faster, 100 "
       "% is perfect"});
  if (all.size() > 1)
    rows.push_back({"next roof",
                    fmt::format("{}: {:.1f} us ({:.0f} %)", all[1].resource, all[1].time_us,
                                percent(all[1].time_us, timing.time_us_median)),
                    "must overlap with the first, else the two add up"});
}

void add_rate_rows(const RooflineShare& share, std::vector<FeedbackRow>& rows) {
  std::string value = fmt::format("{:.0f} GB/s", share.gb_per_s);
  if (share.of_memory > 0) value += fmt::format(", {:.0f} % of the copy rate", 100 * share.of_memory);
  rows.push_back(
      {"useful bandwidth", value, "the task's compulsory bytes by the time; rereads do not count"});
  if (share.tflop_per_s >= 0.1)
    rows.push_back({"useful arithmetic", fmt::format("{:.1f} TFLOP/s", share.tflop_per_s),
                    "the task's operations by the time; recomputation does not count"});
}

/// The launch with the most blocks stands for the plan.
void add_occupancy_row(const Specimen& specimen, const Workload& workload, const DeviceFacts& device,
                       std::vector<FeedbackRow>& rows) {
  const auto plan = specimen.examination.plans.find(workload.name);
  if (plan == specimen.examination.plans.end() || plan->second.launches.empty()) return;
  const auto blocks_of = [](const PlannedLaunch& launch) {
    return std::int64_t{launch.grid[0]} * std::int64_t{launch.grid[1]} * std::int64_t{launch.grid[2]};
  };
  const auto& launches = plan->second.launches;
  const auto largest = std::max_element(launches.begin(), launches.end(), [&](const auto& a, const auto& b) {
    return blocks_of(a) < blocks_of(b);
  });
  const auto& kernels = specimen.examination.kernels;
  const auto kernel = std::find_if(kernels.begin(), kernels.end(), [&](const KernelResources& known) {
    return known.kernel == largest->kernel;
  });
  if (kernel == kernels.end()) return;
  const Occupancy occupancy = occupancy_of(*kernel, *largest, device);
  if (occupancy.blocks_per_sm == 0) return;
  const double waves = static_cast<double>(blocks_of(*largest)) / (device.sm_count * occupancy.blocks_per_sm);
  rows.push_back({"occupancy",
                  fmt::format("{} blocks per SM by {}, {:.2f} waves, {} registers", occupancy.blocks_per_sm,
                              occupancy.limit, waves, kernel->registers),
                  waves < 1 ? "some SMs have nothing to do: split the work further"
                            : "the last wave is paid in full however few of its blocks there are"});
  if (kernel->spill_store_bytes + kernel->spill_load_bytes > 0)
    rows.push_back({"spills",
                    fmt::format("{} B stored, {} B loaded per thread", kernel->spill_store_bytes,
                                kernel->spill_load_bytes),
                    "registers that did not fit and went to memory"});
}

double value_of(const CounterReport& report, const char* name) {
  const CounterReading* const reading = find_reading(report, name);
  return reading ? reading->value : -1;
}

void add_stall_rows(const CounterReport& report, std::vector<FeedbackRow>& rows) {
  std::vector<const CounterReading*> stalls;
  for (const CounterReading& reading : report.readings)
    if (reading.name.starts_with("stall_") && reading.value >= k_stall_min) stalls.push_back(&reading);
  std::stable_sort(stalls.begin(), stalls.end(),
                   [](const auto* a, const auto* b) { return a->value > b->value; });
  if (stalls.size() > k_stalls_shown) stalls.resize(k_stalls_shown);
  for (const CounterReading* stall : stalls)
    rows.push_back({stall->name.substr(6) + " stall",
                    fmt::format("{:.1f} warps per issued instruction", stall->value), stall->words});
}

}  // namespace

std::vector<FeedbackRow> counter_rows(const CounterReport& report, const RooflineCounts& counts,
                                      const DeviceFacts& device, double time_us) {
  std::vector<FeedbackRow> rows;
  const double dram = value_of(report, "dram_read_bytes"), written = value_of(report, "dram_write_bytes");
  if (dram >= 0 && written >= 0 && counts.bytes > 0)
    rows.push_back(
        {"device memory traffic",
         fmt::format("{:.1f} MB read, {:.1f} MB written: {:.2f} of the compulsory bytes", dram * 1e-6,
                     written * 1e-6, (dram + written) / counts.bytes),
         "above 1 something is read or written more than once; a little below, the rest is in the L2"});
  const double tensor = value_of(report, "tensor_active_percent");
  if (tensor >= 0)
    rows.push_back({"tensor cores busy", fmt::format("{:.0f} % of the cycles", tensor),
                    "the rest of the time they wait for operands or for the other work"});
  const double issue = value_of(report, "issue_active_percent"),
               warps = value_of(report, "warps_active_percent");
  if (issue >= 0)
    rows.push_back({"instructions issued",
                    fmt::format("in {:.0f} % of the cycles, {:.0f} % of the warps resident", issue, warps),
                    "near 100 %: too many instructions; low: waiting, see the stalls"});
  add_stall_rows(report, rows);
  const double reads = value_of(report, "l2_read_sectors"), hits = value_of(report, "l2_read_hit_sectors");
  if (reads > 0 && hits >= 0)
    rows.push_back(
        {"L2 reads",
         fmt::format("{:.1f} MB, {:.0f} % hits", reads * k_sector_bytes * 1e-6, percent(hits, reads)),
         "what SMs asked the L2 for; a hit was brought in by another block or earlier"});
  const double operations = std::max(0.0, value_of(report, "tensor_bf16_operations")) +
                            std::max(0.0, value_of(report, "tensor_fp16_operations"));
  if (operations > 0 && counts.flops > 0)
    rows.push_back({"tensor work", fmt::format("{:.2f} of the task's operations", operations / counts.flops),
                    "above 1: masked or padded tiles are computed and thrown away"});
  const double special = value_of(report, "special_instructions");
  if (special > 0 && counts.exponentials > 0)
    rows.push_back(
        {"special functions",
         fmt::format("{:.2f} per exponential of the task", special * k_warp_threads / counts.exponentials),
         "exponentials, reciprocals and conversions share one slow pipe"});
  const double conflicts = value_of(report, "shared_bank_conflicts"), cycles = value_of(report, "sm_cycles");
  if (conflicts > 0 && cycles > 0 && device.sm_count > 0 && percent(conflicts, cycles * device.sm_count) >= 1)
    rows.push_back({"bank conflicts",
                    fmt::format("{:.0f} % of the cycles", percent(conflicts, cycles * device.sm_count)),
                    "shared-memory accesses that wait for each other: change the layout or swizzle"});
  const double local = value_of(report, "local_loads") + value_of(report, "local_stores");
  const double instructions = value_of(report, "instructions");
  if (local > 0 && instructions > 0 && percent(local, instructions) >= 0.1)
    rows.push_back({"local memory", fmt::format("{:.1f} % of the instructions", percent(local, instructions)),
                    "spilled registers and arrays with computed indices"});
  const double counted_us = value_of(report, "time_ns") * 1e-3;
  if (counted_us > 0 && time_us > 0 && counted_us > 1.3 * time_us)
    rows.push_back({"counted at", fmt::format("{:.1f} us instead of {:.1f} us", counted_us, time_us),
                    "counters slow launches down: shares of cycles are of the slower run"});
  return rows;
}

const Workload* explained_workload(const Task& task, const DeviceFacts& device, const Specimen& specimen) {
  const Workload* chosen = nullptr;
  double least = 0;
  for (const Workload& workload : task.bench) {
    const ArmTiming* const timing = timing_of(specimen, workload);
    if (!timing) continue;
    if (is_explained(report_of(specimen, workload))) return &workload;
    const double share =
        roofline_share(counts_on(device, task, workload), device, timing->time_us_median).of_floor;
    if (chosen && share >= least) continue;
    chosen = &workload;
    least = share;
  }
  return chosen;
}

std::vector<FeedbackRow> feedback_rows(const Task& task, const DeviceFacts& device,
                                       const Specimen& specimen) {
  std::vector<FeedbackRow> rows;
  const Workload* const workload = explained_workload(task, device, specimen);
  if (!workload) return rows;
  const ArmTiming& timing = *timing_of(specimen, *workload);
  const RooflineCounts counts = counts_on(device, task, *workload);
  const RooflineShare share = roofline_share(counts, device, timing.time_us_median);
  add_roof_rows(roofs(counts, device), share, timing, rows);
  add_rate_rows(share, rows);
  add_occupancy_row(specimen, *workload, device, rows);
  if (const CounterReport* report = report_of(specimen, *workload)) {
    for (FeedbackRow& row : counter_rows(*report, counts, device, timing.time_us_median))
      rows.push_back(std::move(row));
  }
  if (specimen.duel) {
    for (FeedbackRow& row : modelled_rows(*specimen.duel, k_modelled_rows)) rows.push_back(std::move(row));
  }
  for (FeedbackRow& row : sass_rows(specimen.examination)) rows.push_back(std::move(row));
  if (rows.size() > k_feedback_rows_max) rows.resize(k_feedback_rows_max);
  return rows;
}

std::string feedback_text(const Task& task, const DeviceFacts& device, const Specimen& specimen) {
  const std::vector<FeedbackRow> rows = feedback_rows(task, device, specimen);
  if (rows.empty()) return "";
  std::string text =
      fmt::format("Where the time goes at `{}`:\n", explained_workload(task, device, specimen)->name);
  for (const FeedbackRow& row : rows)
    text += fmt::format("- {}: {} ({})\n", row.name, row.value, row.meaning);
  return text;
}

}  // namespace kernelites
