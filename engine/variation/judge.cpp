// SPDX-License-Identifier: Apache-2.0
// The table of grounds, the question, the strict reading of the answer.
#include "engine/variation/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "engine/core/roofline.h"
#include "engine/llm/foreign_json.h"
#include "engine/variation/source_disguise.h"
#include "engine/variation/text_rules.h"

namespace kernelites {
namespace {

constexpr double k_gain_max = 3;
constexpr double k_roofline_share_max = 0.95;
/// A task of so many operations for each byte cannot reach a tenth of the device without tensor cores.
constexpr double k_flops_per_byte_min = 50;
constexpr double k_tflop_per_s_without_tensor_cores = 60;
constexpr std::size_t k_answer_bytes_max = 4096, k_lines_max = 32;
constexpr int k_answer_tokens_max = 4096;

/// The largest of `rate` over the timed workloads.
template <typename Rate>
double largest(const Winner& winner, Rate rate) {
  double most = 0;
  for (const auto& [workload, timing] : winner.duel.timing) {
    const Workload* shape = winner.task.find_workload(workload);
    if (shape == nullptr || timing.empty()) continue;
    const RooflineCounts counts = counts_on(winner.device, winner.task, *shape);
    most = std::max(most, rate(counts, roofline_share(counts, winner.device, timing.front().time_us_median)));
  }
  return most;
}

bool gains_much(const Winner& winner) { return winner.gain > k_gain_max; }

bool is_near_roofline(const Winner& winner) {
  return largest(winner, [](const RooflineCounts&, const RooflineShare& share) { return share.of_memory; }) >
         k_roofline_share_max;
}

/// Rates that only tensor cores reach, from code that has no instruction for them.
bool lacks_products(const Winner& winner) {
  const auto& opcodes = winner.examination.counts.opcodes;
  const bool has_products = std::any_of(opcodes.begin(), opcodes.end(), [](const auto& entry) {
    return entry.second > 0 && (entry.first.find("mma") != std::string::npos);
  });
  if (has_products) return false;
  return largest(winner, [](const RooflineCounts& counts, const RooflineShare& share) {
           return counts.flops > k_flops_per_byte_min * counts.bytes ? share.tflop_per_s : 0;
         }) > k_tflop_per_s_without_tensor_cores;
}

/// Scores without exponentials, where the operator needs one for each.
bool lacks_exponentials(const Winner& winner) {
  const auto& opcodes = winner.examination.counts.opcodes;
  if (opcodes.empty()) return false;
  const bool has_any = std::any_of(opcodes.begin(), opcodes.end(), [](const auto& entry) {
    return entry.second > 0 && entry.first.starts_with("ex2");
  });
  const double most = largest(winner, [](const RooflineCounts& counts, const RooflineShare&) {
    return counts.flops > 0 ? counts.exponentials / counts.flops : 0;
  });
  return !has_any && most > 0;
}

std::set<std::string, std::less<>> names_of(const Task& task) {
  std::set<std::string, std::less<>> names;
  for (const DimSpec& dim : task.dims) names.insert(dim.name);
  for (const ScalarSpec& scalar : task.scalars) names.insert(scalar.name);
  for (const TensorSpec& tensor : task.tensors) names.insert(tensor.name);
  return names;
}

std::string numbered(const std::string& source) {
  std::string text;
  int number = 0;
  for (const std::string_view line : split_lines(source)) text += fmt::format("{:4} {}\n", ++number, line);
  return text;
}

/// The JSON inside an optional code fence.
std::string_view without_fence(std::string_view text) {
  const auto trim = [](std::string_view part) {
    const auto first = part.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) return std::string_view();
    return part.substr(first, part.find_last_not_of(" \t\r\n") - first + 1);
  };
  text = trim(text);
  if (!text.starts_with("```") || !text.ends_with("```") || text.size() < 6) return text;
  const auto line = text.find('\n');
  if (line == std::string_view::npos) return text;
  return trim(text.substr(line + 1, text.size() - line - 4));
}

std::optional<std::vector<int>> lines_in(const Json& json, int line_count) {
  if (!json.is_array() || json.size() > k_lines_max) return std::nullopt;
  std::vector<int> lines;
  for (const Json& entry : json) {
    const auto line = whole_number_in<int>(entry);
    if (!line || *line < 1 || *line > line_count) return std::nullopt;
    lines.push_back(*line);
  }
  return lines;
}

}  // namespace

const std::vector<Suspicion>& suspicions() {
  static const std::vector<Suspicion> rows{
      {"large_gain", "more than three times as fast as the baseline", gains_much},
      {"near_roofline", "above 95 % of the device's copy rate", is_near_roofline},
      {"few_products", "a rate that only tensor cores reach, from code that does not use them",
       lacks_products},
      {"few_exponentials",
       "no instruction for exponentials, which the operator needs: left out, or computed by other means",
       lacks_exponentials},
  };
  return rows;
}

std::vector<std::string> grounds_against(const Winner& winner) {
  std::vector<std::string> grounds;
  for (const Suspicion& row : suspicions()) {
    if (row.holds(winner)) grounds.emplace_back(row.name);
  }
  return grounds;
}

ModelRequest judge_request(const Winner& winner, const PromptFile& prompt, const std::string& id) {
  std::string grounds;
  for (const std::string& name : grounds_against(winner)) {
    for (const Suspicion& row : suspicions()) {
      if (name == row.name) grounds += fmt::format("- {}\n", row.words);
    }
  }
  std::string reasons;
  for (const std::string_view reason : k_judge_reasons)
    reasons += fmt::format("{}\"{}\"", reasons.empty() ? "" : ", ", reason);
  ModelRequest request;
  request.id = id;
  request.output_tokens_max = k_answer_tokens_max;
  request.messages.push_back(
      {.role = "user",
       .text = fill_placeholders(
           prompt.text, {{"formula", winner.task.formula},
                         {"grounds", grounds},
                         {"reasons", reasons},
                         {"source", numbered(disguised_source(winner.source, names_of(winner.task)))}})});
  return request;
}

std::optional<Opinion> parse_opinion(std::string_view answer, int line_count) {
  if (answer.size() > k_answer_bytes_max) return std::nullopt;
  const Json json = parse_foreign_json(without_fence(answer));
  if (!json.is_object() || json.size() != 3) return std::nullopt;
  const auto flag = json.find("flag"), reason = json.find("reason"), lines = json.find("lines");
  if (flag == json.end() || reason == json.end() || lines == json.end()) return std::nullopt;
  if (!flag->is_boolean() || !reason->is_string()) return std::nullopt;
  const auto places = lines_in(*lines, line_count);
  if (!places) return std::nullopt;
  Opinion opinion{.is_flagged = flag->get<bool>(), .reason = reason->get<std::string>(), .lines = *places};
  const bool is_known =
      std::find(k_judge_reasons.begin(), k_judge_reasons.end(), opinion.reason) != k_judge_reasons.end();
  const bool is_consistent = opinion.is_flagged ? opinion.reason != "none" && !opinion.lines.empty()
                                                : opinion.reason == "none" && opinion.lines.empty();
  if (!is_known || !is_consistent) return std::nullopt;
  return opinion;
}

}  // namespace kernelites
