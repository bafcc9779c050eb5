// SPDX-License-Identifier: Apache-2.0
// Points to texts and back, and replies from the table.
#include "tests/support/landscapes/landscape_world.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <numbers>

#include "engine/core/digest.h"

namespace kernelites {
namespace {

constexpr std::string_view k_ends = "// ends: ";

Examination examination_of(const Landscape& landscape, const Candidate& candidate) {
  Examination result;
  const std::optional<std::size_t> named = named_point(landscape, candidate.source);
  if (!named) {
    result.verdict = Verdict::failed("compile", "compile_error", "this is no candidate of the landscape");
    return result;
  }
  if (const std::size_t at = candidate.source.find(k_ends); at != std::string::npos) {
    const std::size_t begin = at + k_ends.size(), space = candidate.source.find(' ', begin);
    result.verdict =
        Verdict::failed(candidate.source.substr(begin, space - begin),
                        candidate.source.substr(space + 1, candidate.source.find('\n', begin) - space - 1),
                        "the candidate is broken");
    return result;
  }
  const LandscapePoint& point = landscape.points[*named];
  result.verdict =
      point.is_passed() ? Verdict::passed() : Verdict::failed(point.stage, point.reason, "as measured");
  result.descriptors = point.descriptors;
  result.counts = point.counts;
  result.kernels = {{.kernel = "k",
                     .registers = static_cast<int>(point.facts.at("registers")),
                     .static_shared_bytes = static_cast<int>(point.facts.at("shared_bytes")),
                     .code_bytes = static_cast<int>(point.facts.at("code_bytes"))}};
  const std::size_t owner = point.is_passed() ? point.twin : *named;
  result.code_digest = digest_parts({landscape.name, std::to_string(owner)});
  return result;
}

/// A draw from the normal distribution (Box and Muller).
double normal(Rng& rng) {
  const double radius = std::sqrt(-2 * std::log(1 - rng.uniform()));
  return radius * std::cos(2 * std::numbers::pi * rng.uniform());
}

Duel duel_of(const Landscape& landscape, double noise, const Request& request) {
  std::vector<std::string> labels;
  std::vector<std::size_t> points;
  for (const DuelArm& arm : request.duel->arms) {
    labels.push_back(arm.label);
    // A text that is no candidate has no times, as a point that failed.
    points.push_back(named_point(landscape, arm.candidate.source).value_or(landscape.points.size()));
  }
  return landscape_duel(landscape, noise, {labels, points, request.duel->rounds, request.duel->confidence},
                        request.id);
}

}  // namespace

Duel landscape_duel(const Landscape& landscape, double noise, const LandscapeArms& arms,
                    std::string_view id) {
  Duel duel{.arms = arms.labels};
  for (const std::size_t point : arms.points) {
    if (point < landscape.points.size() && landscape.points[point].is_passed()) continue;
    duel.verdict = Verdict::failed("time", "arm_unusable", "an arm has no times");
    return duel;
  }
  // The median of |difference of two normal draws| is 0.6745 * sqrt(2) of their deviation.
  const double deviation = noise / (0.6745 * std::numbers::sqrt2);
  for (std::size_t w = 0; w < landscape.workloads.size(); ++w) {
    Rng rng = Rng::keyed(w, 0, id);
    std::vector<ArmTiming>& timing = duel.timing[landscape.workloads[w]];
    std::vector<PairedRatio>& ratios = duel.ratio[landscape.workloads[w]];
    for (const std::size_t point : arms.points) {
      const double time = landscape.points[point].time_us[w] * std::exp(deviation * normal(rng));
      timing.push_back({.time_us_median = time,
                        .time_us_p10 = time * std::exp(-deviation),
                        .time_us_p90 = time * std::exp(deviation),
                        .samples = arms.rounds});
      if (timing.size() == 1) continue;
      const double ratio = std::log(timing.front().time_us_median / time);
      ratios.push_back({.log_ratio_median = ratio,
                        .log_ratio_low = ratio - 3 * deviation,
                        .log_ratio_high = ratio + 3 * deviation,
                        .confidence = arms.confidence,
                        .rounds = arms.rounds});
    }
  }
  duel.verdict = Verdict::passed();
  return duel;
}

std::string landscape_source(const Landscape& landscape, const ScriptedEdit& edit, std::string_view id) {
  std::string text = fmt::format("// landscape: {} {}\n", landscape.name, edit.point);
  if (edit.kind == EditKind::broken || edit.kind == EditKind::cheat)
    text += fmt::format("{}{} {}\n", k_ends, edit.verdict.stage, edit.verdict.reason);
  return text + fmt::format("// edit: {}\n__global__ void k() {{}}\n", id);
}

std::optional<std::size_t> named_point(const Landscape& landscape, std::string_view text) {
  const std::string mark = fmt::format("// landscape: {} ", landscape.name);
  const std::size_t at = text.find(mark);
  if (at == std::string_view::npos) return std::nullopt;
  std::size_t point = 0;
  const char* const begin = text.data() + at + mark.size();
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), point);
  if (error != std::errc() || point >= landscape.points.size()) return std::nullopt;
  return point;
}

ModelReply scripted_reply(const Landscape& landscape, const EditRates& rates, std::uint64_t seed,
                          const ModelRequest& request) {
  ModelReply reply{
      .id = request.id, .text = "I am not sure what to change.", .finish = "stop", .model = "scripted"};
  reply.cost = estimated_cost(request, reply.text);
  if (request.messages.empty()) return reply;
  const std::optional<std::size_t> parent = named_point(landscape, request.messages.back().text);
  if (!parent) return reply;
  Rng rng = Rng::keyed(seed, 0, request.id);
  const ScriptedEdit edit = scripted_edit(landscape, *parent, rates, rng);
  if (edit.kind == EditKind::no_code) return reply;
  reply.text =
      fmt::format("SUMMARY: another try\n```cuda\n{}```\n", landscape_source(landscape, edit, request.id));
  return reply;
}

Reply landscape_reply(const Landscape& landscape, double noise, const Request& request,
                      const Provenance& provenance) {
  Reply reply{.id = request.id, .provenance = provenance, .worker_s = 0.5, .device_s = 0.25};
  if (request.examine) {
    reply.examination = examination_of(landscape, request.examine->candidate);
    if (!request.examine->last_stage.empty() && reply.examination->verdict.is_passed)
      reply.examination->verdict =
          Verdict::failed(request.examine->last_stage, "stopped_as_asked", "as asked");
  } else if (request.duel) {
    reply.duel = duel_of(landscape, noise, request);
  } else {
    reply.error = "a landscape examines and duels";
  }
  return reply;
}

}  // namespace kernelites
