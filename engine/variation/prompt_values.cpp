// SPDX-License-Identifier: Apache-2.0
// What fills the placeholders of the prompt files: tasks, devices and specimens in words.
#include "engine/variation/prompt_values.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "engine/core/error.h"
#include "engine/core/roofline.h"
#include "engine/variation/feedback_table.h"
#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

std::string or_none(std::string text) { return text.empty() ? "(none)" : text; }

std::string describe_dims(const Task& task) {
  std::string text;
  for (const DimSpec& dim : task.dims) {
    text += dim.constant ? fmt::format("- `{}` = {} (constant)", dim.name, *dim.constant)
                         : fmt::format("- `{}` (varies)", dim.name);
    text += dim.meaning.empty() ? "\n" : fmt::format(": {}\n", dim.meaning);
  }
  return text;
}

std::string describe_tensors(const Task& task) {
  std::string text;
  for (const TensorSpec& tensor : task.tensors)
    text +=
        fmt::format("- `{}`: {} {} [{}]{}{}\n", tensor.name, role_name(tensor.role), dtype_name(tensor.dtype),
                    fmt::join(tensor.shape, ", "), tensor.meaning.empty() ? "" : ": ", tensor.meaning);
  return text;
}

std::string describe_scalars(const Task& task) {
  std::string text;
  for (const ScalarSpec& scalar : task.scalars)
    text += fmt::format("- `{}` ({}) = {}{}{}\n", scalar.name, dtype_name(scalar.dtype), scalar.value,
                        scalar.meaning.empty() ? "" : ": ", scalar.meaning);
  return text;
}

std::string describe_workload(const Task& task, const Workload& workload) {
  std::string dims;
  for (const DimSpec& dim : task.dims) {
    const auto bound = workload.dims.find(dim.name);
    if (dim.constant || bound == workload.dims.end()) continue;
    dims += fmt::format("{}{}={}", dims.empty() ? "" : ", ", dim.name, bound->second);
  }
  return dims;
}

std::string describe_workloads(const Task& task) {
  std::string text;
  for (const Workload& workload : task.bench)
    text +=
        fmt::format("- timed, weight {}: `{}` ({}){}{}\n", workload.weight, workload.name,
                    describe_workload(task, workload), workload.source.empty() ? "" : ", ", workload.source);
  for (const Workload& workload : task.check)
    text += fmt::format("- checked only: `{}` ({})\n", workload.name, describe_workload(task, workload));
  return text;
}

std::string describe_precision(const Task& task) {
  std::string text;
  for (const auto& [output, precision] : task.precision)
    text += fmt::format("- `{}`: class {}\n", output, precision.name);
  return text;
}

std::string describe_notes(const Examination& examination) {
  std::string text;
  for (std::size_t i = 0; i < examination.notes.size() && i < k_diagnostics_max; ++i)
    text += fmt::format("- {}\n", single_line(examination.notes[i], k_diagnostic_bytes_max));
  return text;
}

/// The source as a model should see it, with the tunables that were chosen for it.
std::string describe_tuning(const Candidate& candidate) {
  std::string text;
  for (const auto& [name, value] : candidate.tuning)
    text += fmt::format("{}{}={}", text.empty() ? "" : ", ", name, value);
  return or_none(text);
}

std::string describe_speedup(const Specimen& specimen) {
  return specimen.speedup > 0 ? fmt::format("{:.3f}x the baseline's speed", specimen.speedup)
                              : std::string("not timed");
}

/// Of the specimen in its own duel; null if it was not timed there.
const ArmTiming* timing_at(const Specimen& specimen, const std::string& workload) {
  if (!specimen.duel) return nullptr;
  const auto arms = specimen.duel->timing.find(workload);
  return arms == specimen.duel->timing.end() || arms->second.empty() ? nullptr : &arms->second.front();
}

}  // namespace

