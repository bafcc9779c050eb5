// SPDX-License-Identifier: Apache-2.0
// Ask: the variations under way, from the choice of parents to a recorded candidate or rejection.
#include "engine/search/open_variations.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"
#include "engine/search/improvers.h"
#include "engine/search/placement.h"
#include "engine/search/target_cell.h"
#include "engine/variation/operator_table.h"
#include "engine/variation/tuning.h"

namespace kernelites {
namespace {

constexpr int k_repairable_max = 16;

}  // namespace

void OpenVariations::resume(const std::string& baseline_id) {
  baseline_id_ = baseline_id;
  for (const RejectionRecord& rejection : parts_.archive.rejections()) rejected_.push_back(rejection.ordinal);
  tunable_elites_.resume(parts_.archive);
  history_.read_rejections();
  count_all_children(pool_, parts_.archive);
  for (const VariationRecord& record : parts_.archive.open_variations()) {
    if (record.operator_name == "seed") continue;  // recorded together with its candidate by the loop
    Open& one = open(record, baseline_id);
    if (!one.is_started && may_start(one, 0, false)) start(one);
  }
}

/// The library does not change, and digesting all of it takes long.
const std::string& OpenVariations::prompt_version(const std::string& operator_name) {
  const auto [at, is_new] = prompt_versions_.try_emplace(operator_name);
  if (is_new) at->second = parts_.prompts.version(operator_name);
  return at->second;
}

/// What may be chosen for the variation `ordinal`; what steering adds is noted in its decision.
Choices OpenVariations::choices(const Grid& grid, const Steering& steering, std::uint64_t ordinal,
                                Json& decision) {
  std::map<std::string, double> operators = parts_.config.operators;
  for (const auto& [name, share] : steering.operators) operators[name] = share;
  Choices choices{.has_model = !parts_.endpoints.empty(),
                  .tunable_elites = tunable_elites_.of(grid, parts_.archive),
                  .failed = failed_candidates(operators),
                  .improvers = improvers(grid, operators)};
  choices.arms = arm_weights(operators, parts_.endpoints.names(), steering.endpoints,
                             [this](const std::string& name) { return prompt_version(name); });
  choices.arms = evolution_.versions().spread(choices.arms);
  choices.bandit = &history_.bandit();
  choices.pool = &pool_;
  choices.baseline_id = baseline_id_;
  Rng rng = Rng::keyed(parts_.config.seed, ordinal, "focus");
  if (!steering.focus_cells.empty() && rng.below(2) == 0)
    choices.target_cell = steering.focus_cells[rng.below(steering.focus_cells.size())];
  if (const Json steered = steering_json(steering); !steered.empty()) decision["steering"] = steered;
  if (!steering.hints.empty()) decision["hints"] = steering.hints;
  return choices;
}

void OpenVariations::look_back() { history_.catch_up(); }

bool OpenVariations::ask(const Grid& grid, const std::string& baseline_id, const Steering& steering) {
  const std::uint64_t ordinal = parts_.archive.next_ordinal();
  baseline_id_ = baseline_id;
  pool_told_ =
      admit_told(pool_, parts_.archive, pool_told_,
                 {.grid = grid, .baseline_id = baseline_id, .weights = workload_weights(parts_.task)});
  if (!parts_.endpoints.empty() && ask_for_prompt(ordinal, baseline_id)) return true;
  Json steered = Json::object();
  const auto selection = select(grid, choices(grid, steering, ordinal, steered), parts_.config,
                                Rng::keyed(parts_.config.seed, ordinal, "select"));
  if (!selection) return false;

  const Parents& parents = selection->parents;
  const auto parent = parts_.archive.find_candidate(parents.parent_id);
  KERNELITES_ASSERT(parent.has_value());
  VariationRecord record;
  record.ordinal = ordinal;
  record.generation = parent->generation + 1;
  record.operator_name = selection->operator_name;
  const bool needs_model = find_operator(record.operator_name)->needs_model;
  record.endpoint = selection->endpoint;
  record.parents = {parent->id};
  if (!parents.second_parent_id.empty()) record.parents.push_back(parents.second_parent_id);
  for (const Elite& elite : parents.inspirations) record.inspirations.push_back(elite.candidate_id);
  record.decision = needs_model ? feedback_decision(parts_.archive, parent->id)
                                : Json{{"failures", Json::array()}, {"rejections", Json::array()}};
  record.decision.update(steered);
  if (!parents.target_cell.empty()) record.decision["target_cell"] = parents.target_cell;
  if (record.operator_name == "tune") record.decision["told"] = parts_.archive.last_told();
  if (find_operator(record.operator_name)->wants_target_workload) aim(record, baseline_id);
  record.created_unix_s = announcer_.now_unix_s();
  record.prompt_version = selection->prompt_version;
  if (parts_.lessons && needs_model) record.decision["lessons_told"] = parts_.archive.last_told();
  evolution_.begun(record.operator_name);
  parts_.archive.record_variation(record);
  pool_.count_children(parent->id, needs_model);
  announcer_.announce({{"event", "asked"},
                       {"ordinal", ordinal},
                       {"operator", record.operator_name},
                       {"endpoint", record.endpoint},
                       {"generation", record.generation},
                       {"parent", parent->ordinal},
                       {"cell", parents.cell}});
  Open& one = open(std::move(record), baseline_id);
  if (may_start(one, 0, false)) start(one);
  return true;
}

/// Chooses the workload, and shows whoever is fastest there.
void OpenVariations::aim(VariationRecord& record, const std::string& baseline_id) const {
  const std::string workload = furthest_workload(parts_.archive, record.parents.front(), baseline_id);
  record.decision["target_workload"] = workload.empty() ? parts_.task.bench.front().name : workload;
  for (const Champion& champion : parts_.archive.champions())
    if (champion.workload == workload && champion.candidate_id != record.parents.front())
      record.parents.push_back(champion.candidate_id);
}

void OpenVariations::on_reply(ModelReply reply) {
  if (const auto ordinal = calls_.finish(reply)) advance(open_.at(*ordinal), ModelAnswered{std::move(reply)});
}

void OpenVariations::on_evaluated(std::uint64_t ordinal) {
  if (auto all = inside_.on_evaluated(source(), ordinal))
    advance(open_.at(all->first), std::move(all->second));
}

/// In a deterministic run only model calls may start ahead of their turn.
bool OpenVariations::may_start(const Open& one, std::uint64_t completed, bool are_earlier_settled) const {
  if (!parts_.config.is_deterministic) return true;
  const OperatorRow* row = find_operator(one.record.operator_name);
  if (row->evaluates_inside) return one.record.ordinal == completed + 1;
  return row->needs_model || are_earlier_settled;
}

std::vector<CandidateRecord> OpenVariations::settle(std::uint64_t completed) {
  std::vector<CandidateRecord> admitted;
  bool are_earlier_settled = true;
  for (auto at = open_.begin(); at != open_.end();) {
    Open& one = at->second;
    if (one.held_back) send(one);
    const bool may_go_on = !parts_.config.is_deterministic || are_earlier_settled;
    if (!one.is_started && may_start(one, completed, are_earlier_settled)) start(one);
    if (auto* proposal = std::get_if<Proposal>(&one.end); proposal != nullptr && may_go_on) {
      if (submit(one, *proposal, admitted)) {
        at = open_.erase(at);
        continue;
      }
      one.end = Rejection{"duplicate", "the candidate is one that was evaluated before"};
    }
    if (std::holds_alternative<std::monostate>(one.end)) are_earlier_settled = false;
    const bool is_its_turn =
        !parts_.config.is_deterministic || (admitted.empty() && one.record.ordinal == completed + 1);
    if (std::holds_alternative<SubmitPrompt>(one.end) && is_its_turn) {
      accept_prompt(one);
      if (std::holds_alternative<SubmitPrompt>(one.end)) {
        at = open_.erase(at);
        if (parts_.config.is_deterministic) break;
        continue;
      }
    }
    const auto* rejection = std::get_if<Rejection>(&one.end);
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
  return static_cast<int>(rejected_.end() - std::upper_bound(rejected_.begin(), rejected_.end(), ordinal));
}

InputSource OpenVariations::source() const {
  // The device of the first result: a prompt is made again from the archive alone, and the run may go on on another
  // card of the kind, whose copy rate was measured anew.
  const std::optional<Provenance> first = parts_.archive.first_provenance();
  return {.archive = parts_.archive,
          .task = parts_.task,
          .config = parts_.config,
          .lessons = parts_.lessons,
          .device = first ? first->device : parts_.evaluator.provenance().device,
          .baseline_id = baseline_id_};
}

/// Recorded, or proposed by a variation that is about to be.
bool OpenVariations::is_known(const Candidate& candidate) const {
  const std::string id = candidate_id(with_full_tuning(candidate));
  for (const auto& [ordinal, one] : open_) {
    const auto* proposal = std::get_if<Proposal>(&one.end);
    if (proposal != nullptr && candidate_id(with_full_tuning(proposal->candidate)) == id) return true;
  }
  const auto known = parts_.archive.find_candidate(id);
  return known && known->outcome != "unfinished";  // which can be taken up
}

/// Asked for only where a run minimises.
std::vector<std::string> OpenVariations::improvers(const Grid& grid,
                                                   const std::map<std::string, double>& operators) const {
  const auto share = operators.find("minimise");
  if (share == operators.end() || share->second <= 0) return {};
  return improvers_of(parts_.archive, grid, baseline_id_, workload_weights(parts_.task));
}

/// Asked for only where a run repairs: the query grows with the run.
std::vector<std::string> OpenVariations::failed_candidates(
    const std::map<std::string, double>& operators) const {
  std::vector<std::string> ids;
  const auto share = operators.find("repair");
  if (share == operators.end() || share->second <= 0) return ids;
  for (const CandidateRecord& record : parts_.archive.repairable(k_repairable_max)) ids.push_back(record.id);
  return ids;
}

OpenVariations::Open& OpenVariations::open(VariationRecord record, const std::string& baseline_id) {
  const OperatorRow* row = find_operator(record.operator_name);
  const std::uint64_t ordinal = record.ordinal;
  baseline_id_ = baseline_id;
  if (row == nullptr) {  // asked by an older program
    Open over;
    over.is_started = true;
    over.end = Rejection{"operator_left", fmt::format("the operator {} is no more", record.operator_name)};
    over.record = std::move(record);
    return open_.emplace(ordinal, std::move(over)).first->second;
  }
  VariationInput input = variation_input(source(), record);
  input.is_known = [this](const Candidate& candidate) { return is_known(candidate); };
  Open one;
  one.worker = row->make(*row, std::move(input), library_of(record),
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
      next = call(one, std::move(*wanted));
    } else if (auto* submitted = std::get_if<Submit>(&action)) {
      one.end = std::move(submitted->proposal);
    } else if (auto* rewrite = std::get_if<SubmitPrompt>(&action)) {
      one.end = std::move(*rewrite);
    } else if (auto* given_up = std::get_if<GiveUp>(&action)) {
      one.end = std::move(given_up->rejection);
    } else {
      next = inside_.begin(source(), one.record.ordinal, one.prompt_digest, std::get<EvaluateInside>(action),
                           static_cast<std::int64_t>(open_.size()));
    }
  }
}

/// The reply at once if the archive has it; else the call is made or waits for the budget.
std::optional<Observation> OpenVariations::call(Open& one, CallModel wanted) {
  PendingCall pending{
      .request = std::move(wanted.request), .endpoint = one.record.endpoint, .cuts = std::move(wanted.cuts)};
  pending.request.ordinal = one.record.ordinal;
  pending.request.id = fmt::format("{}-{}", one.record.ordinal, one.calls++);
  auto reply = calls_.recorded(pending);
  one.prompt_digest = prompt_digest(pending.request);
  if (reply) return ModelAnswered{std::move(*reply)};
  one.held_back = std::move(pending);
  send(one);
  return std::nullopt;
}

void OpenVariations::send(Open& one) {
  if (parts_.endpoints.empty()) {  // the run was started with one and goes on without
    one.held_back.reset();
    one.end = Rejection{"no_endpoint", "the run went on without a model"};
  } else if (may_send_() && calls_.send(*one.held_back)) {
    one.held_back.reset();
  }
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
  if (const auto known = parts_.archive.find_candidate(record.id)) return hand_in(one, *known, admitted);
  if (!parts_.archive.record_candidate(record)) return false;
  close(one.record, 0);
  record.generation = one.record.generation;
  record.operator_name = one.record.operator_name;
  record.endpoint = one.record.endpoint;
  record.parents = one.record.parents;
  announcer_.announce(
      {{"event", "submitted"}, {"ordinal", record.ordinal}, {"id", record.id}, {"summary", record.summary}});
  admitted.push_back(std::move(record));
  return true;
}

/// What is submitted is recorded already: evaluated inside, or left unfinished by another variation. False for any
/// other.
bool OpenVariations::hand_in(const Open& one, const CandidateRecord& known,
                             std::vector<CandidateRecord>& admitted) {
  const std::uint64_t variation = one.record.ordinal;
  const bool is_taken_up = known.variation != variation && parts_.archive.take_up(known.ordinal, variation);
  if (known.variation != variation && !is_taken_up) return false;
  parts_.archive.close_variation(variation, known.ordinal);
  close(one.record, known.ordinal);
  announcer_.announce(
      {{"event", "handed_in"}, {"ordinal", known.ordinal}, {"id", known.id}, {"variation", variation}});
  if (known.told != 0) history_.handed_in(variation);
  if (is_taken_up) admitted.push_back(*parts_.archive.candidate(known.ordinal));
  return true;
}

void OpenVariations::reject(const Open& one, const Rejection& rejection) {
  parts_.archive.record_rejection({one.record.ordinal, rejection.reason, rejection.message});
  rejected_.insert(std::upper_bound(rejected_.begin(), rejected_.end(), one.record.ordinal),
                   one.record.ordinal);
  if (rejection.reason == "tune_exhausted") tunable_elites_.note_exhausted(one.record.parents.at(0));
  history_.rejected(one.record.ordinal);
  close(one.record, 0);
  last_rejection_ = fmt::format("{}: {}", rejection.reason, rejection.message);
  announcer_.announce({{"event", "rejected"},
                       {"ordinal", one.record.ordinal},
                       {"operator", one.record.operator_name},
                       {"reason", rejection.reason},
                       {"message", rejection.message}});
}

void OpenVariations::close(const VariationRecord& record, std::uint64_t submitted) {
  closed_.push_back({record.ordinal, submitted});
  inside_.forget(record.ordinal);
  calls_.end_conversation(record.ordinal, record.endpoint);
}

}  // namespace kernelites
