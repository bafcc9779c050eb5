// SPDX-License-Identifier: Apache-2.0
// Examine, place, duel and tell: the candidates that are recorded and not told.
#include "engine/search/open_candidates.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "archive/qd_metrics.h"
#include "engine/core/claims.h"
#include "engine/core/error.h"
#include "engine/search/baseline.h"
#include "engine/search/candidate_requests.h"

namespace kernelites {
namespace {

constexpr int k_errors_in_a_row_max = 6;

/// Stage and reason of whatever a course did not pass, as members of its event.
void add_failure(const Course& course, Json& event) {
  const Verdict* verdict = course.examination ? &course.examination->verdict : nullptr;
  if (!course.duels.empty() && course.duels.back().duel) verdict = &course.duels.back().duel->verdict;
  if (!course.error.empty())
    event.update({{"stage", "worker"}, {"reason", course.error}});
  else if (verdict != nullptr && !verdict->is_passed)
    event.update({{"stage", verdict->stage}, {"reason", verdict->reason}});
}

/// What the time model said before the first duel or instead of it.
void add_triage(const Course& course, const Outcome& outcome, const std::optional<Standing>& now,
                Json& event) {
  if (outcome.status == k_modelled_slow) event.update({{"modelled_lag", now->lag}, {"triage", "left_out"}});
  if (course.duels.empty() || !course.duels.front().request.contains("modelled_lag")) return;
  const Json& request = course.duels.front().request;
  event["modelled_lag"] = request.at("modelled_lag");
  if (request.at("is_far_behind").get<bool>()) event["triage"] = "timed";
}

}  // namespace

OpenCandidates::OpenCandidates(RunParts& parts, Announcer& announcer)
    : parts_(parts),
      announcer_(announcer),
      nulls_(parts, announcer),
      weights_(workload_weights(parts.task)),
      triage_(parts.device == "vgpu" ? TriageSettings{} : parts.config.triage, weights_, parts.run_key) {}

void OpenCandidates::resume() {
  grid_ = parts_.archive.grid();
  champions_ = parts_.archive.champions();
  for (const CandidateRecord& record : parts_.archive.told_candidates()) {
    last_told_ = std::max(last_told_, record.ordinal);
    if (triage_.is_on()) triage_.take_up(record.id, parts_.archive.evaluations(record.ordinal));
  }
  for (const CandidateRecord& record : parts_.archive.unfinished_candidates()) {
    Course course = course_of(record, parts_.archive.evaluations(record.ordinal));
    if (record.ordinal != record.variation) {
      const auto variation = parts_.archive.variation(record.variation);
      KERNELITES_ASSERT(variation.has_value());
      course.is_inside = variation->state == "open";
      course.is_left =
          !course.is_inside && variation->decision.value("submitted", std::uint64_t{0}) != record.ordinal;
    }
    triage_.take_up(record.id, parts_.archive.evaluations(record.ordinal));
    courses_.emplace(record.ordinal, std::move(course));
  }
  if (grid_.elite_count() > 0) nulls_.resume();
  for (const EvaluationRecord& record : parts_.archive.outstanding_requests()) {
    const bool is_null = is_null_duel(record);
    if (!is_null && courses_.count(record.ordinal) == 0) continue;
    if (is_null)
      nulls_.adopt(record);
    else
      ordinal_of_[record.request_id] = record.ordinal;
    ++outstanding_;
    parts_.evaluator.submit(request_of(parts_, record));
  }
  find_baseline();
}

void OpenCandidates::admit(const CandidateRecord& record) {
  courses_.emplace(record.ordinal, course_of(record, parts_.archive.evaluations(record.ordinal)));
}

void OpenCandidates::wish(const CandidateRecord& record, InsideStep step) {
  Course& course =
      courses_.try_emplace(record.ordinal, course_of(record, parts_.archive.evaluations(record.ordinal)))
          .first->second;
  course.is_inside = true;
  course.wish = step;
}

void OpenCandidates::leave(std::uint64_t variation, std::uint64_t submitted) {
  for (auto& [ordinal, course] : courses_) {
    if (course.record.variation != variation || !course.is_inside) continue;
    course.is_inside = false;
    course.is_left = ordinal != submitted;
  }
}

std::size_t OpenCandidates::count() const {
  return static_cast<std::size_t>(std::count_if(courses_.begin(), courses_.end(), [](const auto& entry) {
    return !entry.second.is_inside || entry.second.wish.has_value();
  }));
}

void OpenCandidates::on_reply(const Reply& reply) {
  if (nulls_.take(reply, weights_)) {
    --outstanding_;
    return;
  }
  const auto waiting = ordinal_of_.find(reply.id);
  if (waiting == ordinal_of_.end()) return;
  const std::uint64_t ordinal = waiting->second;
  ordinal_of_.erase(waiting);
  --outstanding_;
  Json event{
      {"event", "evaluated"}, {"ordinal", ordinal}, {"request_id", reply.id}, {"device_s", reply.device_s}};
  Provenance provenance = reply.provenance;
  provenance.task_digest = parts_.task.digest;
  if (reply.examination && reply.error.empty()) {
    parts_.archive.record_examination(reply.id, *reply.examination, provenance, reply.worker_s,
                                      reply.device_s);
    triage_.know(courses_.at(ordinal).record.id, *reply.examination);
    const Verdict& verdict = reply.examination->verdict;
    event.update({{"verb", "examine"},
                  {"is_passed", verdict.is_passed},
                  {"stage", verdict.stage},
                  {"reason", verdict.reason}});
  } else if (reply.duel && reply.error.empty()) {
    parts_.archive.record_duel(reply.id, *reply.duel, provenance, reply.worker_s, reply.device_s);
    nulls_.count_timed();
    triage_.learn(courses_.at(ordinal).record.id, *reply.duel);
    event.update({{"verb", "duel"},
                  {"is_passed", reply.duel->verdict.is_passed},
                  {"reason", reply.duel->verdict.reason}});
  } else {
    const std::string error = reply.error.empty() ? "the worker's reply holds no result" : reply.error;
    parts_.archive.record_request_failed(reply.id, error, reply.worker_s, reply.device_s);
    event.update({{"verb", "none"}, {"error", error}});
    if (++errors_in_a_row_ >= k_errors_in_a_row_max)
      throw Error(
          fmt::format("{} evaluations in a row gave no result; the last: {}", errors_in_a_row_, error));
  }
  if (!event.contains("error")) errors_in_a_row_ = 0;
  Course& course = courses_.at(ordinal);
  Course next = course_of(course.record, parts_.archive.evaluations(ordinal));
  next.is_inside = course.is_inside;
  next.is_left = course.is_left;
  next.wish = course.wish;
  course = std::move(next);
  announcer_.announce(std::move(event));
  if (course.is_seed) find_baseline();
}

int OpenCandidates::step(std::uint64_t completed, bool may_send) {
  int told = 0;
  std::vector<WaitingDuel> waiting;
  if (may_send) send_null();
  for (auto at = courses_.begin(); at != courses_.end();) {
    Course& course = at->second;
    if (course.is_inside && has_wish(course)) {
      answered_.push_back(at->first);
      course.wish.reset();
    }
    if (course.is_inside && !course.wish) {
      ++at;
      continue;
    }
    const auto step = next(course, completed);
    if (!step || std::holds_alternative<Waits>(*step)) {
      ++at;
      continue;
    }
    if (const auto* end = std::get_if<Ends>(&*step)) {
      tell(course, end->outcome);
      if (course.is_inside) answered_.push_back(at->first);
      at = courses_.erase(at);
      ++told;
      if (parts_.config.is_deterministic) return told;
      continue;
    }
    if (may_send) {
      if (const auto* need = std::get_if<NeedsExamination>(&*step))
        examine(course, *need);
      else if (nulls_.is_open() && orders_duels())
        waiting.push_back({&course, std::get<NeedsDuel>(*step), standing_of(course)});
      else if (nulls_.is_open())
        duel(course, std::get<NeedsDuel>(*step));
    }
    ++at;
  }
  send_in_order(std::move(waiting));
  return told;
}

std::optional<std::uint64_t> OpenCandidates::first() const {
  if (courses_.empty()) return std::nullopt;
  return courses_.begin()->first;
}

std::optional<NextStep> OpenCandidates::next(const Course& course, std::uint64_t completed) const {
  const bool is_placeable = course.waiting_for.empty() && course.error.empty() && course.examination;
  if (is_placeable && course.is_seed && course.examination->verdict.is_passed && baseline_id_.empty())
    return seed_step(course);
  const bool needs_turn = course.examination.has_value() || !course.error.empty() || course.is_left;
  if (needs_turn && !is_its_turn(course, completed)) return std::nullopt;
  if (is_placeable && undueled_.contains(course.record.ordinal))  // its own duel may have passed
    return Ends{{.ordinal = course.record.ordinal, .status = "failed", .elite = {}, .champions = {}}};
  if (is_placeable && !course.is_left && course.examination->verdict.is_passed && repeats_code(course))
    return Ends{{.ordinal = course.record.ordinal, .status = "duplicate_code", .elite = {}, .champions = {}}};
  return next_step(course, {.grid = grid_,
                            .champions = champions_,
                            .baseline_id = baseline_id_,
                            .weights = weights_,
                            .rule = rule_for(course),
                            .confirms_eagerly = parts_.config.is_batch,
                            // The virtual GPU has checked every access already.
                            .wants_thorough = !course.provenance.device.is_virtual,
                            .standing = triage_.may_skip() ? standing_of(course) : std::nullopt});
}

/// In a deterministic run one candidate at a time is placed and told: the next in order, or one that the agent whose
/// variation is next evaluates inside.
bool OpenCandidates::is_its_turn(const Course& course, std::uint64_t completed) const {
  if (!parts_.config.is_deterministic || course.record.ordinal == completed + 1) return true;
  if (!course.is_inside || course.record.variation != completed + 1) return false;
  for (const auto& [ordinal, other] :
       courses_) {  // of several that it evaluates together the first one first
    if (ordinal == course.record.ordinal) break;
    if (other.is_inside && other.wish && other.record.variation == course.record.variation) return false;
  }
  return true;
}

/// Seeds duel all other passed seeds and, as an A/A test, themselves, once every seed has been examined.
std::optional<NextStep> OpenCandidates::seed_step(const Course& course) const {
  std::vector<const Course*> seeds;
  for (const auto& [ordinal, other] : courses_)
    if (other.is_seed) seeds.push_back(&other);
  if (auto need = seed_duel(course, seeds)) return std::move(*need);
  return std::nullopt;
}

/// True if a candidate that is earlier, or is being timed already, compiled to the same code and launches it in the
/// same way: timing it again tells nothing.
bool OpenCandidates::repeats_code(const Course& course) const {
  const std::string& code = course.examination->code_digest;
  if (code.empty() || course.is_seed || !course.duels.empty()) return false;
  const auto other = parts_.archive.first_with_code(code, course.record.ordinal);
  if (!other) return false;
  const auto evaluated = parts_.archive.evaluated(*other);
  return evaluated && evaluated->examination && evaluated->examination->examination &&
         evaluated->examination->examination->plans == course.examination->plans;
}

void OpenCandidates::find_baseline() {
  if (!baseline_id_.empty()) return;
  const Baseline baseline = baseline_of(parts_.archive, weights_);
  if (baseline.is_pending) return;
  if (baseline.id.empty()) {
    if (baseline.failure.empty()) return;  // nothing recorded yet
    throw Error(no_baseline_words(parts_.task.name, parts_.device == "vgpu", baseline));
  }
  for (const UntimedSeed& seed : baseline.untimed) {
    undueled_.insert(seed.ordinal);
    announcer_.announce({{"event", "seed_untimed"},
                         {"ordinal", seed.ordinal},
                         {"id", seed.id},
                         {"seed", seed.name},
                         {"stage", seed.verdict.stage},
                         {"reason", seed.verdict.reason},
                         {"message", seed.verdict.message}});
  }
  baseline_id_ = baseline.id;
  null_half_width_ = baseline.null_half_width;
  announcer_.announce({{"event", "baseline"},
                       {"ordinal", baseline.ordinal},
                       {"id", baseline_id_},
                       {"null_half_width", null_half_width_}});
}

void OpenCandidates::examine(Course& course, const NeedsExamination& need) {
  const bool wants_modelled = triage_.is_on() && !triage_.knows(course.record.id);
  send(course, examination_record(course.record, need, wants_modelled, announcer_.now_unix_s()));
}

void OpenCandidates::send(Course& course, const EvaluationRecord& record) {
  parts_.archive.record_request_sent(record);
  course.waiting_for.push_back(record.request_id);
  ordinal_of_[record.request_id] = record.ordinal;
  ++outstanding_;
  parts_.evaluator.submit(request_of(parts_, record));
}

void OpenCandidates::duel(Course& course, const NeedsDuel& need) {
  send_duel(course, need, need.is_confirmation);
  const bool has_opponent_to_replace = need.arms.size() > 1 || need.arms.front() != baseline_id_;
  if (!need.wants_confirmation_at_once || baseline_id_.empty() || !has_opponent_to_replace) return;
  send_duel(course, need, true);
}

/// What compares an elite with itself, if that is due; candidates wait with their duels meanwhile.
void OpenCandidates::send_null() {
  const auto record = nulls_.due(grid_);
  if (!record) return;
  ++outstanding_;
  parts_.evaluator.submit(request_of(parts_, *record));
}

void OpenCandidates::send_duel(Course& course, const NeedsDuel& need, bool is_confirmation) {
  EvaluationRecord record =
      duel_record(parts_, course.record, course.duels_sent, need, is_confirmation, announcer_.now_unix_s());
  if (const auto standing = standing_of(course); standing && course.duels_sent == 0)
    record.request.update({{"modelled_lag", standing->lag}, {"is_far_behind", standing->is_far_behind}});
  ++course.duels_sent;
  send(course, record);
}

/// The most promising first, and none before a worker can take it up: who comes later may be more promising.
void OpenCandidates::send_in_order(std::vector<WaitingDuel> waiting) {
  const auto lag = [](const WaitingDuel& one) {
    // What was dueled before, or is a seed, goes first; who was not modelled goes between ahead and behind.
    if (!one.course->duels.empty() || one.course->is_seed) return -HUGE_VAL;
    return one.standing ? one.standing->lag : 0.0;
  };
  std::stable_sort(waiting.begin(), waiting.end(),
                   [&](const WaitingDuel& a, const WaitingDuel& b) { return lag(a) < lag(b); });
  for (const WaitingDuel& one : waiting) {
    if (outstanding_ >= parts_.evaluator.capacity()) return;
    duel(*one.course, one.need);
  }
}

/// How the candidate stands by modelled times, where they are asked for.
std::optional<Standing> OpenCandidates::standing_of(const Course& course) const {
  if (!triage_.is_on() || course.is_seed || !course.examination) return std::nullopt;
  const auto cell = cell_name(course.examination->descriptors, grid_.axes());
  return triage_.standing(course.record, cell ? grid_.find(*cell) : nullptr, champions_);
}

void OpenCandidates::tell(const Course& course, const Outcome& told) {
  Outcome outcome = told;
  const std::optional<Standing> standing = standing_of(course);  // before it is placed
  outcome.told_unix_s = announcer_.now_unix_s();
  parts_.archive.tell(outcome);
  last_told_ = std::max(last_told_, outcome.ordinal);
  if (outcome.elite) grid_.put(*outcome.elite);
  champions_ = parts_.archive.champions();
  Json event{{"event", "told"},
             {"ordinal", outcome.ordinal},
             {"outcome", outcome.status},
             {"operator", course.record.operator_name}};
  if (course.examination)
    event["cell"] = cell_name(course.examination->descriptors, grid_.axes()).value_or("");
  if (course.examination) {
    const auto claims = unexecuted_claims(course.record.summary, course.examination->descriptors);
    if (!claims.empty()) event[k_claims_flag] = claims;
  }
  if (outcome.status == "duplicate_code")
    event["same_code_as"] =
        parts_.archive.first_with_code(course.examination->code_digest, outcome.ordinal).value_or(0);
  add_triage(course, outcome, standing, event);
  if (!course.duels.empty())
    event["speedup"] = speedup_over(*course.duels.back().duel, baseline_id_, weights_);
  add_failure(course, event);
  Json won = Json::array();
  for (const Champion& champion : outcome.champions) won.push_back(champion.workload);
  event["champion_of"] = won;
  event["elites"] = grid_.elite_count();
  event.update(Json(qd_metrics(grid_)));
  if (const auto best = grid_.best()) event["best_speedup"] = best->speedup;
  announcer_.announce(std::move(event));
}

EliteRule OpenCandidates::rule_for(const Course& course) const {
  const bool is_exact = course.provenance.device.is_virtual;
  return {.effect_min = parts_.config.effect_min,
          .null_half_width = is_exact ? 0 : null_half_width_,
          .needs_confirmation = !is_exact,
          .workload_loss_max = parts_.config.workload_loss_max};
}

}  // namespace kernelites