const std::vector<PromptUse>& prompt_uses() {
  static const std::vector<PromptUse> uses{
      {"system", {"contract", "task", "device"}},
      {"parts/contract", {}},
      {"parts/reply_format", {}},
      {"parts/reply_edits", {}},
      {"parts/task",
       {"name", "title", "formula", "dims", "tensors", "scalars", "workloads", "precision", "flops", "bytes",
        "exponentials"}},
      {"parts/device",
       {"kind", "architecture", "sm_count", "shared_bytes_per_block", "registers_per_sm", "l2_mib",
        "bandwidth", "times_are"}},
      {"parts/parent", {"cell", "speedup", "tuning", "verdict", "timing", "resources", "notes", "source"}},
      {"parts/inspiration",
       {"cell", "speedup", "tuning", "verdict", "timing", "resources", "notes", "source"}},
      {"parts/failure", {"operator", "stage", "verdict"}},
      {"parts/hints", {"hints"}},
      {"parts/lesson", {"technique", "state", "architecture", "shape_class", "effect", "counts"}},
      {"parts/target", {"axes"}},
      {"parts/target_axis", {"axis", "change", "meaning"}},
      {"parts/reply_regions", {}},
      {"parts/workload", {"name", "dims", "weight", "time", "ratio"}},
      {"exchange/cut_off", {}},
      {"exchange/agent_closing", {}},
      {"exchange/agent_reminder", {}},
      {"exchange/correction", {"reason", "reply_format"}},
  };
  return uses;
}

PromptValues task_values(const Task& task) {
  return {{"name", task.name},
          {"title", task.title},
          {"formula", task.formula},
          {"dims", or_none(describe_dims(task))},
          {"tensors", or_none(describe_tensors(task))},
          {"scalars", or_none(describe_scalars(task))},
          {"workloads", or_none(describe_workloads(task))},
          {"precision", or_none(describe_precision(task))},
          {"flops", task.roofline.flops},
          {"bytes", task.roofline.bytes},
          {"exponentials", task.roofline.exponentials}};
}

PromptValues device_values(const DeviceFacts& device) {
  return {{"kind", device.kind},
          {"architecture", device.architecture},
          {"sm_count", fmt::to_string(device.sm_count)},
          {"shared_bytes_per_block", fmt::to_string(device.shared_bytes_per_block_max)},
          {"registers_per_sm", fmt::to_string(device.registers_per_sm)},
          {"l2_mib", fmt::to_string(device.l2_bytes >> 20)},
          {"bandwidth", device.memory_gb_per_s > 0
                            ? fmt::format("{:.0f} GB/s ({} copy rate, read + write)", device.memory_gb_per_s,
                                          device.is_virtual ? "modelled" : "measured")
                            : std::string("unknown")},
          {"times_are", device.is_virtual
                            ? "modelled by a virtual GPU from executed instructions and memory traffic"
                            : "measured on this device"}};
}

PromptValues specimen_values(const Task& task, const DeviceFacts& device, const Specimen& specimen) {
  return {
      {"cell", describe_cell(specimen.examination.descriptors)},
      {"speedup", describe_speedup(specimen)},
      {"tuning", describe_tuning(specimen.candidate)},
      {"verdict", describe_verdict(specimen.verdict)},
      {"timing", or_none(describe_timing(task, device, specimen) + feedback_text(task, device, specimen))},
      {"resources", or_none(describe_resources(specimen.examination))},
      {"notes", or_none(describe_notes(specimen.examination))},
      {"source", specimen.candidate.source}};
}

const std::set<std::string>& operator_placeholders() {
  static const std::set<std::string> names{
      "parent",       "inspirations",   "feedback",         "lessons",          "reply_format",
      "reply_edits",  "target",         "workload",         "second_parent",    "rival",
      "studied_name", "studied_prompt", "studied_versions", "studied_outcomes", "reply_regions"};
  return names;
}

namespace {

/// Evidence for and against: "helped 3 of 4 parents; 1 got slower".
std::string lesson_counts(const Lesson& lesson) {
  std::string text = fmt::format("helped {} of {} parents", lesson.helped, lesson.tried);
  if (lesson.slower > 0) text += fmt::format("; {} got slower", lesson.slower);
  if (lesson.failed > 0) text += fmt::format("; {} failed a check", lesson.failed);
  if (lesson.predictions > 0)
    text += fmt::format("; kernels took {:.2f}x the time that earlier lessons promised (n = {})",
                        lesson.predicted_over, lesson.predictions);
  return text;
}

}  // namespace

PromptValues lesson_values(const Lesson& lesson) {
  return {{"technique", lesson.technique},
          {"state", lesson.state},
          {"architecture", lesson.architecture},
          {"shape_class", lesson.shape_class},
          {"effect",
           fmt::format("{:.3f}x ({:.3f} to {:.3f})", lesson.gain_median, lesson.gain_low, lesson.gain_high)},
          {"counts", lesson_counts(lesson)}};
}

