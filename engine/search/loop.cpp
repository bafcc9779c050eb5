// SPDX-License-Identifier: Apache-2.0
// The one data path of a run, on one thread: select, propose, admit, examine, place, duel, tell.
#include "engine/search/loop.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>

#include <algorithm>
#include <array>

#include "archive/qd_metrics.h"
#include "engine/core/error.h"
#include "engine/llm/poll_wait.h"
#include "engine/search/placement.h"

namespace kernelites {
namespace {

constexpr std::chrono::milliseconds k_wait{500};
constexpr double k_wall_clock_step_s = 5;
constexpr double k_sync_step_s = 0.25;  // of the end of a run, what a power cut may take

SteeringNames steering_names(const RunParts& parts) {
  SteeringNames names;
  for (const std::string& name : parts.endpoints.names()) names.endpoints.insert(name);
  const Grid grid = parts.archive.grid();
  names.cells.insert(grid.cells().begin(), grid.cells().end());
  return names;
}

std::string stagnation_text(const Stagnation& stagnation) {
  return fmt::format("no faster elite in {} variations; {}", stagnation.barren(),
                     forecast_text(stagnation.forecast()));
}

}  // namespace

const char* stop_reason_name(StopReason reason) {
  constexpr std::array<const char*, 7> k_names{"budget",  "exhausted",   "barren", "stagnated",
                                               "steered", "interrupted", "waiting"};
  return k_names.at(static_cast<std::size_t>(reason));
}

const char* way_on(StopReason reason) {
  if (reason == StopReason::budget) return "with a larger budget it goes on";
  if (reason == StopReason::exhausted || reason == StopReason::barren)
    return "another model (--endpoint) or other operators can bring it on";
  if (reason == StopReason::stagnated) return "more --patience lets the same run command go on";
  return "the same run command goes on";
}

Loop::Loop(RunParts& parts)
    : parts_(parts),
      announcer_(parts),
      variations_(parts, announcer_, [this] { return may_send(); }),
      candidates_(parts, announcer_),
      steer_file_(parts.steering, steering_names(parts)) {}

LoopEnd Loop::run() {
  start();
  for (;;) {
    receive();
    steer();
    while (progress()) {
    }
    if (auto end = ending()) {
      update_wall_clock();
      const bool is_waiting = end->reason == StopReason::waiting;
      const bool is_done = end->reason == StopReason::exhausted || end->reason == StopReason::barren ||
                           end->reason == StopReason::stagnated;
      parts_.archive.set_state(is_waiting ? "waiting" : is_done ? "done" : "stopped");
      announcer_.announce(
          {{"event", "stopped"}, {"reason", stop_reason_name(end->reason)}, {"detail", end->detail}});
      parts_.archive.sync();
      return *end;
    }
    wait();
  }
}

void Loop::start() {
  earlier_wall_s_ = recorded_wall_s_ = parts_.archive.run().wall_s;
  parts_.archive.set_state("running");
  const bool is_resumed = parts_.archive.next_ordinal() > 1;
  const Grid grid = parts_.archive.grid();
  Json event{{"event", "started"},
             {"task", parts_.task.name},
             {"is_resumed", is_resumed},
             {"told", parts_.archive.counters().told},
             // No other candidate is told before the last seed is.
             {"seeds", std::min(parts_.archive.spent().seeds, parts_.archive.counters().told)},
             {"usd", parts_.archive.spent().usd},
             {"elites", grid.elite_count()},
             {"best_speedup", grid.best() ? grid.best()->speedup : 0},
             {"device", parts_.evaluator.provenance().device.kind},
             {"endpoint", fmt::format("{}", fmt::join(parts_.endpoints.names(), ", "))}};
  event.update(Json(qd_metrics(grid)));
  announcer_.announce(std::move(event));
  record_seeds();
  candidates_.resume();
  variations_.resume(candidates_.baseline_id());
}

/// Also completes a recording that was cut short.
void Loop::record_seeds() {
  std::uint64_t ordinal = 0;
  std::vector<std::string> seen;
  for (const Seed& seed : parts_.seeds) {
    CandidateRecord record;
    record.candidate = seed.candidate;
    record.id = candidate_id(record.candidate);
    if (std::find(seen.begin(), seen.end(), record.id) != seen.end()) continue;  // two files of one content
    seen.push_back(record.id);
    record.ordinal = record.variation = ++ordinal;
    record.summary = "seed " + seed.name;
    record.created_unix_s = announcer_.now_unix_s();
    if (!parts_.archive.variation(ordinal)) {
      if (parts_.archive.next_ordinal() != ordinal)
        return;  // the run began with fewer seeds: they stay as they were
      parts_.archive.record_variation({.ordinal = ordinal,
                                       .operator_name = "seed",
                                       .decision = {{"seed", seed.name}},
                                       .created_unix_s = record.created_unix_s});
    }
    if (parts_.archive.candidate(ordinal)) continue;
    parts_.archive.record_candidate(record);
    announcer_.announce(
        {{"event", "submitted"}, {"ordinal", ordinal}, {"id", record.id}, {"summary", record.summary}});
  }
}

/// Takes every reply that is there.
bool Loop::receive() {
  bool is_any = false;
  parts_.evaluator.pump(parts_.clock.steady());
  while (auto reply = parts_.evaluator.take()) {
    candidates_.on_reply(*reply);
    is_any = true;
  }
  parts_.endpoints.pump();
  while (auto reply = parts_.endpoints.take()) {
    variations_.on_reply(std::move(*reply));
    is_any = true;
  }
  if (parts_.incidents)
    for (const std::string& incident : parts_.incidents())
      announcer_.announce({{"event", "incident"}, {"message", incident}});
  return is_any;
}

/// Looks whether a person wants the run to go another way. Each variation notes what steered it.
void Loop::steer() {
  const auto change = steer_file_.poll();
  if (!change) return;
  if (change->problem.empty())
    announcer_.announce({{"event", "steered"}, {"steering", steering_json(change->steering)}});
  else
    announcer_.announce({{"event", "steering_refused"}, {"problem", change->problem}});
}

/// One round of everything that can be done without waiting. In a deterministic run at most one ordinal completes in
/// it and the next is asked before another may, so that what a variation sees of the grid depends on order alone.
bool Loop::progress() {
  if (parts_.config.is_deterministic) ask();
  const std::uint64_t before = completed();
  const std::size_t open_before = variations_.count();
  const auto admitted = variations_.settle(before);
  for (const CandidateRecord& record : admitted) candidates_.admit(record);
  const bool is_settled = variations_.count() != open_before;
  const bool has_passed = pass_inside();
  int told = 0;
  if (!parts_.config.is_deterministic || completed() == before) told = candidates_.step(before, may_send());
  const std::size_t open_after = variations_.count();
  if (!parts_.config.is_deterministic) ask();
  const bool has_answered = pass_inside();
  return is_settled || has_passed || has_answered || told > 0 || variations_.count() != open_after;
}

/// Carries wishes of agents to their candidates and results back. True if there were any.
bool Loop::pass_inside() {
  bool is_any = false;
  for (const InsideRequest& request : variations_.take_inside_requests()) {
    candidates_.wish(request.record, request.step);
    is_any = true;
  }
  for (const ClosedVariation& closed : variations_.take_closed())
    candidates_.leave(closed.ordinal, closed.submitted);
  for (const std::uint64_t ordinal : candidates_.take_answered()) {
    variations_.on_evaluated(ordinal);
    is_any = true;
  }
  return is_any;
}

void Loop::ask() {
  if (candidates_.baseline_id().empty()) return;
  const auto first_candidate = candidates_.first();
  if (first_candidate && *first_candidate <= static_cast<std::uint64_t>(parts_.archive.spent().seeds)) return;
  variations_.look_back();
  while (may_ask()) {
    has_nothing_to_ask_ =
        !variations_.ask(candidates_.grid(), candidates_.baseline_id(), steer_file_.steering());
    if (has_nothing_to_ask_) return;
  }
}

bool Loop::may_ask() const {
  if (interrupted_at_s_ >= 0 || variations_.has_held_back()) return false;
  if (steer_file_.steering().pause || steer_file_.steering().stop) return false;
  if (variations_.stagnation().is_over_due()) return false;
  if (variations_.rejections_after(candidates_.last_told()) >= parts_.config.barren_max) return false;
  const auto in_flight = static_cast<std::size_t>(parts_.config.in_flight);
  const std::size_t under_way = parts_.config.is_deterministic
                                    ? parts_.archive.next_ordinal() - 1 - completed()
                                    : variations_.count() + candidates_.count();
  if (under_way >= in_flight) return false;
  return exhausted_budget(parts_.config.budget, spent(), variations_.reserved()).empty();
}

/// Requests go out until a budget of time is used up or the user wants to stop.
bool Loop::may_send() const { return interrupted_at_s_ < 0 && time_budget_used().empty(); }

/// "minutes" or "device_s" if that budget, less what is under way, is used up.
std::string Loop::time_budget_used() const {
  const BudgetLimits time{.minutes = parts_.config.budget.minutes, .device_s = parts_.config.budget.device_s};
  const Spent so_far = spent();
  const double mean_device_s =
      so_far.candidates > 0 ? so_far.device_s / static_cast<double>(so_far.candidates) : 0;
  return exhausted_budget(time, so_far,
                          {.device_s = mean_device_s * static_cast<double>(candidates_.outstanding())});
}

/// Every ordinal up to this one is told or rejected.
std::uint64_t Loop::completed() const {
  std::uint64_t first = parts_.archive.next_ordinal();
  if (const auto variation = variations_.first()) first = std::min(first, *variation);
  if (const auto candidate = candidates_.first()) first = std::min(first, *candidate);
  return first - 1;
}

std::optional<LoopEnd> Loop::ending() {
  const double now_s = announcer_.elapsed_s();
  const bool is_idle = variations_.calls() == 0 && candidates_.outstanding() == 0;
  if (interrupted_at_s_ >= 0 && (is_idle || now_s - interrupted_at_s_ >= parts_.config.stop_grace_s))
    return LoopEnd{StopReason::interrupted, ""};

  const std::string spent_up = exhausted_budget(parts_.config.budget, spent(), {});
  const std::string time_used = time_budget_used();
  if (time_used.empty())
    over_since_s_ = -1;
  else if (over_since_s_ < 0)
    over_since_s_ = now_s;
  const bool is_over_for_long = over_since_s_ >= 0 && now_s - over_since_s_ >= parts_.config.stop_grace_s;
  if (!time_used.empty() && (is_idle || is_over_for_long)) return LoopEnd{StopReason::budget, time_used};

  const bool is_reply_possible = candidates_.outstanding() > 0 && !parts_.evaluator.is_waiting_for_batch();
  const bool is_any_open = variations_.count() + candidates_.count() > 0;
  const bool may_wait = parts_.config.is_batch || parts_.config.ends_when_waiting;
  if (may_wait && !is_idle && !variations_.is_reply_possible() && !is_reply_possible)
    return LoopEnd{StopReason::waiting, candidates_.outstanding() > 0 ? "batch" : "replies"};
  if (!is_idle) return std::nullopt;
  if (variations_.has_held_back() && variations_.count() > 0 && candidates_.count() == 0)
    return LoopEnd{StopReason::budget, spent_up.empty() ? "usd or tokens" : spent_up};
  if (is_any_open) return std::nullopt;
  if (steer_file_.steering().stop) return LoopEnd{StopReason::steered, parts_.steering.filename().string()};
  if (!spent_up.empty()) return LoopEnd{StopReason::budget, spent_up};
  if (variations_.rejections_after(candidates_.last_told()) >= parts_.config.barren_max)
    return LoopEnd{StopReason::barren, variations_.last_rejection()};
  if (variations_.stagnation().is_over_due())
    return LoopEnd{StopReason::stagnated, stagnation_text(variations_.stagnation())};
  if (has_nothing_to_ask_) return LoopEnd{StopReason::exhausted, ""};
  return std::nullopt;
}

void Loop::wait() {
  if (announcer_.elapsed_s() - synced_s_ >= k_sync_step_s) {
    parts_.archive.sync();
    synced_s_ = announcer_.elapsed_s();
  }
  std::vector<pollfd> others = parts_.evaluator.poll_descriptors();
  const bool can_stop = parts_.stop_descriptor >= 0 && interrupted_at_s_ < 0;
  if (can_stop) others.push_back({parts_.stop_descriptor, POLLIN, 0});
  if (!parts_.endpoints.empty())
    parts_.endpoints.wait(others, k_wait);
  else
    poll_wait(others, k_wait);
  if (can_stop && (others.back().revents & POLLIN) != 0) {
    interrupted_at_s_ = announcer_.elapsed_s();
    announcer_.announce({{"event", "stopping"}, {"grace_s", parts_.config.stop_grace_s}});
  }
  if (earlier_wall_s_ + announcer_.elapsed_s() - recorded_wall_s_ >= k_wall_clock_step_s) update_wall_clock();
}

void Loop::update_wall_clock() {
  recorded_wall_s_ = earlier_wall_s_ + announcer_.elapsed_s();
  parts_.archive.set_wall_s(recorded_wall_s_);
}

Spent Loop::spent() const {
  Spent spent = parts_.archive.spent();
  spent.wall_s = earlier_wall_s_ + announcer_.elapsed_s();
  return spent;
}

}  // namespace kernelites
