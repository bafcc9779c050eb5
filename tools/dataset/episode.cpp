// SPDX-License-Identifier: Apache-2.0
// Resets and steps.
#include "tools/dataset/episode.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/core/error.h"
#include "engine/search/measured_change.h"
#include "engine/search/model_calls.h"
#include "engine/search/placement.h"
#include "engine/variation/feedback_table.h"
#include "engine/variation/operator_prompt.h"
#include "engine/variation/prompt_values.h"
#include "engine/variation/reply_parser.h"
#include "engine/variation/tuning.h"

namespace kernelites {
namespace {

constexpr std::size_t k_failures_kept = 3;
constexpr const char* k_where = "request";

/// No reply came: the attempt counts for nothing.
struct NoReply {
  std::string why;
};

Json candidate_json(const Specimen& specimen) {
  return {{"id", specimen.id}, {"source", specimen.candidate.source}, {"tuning", specimen.candidate.tuning}};
}

template <typename T>
void keep_newest(std::vector<T>& list, T item) {
  list.insert(list.begin(), std::move(item));
  if (list.size() > k_failures_kept) list.pop_back();
}

}  // namespace

Episodes::Episodes(EpisodeSettings settings, Ask ask)
    : settings_(std::move(settings)), ask_(std::move(ask)), weights_(workload_weights(settings_.task)) {
  if (!settings_.draw_key) settings_.draw_key = Key::random;
  KERNELITES_ASSERT(!settings_.seeds.empty());
}

Json Episodes::answer(const std::string& line) {
  Json id;
  Json answer;
  try {
    if (line.size() > k_episode_line_bytes_max)
      throw ConfigError(k_where, "", fmt::format("a line has at most {} bytes", k_episode_line_bytes_max));
    const Json request = parse_json(line, k_where);
    if (!request.is_object()) throw ConfigError(k_where, "", "expected an object with a \"command\"");
    if (request.contains("id") && request.at("id").is_primitive()) id = request.at("id");
    answer = handle(request);
  } catch (const NoReply& lost) {
    answer = {{"event", "error"}, {"is_request_wrong", false}, {"error", lost.why}};
  } catch (const ConfigError& error) {
    answer = {{"event", "error"}, {"is_request_wrong", true}, {"error", error.what()}};
  } catch (const Error& error) {
    answer = {{"event", "error"}, {"is_request_wrong", false}, {"error", error.what()}};
  }
  if (!id.is_null()) answer["id"] = id;
  return answer;
}

Json Episodes::handle(const Json& request) {
  ObjectReader reader(request, k_where);
  const std::string command = reader.required<std::string>("command");
  if (command == "reset") return reset(request);
  if (command == "step") return step(request);
  if (command != "close") throw ConfigError(k_where, "command", "expected reset, step or close");
  is_closed_ = true;
  return {{"event", "closed"}, {"episodes", episodes_}};
}

Candidate Episodes::start_of(const Json& request) const {
  ObjectReader reader(request, k_where);
  reader.required<std::string>("command");
  if (reader.has("id")) reader.member("id");
  const std::string source = reader.optional<std::string>("source", "");
  const std::string seed = reader.optional<std::string>("seed", "");
  reader.finish();
  if (source.size() > k_source_bytes_max)
    throw ConfigError(k_where, "source", fmt::format("expected at most {} bytes", k_source_bytes_max));
  if (!source.empty()) return with_full_tuning({source, {}});
  std::string known;
  for (const Seed& one : settings_.seeds) {
    if (seed.empty() || seed == one.name) return one.candidate;
    known += (known.empty() ? "" : ", ") + one.name;
  }
  throw ConfigError(k_where, "seed", "expected one of " + known);
}

Json Episodes::reset(const Json& request) {
  const Candidate start = start_of(request);
  model_key_ = settings_.draw_key();
  Tried tried = evaluate(start, nullptr);
  if (!tried.specimen.verdict.is_passed)
    throw ConfigError(
        k_where, "source",
        "an episode begins with a kernel that passes: " + describe_verdict(tried.specimen.verdict));
  tried.specimen.speedup = 1;
  episode_ = Episode{.number = ++episodes_,
                     .step = 0,
                     .start = tried.specimen,
                     .parent = tried.specimen,
                     .failures = {},
                     .rejections = {},
                     .known = {tried.specimen.id},
                     .is_done = false};
  Json answer{{"event", "reset"}, {"episode", episodes_}, {"step", 0}, {"steps_max", settings_.steps_max}};
  answer["task"] = {
      {"name", settings_.task.name}, {"digest", settings_.task.digest}, {"family", settings_.task.family}};
  answer["device"] = {{"kind", settings_.device.kind},
                      {"architecture", settings_.device.architecture},
                      {"is_virtual", settings_.device.is_virtual}};
  answer["reward_formula"] = k_reward_formula;
  answer["observation"] = observation();
  return answer;
}

std::variant<Proposal, Rejection> Episodes::proposal_of(const Json& request) const {
  ObjectReader reader(request, k_where);
  reader.required<std::string>("command");
  if (reader.has("id")) reader.member("id");
  const std::string source = reader.optional<std::string>("source", "");
  const std::string reply = reader.optional<std::string>("reply", "");
  reader.finish();
  if (reader.has("source") == reader.has("reply"))
    throw ConfigError(k_where, "source",
                      "expected either \"source\" (a whole file) or \"reply\" (a model's text)");
  if (reader.has("source") && source.size() > k_source_bytes_max)
    return Rejection{"too_long", fmt::format("the file has more than {} bytes", k_source_bytes_max)};
  if (reader.has("source")) return Proposal{.candidate = {source, {}}, .summary = ""};
  return parse_reply(reply, episode_->parent.candidate);
}

namespace {

/// Without the line of what has none.
Json verdict_json(const Verdict& verdict) {
  Json json = verdict;
  if (json.contains("diagnostics"))
    for (Json& diagnostic : json["diagnostics"])
      if (diagnostic.value("line", 0) == 0) diagnostic.erase("line");
  return json;
}

}  // namespace

Json Episodes::step(const Json& request) {
  if (!episode_ || episode_->is_done)
    throw ConfigError(k_where, "command",
                      episode_ ? "the episode is over: reset" : "expected reset before the first step");
  auto proposed = proposal_of(request);
  if (auto* proposal = std::get_if<Proposal>(&proposed)) {
    proposal->candidate = with_full_tuning(std::move(proposal->candidate));
    if (episode_->known.contains(candidate_id(proposal->candidate)))
      proposed = Rejection{"duplicate", "the candidate is one that was evaluated before"};
  }
  Json answer{{"event", "step"}, {"episode", episode_->number}};
  answer["child"] = answer["rejection"] = answer["verdict"] = answer["gain"] = answer["gain_over_start"] =
      Json();
  if (const auto* rejection = std::get_if<Rejection>(&proposed)) {
    answer["rejection"] = {{"reason", rejection->reason}, {"message", rejection->message}};
    answer["feedback"] = rejection->message;
    answer["reward"] = step_reward(nullptr, {});
    keep_newest(episode_->rejections, rejection->message);
  } else {
    const Tried tried = evaluate(std::get<Proposal>(proposed).candidate,
                                 &*episode_);  // may find no worker: nothing has changed yet
    answer["child"] = candidate_json(tried.specimen);
    answer["verdict"] = verdict_json(tried.specimen.verdict);
    if (tried.over_parent) answer["gain"] = *tried.over_parent;
    if (tried.over_start) answer["gain_over_start"] = *tried.over_start;
    answer["feedback"] = describe_verdict(tried.specimen.verdict) + "\n" +
                         feedback_text(settings_.task, settings_.device, tried.specimen);
    answer["reward"] = step_reward(&tried.specimen.verdict, tried.over_parent);
    take(tried);
  }
  episode_->is_done = ++episode_->step >= settings_.steps_max;
  answer["step"] = episode_->step;
  answer["done"] = episode_->is_done;
  answer["observation"] = episode_->is_done ? Json() : observation();
  return answer;
}

/// A child that is proven faster is what the next step starts from.
void Episodes::take(const Tried& tried) {
  episode_->known.insert(tried.specimen.id);
  if (!tried.specimen.verdict.is_passed) return keep_newest(episode_->failures, tried.specimen);
  if (!tried.over_parent || tried.over_parent->low <= 0) return;
  episode_->parent = tried.specimen;
  episode_->parent.speedup = tried.over_start ? std::exp(tried.over_start->log_gain) : 0;
  episode_->failures.clear();
  episode_->rejections.clear();
}

Request Episodes::request(double deadline_s) {
  Request request;
  request.id = fmt::format("env-{}", ++requests_);
  request.device = settings_.device.is_virtual ? "vgpu" : "gpu";
  request.task_document = settings_.task.document;
  request.reference_source = settings_.task.reference_source;
  request.deadline_s = deadline_s;
  return request;
}

Episodes::Tried Episodes::evaluate(const Candidate& candidate, const Episode* against) {
  Tried tried;
  tried.specimen = {.id = candidate_id(candidate),
                    .candidate = candidate,
                    .operator_name = settings_.operator_name,
                    .verdict = {},
                    .examination = {},
                    .duel = {}};
  Request asked = request(settings_.examine_deadline_s);
  asked.examine = ExamineRequest{.candidate = candidate, .key = settings_.draw_key()};
  const Reply reply = ask_(asked);
  if (!reply.examination) throw NoReply{reply.error.empty() ? "the worker sent no examination" : reply.error};
  tried.specimen.examination = *reply.examination;
  tried.specimen.verdict = reply.examination->verdict;
  if (tried.specimen.verdict.is_passed && settings_.is_timed) time(tried, against);
  return tried;
}

/// Against the parent and the start of the episode, where there are any.
void Episodes::time(Tried& tried, const Episode* against) {
  Request asked = request(settings_.duel_deadline_s);
  DuelRequest duel{.arms = {{"candidate", tried.specimen.candidate}},
                   .workloads = {},
                   .rounds = settings_.rounds,
                   .key = settings_.draw_key(),
                   .model_key = model_key_};
  for (const Workload& workload : settings_.task.bench) duel.workloads.push_back(workload.name);
  if (against != nullptr && tried.specimen.id != against->parent.id)
    duel.arms.push_back({against->parent.id, against->parent.candidate});
  if (against != nullptr && against->start.id != against->parent.id)
    duel.arms.push_back({against->start.id, against->start.candidate});
  asked.duel = std::move(duel);
  const Reply reply = ask_(asked);
  if (!reply.duel) throw NoReply{reply.error.empty() ? "the worker sent no duel" : reply.error};
  tried.specimen.duel = reply.duel;
  if (!reply.duel->verdict.is_passed) {
    tried.specimen.verdict = reply.duel->verdict;
    return;
  }
  if (against == nullptr) return;
  const ChangeEnd child{.specimen = tried.specimen, .duels = {{tried.specimen.id, *reply.duel}}};
  const auto gain_over = [&](const Specimen& other) -> std::optional<StepGain> {
    const auto ratio = change_ratio({.specimen = other, .duels = {}}, child, weights_);
    return ratio ? std::optional(gain_from(ratio->ratio, ratio->is_paired, settings_.device.is_virtual))
                 : std::nullopt;
  };
  tried.over_parent = gain_over(against->parent);
  tried.over_start = gain_over(against->start);
}

VariationInput Episodes::input() const {
  VariationInput input{.task = settings_.task};
  input.device = settings_.device;
  input.parent = episode_->parent;
  input.failures = episode_->failures;
  input.rejections = episode_->rejections;
  return input;
}

Json Episodes::observation() const {
  const OperatorPrompt prompt = render_operator(settings_.operator_name, input(), settings_.prompts);
  return {{"prompt", messages_json(prompt.messages)},
          {"parent", candidate_json(episode_->parent)},
          {"feedback", feedback_text(settings_.task, settings_.device, episode_->parent)}};
}

}  // namespace kernelites