PromptValues failure_values(const Specimen& specimen) {
  return {{"operator", specimen.operator_name},
          {"stage", specimen.verdict.stage},
          {"verdict", describe_verdict(specimen.verdict)}};
}

PromptValues workload_values(const VariationInput& input) {
  const auto workload =
      std::find_if(input.task.bench.begin(), input.task.bench.end(),
                   [&](const Workload& bench) { return bench.name == input.target_workload; });
  KERNELITES_ASSERT(workload != input.task.bench.end());
  const ArmTiming* own = timing_at(input.parent, workload->name);
  const ArmTiming* best = input.second_parent ? timing_at(*input.second_parent, workload->name) : nullptr;
  std::string ratio;
  if (own != nullptr && best != nullptr && best->time_us_median > 0)
    ratio =
        fmt::format(", {:.2f} times what the fastest kernel takes (each {} in a duel of its own)",
                    own->time_us_median / best->time_us_median, own->is_modelled ? "modelled" : "measured");
  return {{"name", workload->name},
          {"dims", describe_workload(input.task, *workload)},
          {"weight", fmt::format("{:.3g}", workload->weight)},
          {"time", own != nullptr ? fmt::format("{:.2f} us", own->time_us_median) : "a time that is unknown"},
          {"ratio", ratio}};
}

std::string describe_cell(const Descriptors& descriptors) {
  std::string text;
  for (const auto& [axis, label] : descriptors)
    text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", axis, label);
  return or_none(text);
}

std::string describe_verdict(const Verdict& verdict) {
  if (verdict.is_passed) return "passed every stage\n";
  std::string text = fmt::format("failed at stage {} ({}): {}\n", verdict.stage, verdict.reason,
                                 single_line(verdict.message, 2 * k_diagnostic_bytes_max));
  for (std::size_t i = 0; i < verdict.diagnostics.size() && i < k_diagnostics_max; ++i) {
    const Diagnostic& diagnostic = verdict.diagnostics[i];
    text += diagnostic.line > 0 ? fmt::format("- line {}: ", diagnostic.line) : std::string("- ");
    text += fmt::format("{}\n", single_line(diagnostic.message, k_diagnostic_bytes_max));
  }
  return text;
}

std::string describe_resources(const Examination& examination) {
  std::string text;
  for (const KernelResources& kernel : examination.kernels) {
    text += fmt::format("- `{}`: {} registers, {} B static shared memory", kernel.kernel, kernel.registers,
                        kernel.static_shared_bytes);
    if (kernel.spill_store_bytes + kernel.spill_load_bytes > 0)
      text += fmt::format(", SPILLS {} B stores and {} B loads per thread", kernel.spill_store_bytes,
                          kernel.spill_load_bytes);
    text += "\n";
  }
  return text;
}

std::string describe_timing(const Task& task, const DeviceFacts& device, const Specimen& specimen) {
  std::string text;
  if (!specimen.duel) {
    for (const auto& [workload, us] : specimen.examination.modelled_us)
      text += fmt::format("- `{}`: not timed; the time model says {:.2f} us\n", workload, us);
    return text;
  }
  const Duel& duel = *specimen.duel;
  for (const Workload& workload : task.bench) {
    const auto arms = duel.timing.find(workload.name);
    if (arms == duel.timing.end() || arms->second.empty()) continue;
    const ArmTiming& timing = arms->second.front();
    const RooflineShare share =
        roofline_share(counts_on(device, task, workload), device, timing.time_us_median);
    text += fmt::format("- `{}`: {:.2f} us {} (p10 {:.2f}, p90 {:.2f}, {} samples), {:.0f} GB/s",
                        workload.name, timing.time_us_median, timing.is_modelled ? "modelled" : "measured",
                        timing.time_us_p10, timing.time_us_p90, timing.samples, share.gb_per_s);
    if (share.of_memory > 0) text += fmt::format(", {:.0f} % of the copy bandwidth", 100 * share.of_memory);
    text += fmt::format(", {:.1f} TFLOP/s\n", share.tflop_per_s);
  }
  return text;
}

}  // namespace kernelites
