// SPDX-License-Identifier: Apache-2.0
// Ask: the variations under way, from the choice of parents to a recorded candidate or rejection.
#include "engine/search/open_variations.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"
#include "engine/search/placement.h"
#include "engine/search/specimens.h"
#include "engine/variation/operator_table.h"
#include "engine/variation/tuning.h"

namespace kernelites {
namespace {

constexpr int k_failures_shown = 3;
constexpr int k_rejections_shown = 3;
constexpr int k_rejections_searched = 4096;

std::int64_t prompt_tokens(const ModelRequest& request) {
  std::size_t bytes = 0;
  for (const ChatMessage& message : request.messages) bytes += message.text.size();
  return static_cast<std::int64_t>(bytes / 4);
}

Json messages_json(const std::vector<ChatMessage>& messages) {
  Json json = Json::array();
  for (const ChatMessage& message : messages)
    json.push_back({{"role", message.role}, {"text", message.text}});
  return json;
}

std::vector<ChatMessage> messages_from(const Json& json) {
  std::vector<ChatMessage> messages;
  for (const Json& message : json)
    messages.push_back({message.at("role").get<std::string>(), message.at("text").get<std::string>()});
  return messages;
}

ModelReply reply_from(const ModelCallRecord& call) {
  ModelReply reply;
  reply.id = call.request_id;
  reply.text = call.reply;
  reply.model = call.model;
  reply.failure = call.failure;
  reply.message = call.message;
  return reply;
}

}  // namespace

void OpenVariations::resume(const std::string& baseline_id) {
  for (const RejectionRecord& rejection : parts_.archive.rejections()) rejected_.push_back(rejection.ordinal);
  for (const VariationRecord& record : parts_.archive.open_variations()) {
    if (record.operator_name == "seed") continue;  // recorded together with its candidate by the loop
    Open& one = open(record, baseline_id);
    if (!parts_.config.is_deterministic || find_operator(record.operator_name)->needs_model) start(one);
  }
}

bool OpenVariations::ask(const Grid& grid, const std::string& baseline_id, bool has_model) {
  const std::uint64_t ordinal = parts_.archive.next_ordinal();
  const auto selection = select(grid, {has_model, tunable_elites(grid)}, parts_.config,
                                Rng::keyed(parts_.config.seed, ordinal, "select"));
  if (!selection) return false;

  const auto parent = parts_.archive.find_candidate(selection->parent.candidate_id);
  KERNELITES_ASSERT(parent.has_value());
  VariationRecord record;
  record.ordinal = ordinal;
  record.generation = parent->generation + 1;
  record.operator_name = selection->operator_name;
  const bool needs_model = find_operator(record.operator_name)->needs_model;
  if (needs_model) record.endpoint = parts_.endpoint->name();
  record.parents = {parent->id};
  for (const Elite& elite : selection->inspirations) record.inspirations.push_back(elite.candidate_id);
  Json failures = Json::array();
  Json rejections = Json::array();
  if (needs_model) {
    for (const EvaluatedCandidate& failure : parts_.archive.recent_failures(parent->id, k_failures_shown))
      failures.push_back(failure.record.ordinal);
    for (const RejectionRecord& rejection : parts_.archive.recent_rejections(parent->id, k_rejections_shown))
      rejections.push_back(rejection.ordinal);
  }
  record.decision = {{"failures", failures}, {"rejections", rejections}};
  record.created_unix_s = announcer_.now_unix_s();
  parts_.archive.record_variation(record);
  announcer_.announce({{"event", "asked"},
                       {"ordinal", ordinal},
                       {"operator", record.operator_name},
                       {"generation", record.generation},
                       {"parent", parent->ordinal},
                       {"cell", selection->parent.cell}});
  Open& one = open(std::move(record), baseline_id);
  if (!parts_.config.is_deterministic || needs_model) start(one);
  return true;
}

void OpenVariations::on_reply(ModelReply reply) {
  const auto call = call_of_.find(reply.id);
  if (call == call_of_.end()) return;  // the end of a call that was given up
  const std::uint64_t ordinal = call->second.ordinal;
  call_of_.erase(call);
  const bool is_new =
      parts_.archive.record_model_reply({.request_id = reply.id,
                                         .ordinal = ordinal,
                                         .model = reply.model,
                                         .reply = reply.text,
                                         .input_tokens = reply.usage.input_tokens,
                                         .cached_input_tokens = reply.usage.cached_input_tokens,
                                         .output_tokens = reply.usage.output_tokens,
                                         .usd = reply.usage.usd,
                                         .is_estimated = reply.usage.is_estimated,
                                         .latency_s = reply.latency_s,
                                         .failure = reply.failure,
                                         .message = reply.message});
  if (!is_new) return;
  announcer_.announce({{"event", "answered"},
                       {"ordinal", ordinal},
                       {"request_id", reply.id},
                       {"model", reply.model},
                       {"failure", reply.failure},
                       {"input_tokens", reply.usage.input_tokens},
                       {"output_tokens", reply.usage.output_tokens},
                       {"usd", reply.usage.usd},
                       {"latency_s", reply.latency_s}});
  advance(open_.at(ordinal), ModelAnswered{std::move(reply)});
}

std::vector<CandidateRecord> OpenVariations::settle(std::uint64_t completed) {
  std::vector<CandidateRecord> admitted;
  bool are_earlier_settled = true;
  for (auto at = open_.begin(); at != open_.end();) {
    Open& one = at->second;
    if (one.held_back) send(one);
    const bool may_go_on = !parts_.config.is_deterministic || are_earlier_settled;
    if (!one.is_started && may_go_on) start(one);
    if (auto* proposal = std::get_if<Proposal>(&one.end); proposal != nullptr && may_go_on) {
      if (submit(one, *proposal, admitted)) {
        at = open_.erase(at);
        continue;
      }
      one.end = Rejection{"duplicate", "the candidate is one that was evaluated before"};
    }
    if (std::holds_alternative<std::monostate>(one.end)) are_earlier_settled = false;
    const auto* rejection = std::get_if<Rejection>(&one.end);
    const bool is_its_turn =
        !parts_.config.is_deterministic || (admitted.empty() && one.record.ordinal == completed + 1);
    if (rejection != nullptr && is_its_turn) {
      reject(one, *rejection);
      at = open_.erase(at);
      if (parts_.config.is_deterministic)
        break;  // one completion at a time: the caller may have to ask in between
      continue;
    }
    ++at;
  }
  return admitted;
}

std::optional<std::uint64_t> OpenVariations::first() const {
  if (open_.empty()) return std::nullopt;
  return open_.begin()->first;
}

bool OpenVariations::has_held_back() const {
  for (const auto& [ordinal, one] : open_)
    if (one.held_back) return true;
  return false;
}

int OpenVariations::rejections_after(std::uint64_t ordinal) const {
  return static_cast<int>(std::count_if(rejected_.begin(), rejected_.end(),
                                        [&](std::uint64_t rejected) { return rejected > ordinal; }));
}

Reserved OpenVariations::reserved() const {
  Reserved reserved{.candidates = static_cast<std::int64_t>(open_.size())};
  for (const auto& [id, call] : call_of_) {
    reserved.tokens += call.tokens_max;
    reserved.usd += call.usd_max;
  }
  return reserved;
}

VariationInput OpenVariations::input_for(const VariationRecord& record,
                                         const std::string& baseline_id) const {
  const auto weights = workload_weights(parts_.task);
  VariationInput input{.task = parts_.task};
  input.device = parts_.evaluator.provenance().device;
  input.parent = specimen_of(parts_.archive, record.parents.at(0), baseline_id, weights);
  for (const std::string& id : record.inspirations)
    input.inspirations.push_back(specimen_of(parts_.archive, id, baseline_id, weights));
  for (const Json& ordinal : record.decision.value("failures", Json::array()))
    if (const auto failure = parts_.archive.evaluated(ordinal.get<std::uint64_t>()))
      input.failures.push_back(specimen_of(*failure, baseline_id, weights));
  const Json wanted = record.decision.value("rejections", Json::array());
  if (!wanted.empty()) {
    std::map<std::uint64_t, std::string> message_of;
    for (const RejectionRecord& rejection : parts_.archive.rejections())
      message_of[rejection.ordinal] = rejection.message;
    for (const Json& ordinal : wanted) input.rejections.push_back(message_of[ordinal.get<std::uint64_t>()]);
  }
  input.is_known = [this](const Candidate& candidate) { return is_known(candidate); };
  return input;
}

/// Recorded, or proposed by a variation that is about to be.
bool OpenVariations::is_known(const Candidate& candidate) const {
  const std::string id = candidate_id(with_full_tuning(candidate));
  for (const auto& [ordinal, one] : open_) {
    const auto* proposal = std::get_if<Proposal>(&one.end);
    if (proposal != nullptr && candidate_id(with_full_tuning(proposal->candidate)) == id) return true;
  }
  return parts_.archive.find_candidate(id).has_value();
}

std::vector<std::string> OpenVariations::tunable_elites(const Grid& grid) const {
  std::vector<std::string> ids;
  for (const Elite& elite : grid.elites()) {
    const auto record = parts_.archive.find_candidate(elite.candidate_id);
    if (!record || parse_tunables(record->candidate.source).empty()) continue;
    bool is_exhausted = false;
    for (const RejectionRecord& rejection :
         parts_.archive.recent_rejections(elite.candidate_id, k_rejections_searched))
      is_exhausted = is_exhausted || rejection.reason == "tune_exhausted";
    if (!is_exhausted) ids.push_back(elite.candidate_id);
  }
  return ids;
}

OpenVariations::Open& OpenVariations::open(VariationRecord record, const std::string& baseline_id) {
  const OperatorRow* row = find_operator(record.operator_name);
  if (row == nullptr)
    throw Error(fmt::format("variation {}: there is no operator {}", record.ordinal, record.operator_name));
  const std::uint64_t ordinal = record.ordinal;
  Open one;
  one.worker = row->make(input_for(record, baseline_id), parts_.prompts,
                         Rng::keyed(parts_.config.seed, ordinal, "operator"));
  one.record = std::move(record);
  return open_.emplace(ordinal, std::move(one)).first->second;
}

void OpenVariations::start(Open& one) {
  one.is_started = true;
  advance(one, Started{});
}

void OpenVariations::advance(Open& one, Observation observation) {
  // Bounded: an operator has a limit of calls, and every turn but the last is a call whose reply was recorded before.
  for (std::optional<Observation> next = std::move(observation); next;) {
    Action action = one.worker->next(*next);
    next.reset();
    if (auto* wanted = std::get_if<CallModel>(&action)) {
      next = call(one, std::move(wanted->request));
    } else if (auto* submitted = std::get_if<Submit>(&action)) {
      one.end = std::move(submitted->proposal);
    } else if (auto* given_up = std::get_if<GiveUp>(&action)) {
      one.end = std::move(given_up->rejection);
    } else {
      throw Error(fmt::format("operator {} wants an inner evaluation, which this loop does not offer",
                              one.record.operator_name));
    }
  }
}

/// The reply at once if the archive has it; else the call is made or waits for the budget.
std::optional<Observation> OpenVariations::call(Open& one, ModelRequest request) {
  request.ordinal = one.record.ordinal;
  request.id = fmt::format("{}-{}", one.record.ordinal, one.calls++);
  one.prompt_digest = prompt_digest(request);
  for (const ModelCallRecord& known : parts_.archive.model_calls(one.record.ordinal)) {
    if (known.request_id != request.id) continue;
    if (known.state != "sent") return ModelAnswered{reply_from(known)};
    request.messages =
        messages_from(known.prompt);  // as it was sent, should a prompt file have changed since
    one.prompt_digest = prompt_digest(request);
  }
  one.held_back = std::move(request);
  send(one);
  return std::nullopt;
}

void OpenVariations::send(Open& one) {
  if (parts_.endpoint == nullptr) {  // the run was started with one and goes on without
    one.held_back.reset();
    one.end = Rejection{"no_endpoint", "the run went on without a model"};
    return;
  }
  ModelRequest request = *one.held_back;
  const Call call{.ordinal = request.ordinal,
                  .tokens_max = prompt_tokens(request) + request.output_tokens_max,
                  .usd_max = parts_.endpoint->usd_max(request)};
  if (call_of_.size() >= parts_.endpoint->capacity()) return;
  if (!can_call(parts_.config.budget, parts_.archive.spent(), reserved(), call.tokens_max, call.usd_max))
    return;
  one.held_back.reset();
  bool is_recorded = false;
  for (const ModelCallRecord& known : parts_.archive.model_calls(request.ordinal))
    is_recorded = is_recorded || known.request_id == request.id;
  if (!is_recorded)
    parts_.archive.record_model_call({.request_id = request.id,
                                      .ordinal = request.ordinal,
                                      .attempt = one.calls,
                                      .endpoint = parts_.endpoint->name(),
                                      .prompt_digest = one.prompt_digest,
                                      .prompt = messages_json(request.messages),
                                      .sent_unix_s = announcer_.now_unix_s()});
  call_of_[request.id] = call;
  parts_.endpoint->submit(std::move(request));
}

bool OpenVariations::submit(const Open& one, const Proposal& proposal,
                            std::vector<CandidateRecord>& admitted) {
  CandidateRecord record;
  record.ordinal = one.record.ordinal;
  record.variation = one.record.ordinal;
  record.candidate = with_full_tuning(proposal.candidate);
  record.id = candidate_id(record.candidate);
  record.summary = proposal.summary;
  record.prompt_digest = one.prompt_digest;
  record.created_unix_s = announcer_.now_unix_s();
  if (!parts_.archive.record_candidate(record)) return false;
  record.generation = one.record.generation;
  record.operator_name = one.record.operator_name;
  record.endpoint = one.record.endpoint;
  record.parents = one.record.parents;
  announcer_.announce(
      {{"event", "submitted"}, {"ordinal", record.ordinal}, {"id", record.id}, {"summary", record.summary}});
  admitted.push_back(std::move(record));
  return true;
}

void OpenVariations::reject(const Open& one, const Rejection& rejection) {
  parts_.archive.record_rejection({one.record.ordinal, rejection.reason, rejection.message});
  rejected_.push_back(one.record.ordinal);
  last_rejection_ = fmt::format("{}: {}", rejection.reason, rejection.message);
  announcer_.announce({{"event", "rejected"},
                       {"ordinal", one.record.ordinal},
                       {"operator", one.record.operator_name},
                       {"reason", rejection.reason},
                       {"message", rejection.message}});
}

}  // namespace kernelites
