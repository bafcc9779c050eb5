// SPDX-License-Identifier: Apache-2.0
// Cohorts of tunings: proposed, proved, raced.
#include "tools/tuning_session.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/search/placement.h"
#include "engine/variation/halving.h"
#include "tools/evaluation_requests.h"
#include "tools/worker_setup.h"

namespace kernelites {
namespace {

constexpr double k_examine_s_max = 600;
/// Spaces above this are not listed when the neighbours of the fastest are used up.
constexpr std::size_t k_space_listed_max = 4096;

/// Every allowed choice, the default first; empty if there are more than k_space_listed_max.
std::vector<Tuning> whole_space(const TuneState& state) {
  std::vector<Tuning> space{{}};
  for (const Tunable& tunable : state.tunables) {
    std::vector<Tuning> longer;
    for (const Tuning& tuning : space)
      for (const std::int64_t value : tunable.values) {
        if (longer.size() > k_space_listed_max) return {};
        longer.push_back(tuning);
        longer.back()[tunable.name] = value;
      }
    space = std::move(longer);
  }
  std::erase_if(space, [&](const Tuning& tuning) { return !is_allowed(state.rules, tuning); });
  return space;
}

class Session {
 public:
  Session(Evaluator& evaluator, const Task& task, const std::string& device, const TuningSettings& settings,
          const std::function<void(const std::string&)>& say)
      : evaluator_(evaluator),
        task_(task),
        device_(device),
        settings_(settings),
        say_(say),
        weights_(workload_weights(task)) {}

  TuningResult run(const Candidate& start);

 private:
  std::vector<std::size_t> propose(TuneState& state, Rng& rng);
  void examine(const std::vector<std::size_t>& cohort);
  std::vector<std::size_t> to_race(const std::vector<std::size_t>& cohort);
  void race(const std::vector<std::size_t>& cohort);
  void prove_winners();
  void take_twins();
  double mean_speedup(const TunedChoice& choice) const;
  std::size_t fastest_at(const std::string& workload) const;
  std::string name_of(std::size_t choice) const {
    return tuning_text(result_.choices[choice].candidate.tuning);
  }

  Evaluator& evaluator_;
  const Task& task_;
  const std::string& device_;
  const TuningSettings& settings_;
  const std::function<void(const std::string&)>& say_;
  std::map<std::string, double> weights_;
  TuningResult result_;
  std::map<std::string, std::size_t> choice_of_code_;
  std::size_t choices_max_ = 0;
  int examined_ = 0, races_ = 0;
  const Key model_key_ = Key::random();  ///< all races are compared with each other
};

double Session::mean_speedup(const TunedChoice& choice) const {
  double sum = 0, weights = 0;
  for (const auto& [workload, weight] : weights_) {
    const auto found = choice.log_speedup.find(workload);
    if (found == choice.log_speedup.end()) return 0;
    sum += weight * found->second;
    weights += weight;
  }
  return weights > 0 ? std::exp(sum / weights) : 0;
}

std::size_t Session::fastest_at(const std::string& workload) const {
  std::size_t fastest = 0;
  const auto speed = [&](std::size_t choice) {
    const TunedChoice& of = result_.choices[choice];
    if (!of.verdict.is_passed || of.log_speedup.empty()) return -1e9;
    return workload.empty() ? std::log(of.speedup) : of.log_speedup.at(workload);
  };
  for (std::size_t choice = 1; choice < result_.choices.size(); ++choice)
    if (speed(choice) > speed(fastest)) fastest = choice;
  return fastest;
}

/// Adds up to a duel's worth of choices that nobody tried; their numbers.
std::vector<std::size_t> Session::propose(TuneState& state, Rng& rng) {
  std::vector<std::size_t> cohort;
  std::set<Tuning> known;
  state.tried.clear();
  for (const TunedChoice& choice : result_.choices) {
    known.insert(choice.candidate.tuning);
    state.tried.push_back({choice.candidate.tuning, choice.verdict.is_passed, choice.log_speedup});
  }
  state.is_known = [&](const Tuning& tuning) { return known.contains(tuning); };
  state.start = result_.choices[fastest_at("")].candidate.tuning;
  while (cohort.size() < k_opponents_max && result_.choices.size() < choices_max_) {
    std::optional<Tuning> next;
    if (auto proposal = next_tuning(state, rng)) next = std::move(proposal->tuning);
    if (!next)
      for (Tuning& tuning : whole_space(state))
        if (!next && !known.contains(tuning)) next = std::move(tuning);
    if (!next) break;
    known.insert(*next);
    cohort.push_back(result_.choices.size());
    result_.choices.push_back({.candidate = {result_.choices[0].candidate.source, std::move(*next)}});
  }
  return cohort;
}

void Session::examine(const std::vector<std::size_t>& cohort) {
  std::map<std::string, Request> requests;
  std::map<std::string, std::size_t> choice_of;
  for (const std::size_t choice : cohort) {
    Request request = request_for(task_, device_, fmt::format("examine-{}", choice), k_examine_s_max);
    request.examine = ExamineRequest{.candidate = result_.choices[choice].candidate, .key = Key::random()};
    choice_of[request.id] = choice;
    requests.emplace(request.id, std::move(request));
  }
  ask_all(evaluator_, requests, [&](const Reply& reply) {
    TunedChoice& choice = result_.choices[choice_of.at(reply.id)];
    choice.verdict =
        reply.examination ? reply.examination->verdict : Verdict::failed("worker", "lost", reply.error);
    if (reply.examination) choice.code_digest = reply.examination->code_digest;
    say_(fmt::format("{} of at most {}: {}: {}", ++examined_, choices_max_,
                     tuning_text(choice.candidate.tuning),
                     choice.verdict.is_passed
                         ? std::string("passed")
                         : fmt::format("failed at {}: {}", choice.verdict.stage, choice.verdict.reason)));
  });
}

/// Those that passed, but equal code once.
std::vector<std::size_t> Session::to_race(const std::vector<std::size_t>& cohort) {
  std::vector<std::size_t> arms;
  for (const std::size_t number : cohort) {
    TunedChoice& choice = result_.choices[number];
    if (!choice.verdict.is_passed) continue;
    const auto [first, is_new] = choice.code_digest.empty()
                                     ? std::pair(choice_of_code_.end(), true)
                                     : choice_of_code_.emplace(choice.code_digest, number);
    if (is_new)
      arms.push_back(number);
    else
      choice.twin_of = name_of(first->second);
  }
  return arms;
}

void Session::race(const std::vector<std::size_t>& cohort) {
  const std::vector<std::size_t> arms = to_race(cohort);
  if (arms.empty()) return;
  Halving halving(arms.size(), settings_.rounds);
  while (const auto heat = halving.next()) {
    std::vector<DuelArm> duelists{{"default", result_.choices[0].candidate}};
    for (const std::size_t arm : heat->arms)
      duelists.push_back({fmt::format("choice-{}", arms[arm]), result_.choices[arms[arm]].candidate});
    const Request request = duel_request(task_, device_, fmt::format("race-{}", races_++),
                                         std::move(duelists), heat->rounds, {}, model_key_);
    std::map<std::size_t, std::map<std::string, double>> results;
    ask_all(evaluator_, {{request.id, request}}, [&](const Reply& reply) {
      if (!reply.duel || !reply.duel->verdict.is_passed) return;
      for (const auto& [workload, ratios] : reply.duel->ratio)
        for (std::size_t k = 0; k < ratios.size() && k < heat->arms.size(); ++k)
          results[heat->arms[k]][workload] = ratios[k].log_ratio_median;
    });
    halving.tell(results);
    for (const std::size_t arm : heat->arms) {
      TunedChoice& choice = result_.choices[arms[arm]];
      choice.log_speedup = halving.log_speedups(arm);
      choice.speedup = mean_speedup(choice);
      if (!results.contains(arm) && choice.log_speedup.empty())
        choice.verdict = Verdict::failed("time", "lost", "no duel with the default came back");
    }
    const std::size_t fastest = fastest_at("");
    say_(fmt::format("raced {} with the default, {} rounds; fastest so far {:.3f}x: {}", heat->arms.size(),
                     heat->rounds, result_.choices[fastest].speedup, name_of(fastest)));
  }
}

/// A race verifies what the default wrote; the winners' own outputs are verified here.
void Session::prove_winners() {
  std::vector<std::string> goals{""};
  for (const auto& [workload, weight] : weights_) goals.push_back(workload);
  for (const std::string& goal : goals) {
    std::size_t winner = fastest_at(goal);
    while (winner != 0 && !result_.choices[winner].proven) {
      TunedChoice& choice = result_.choices[winner];
      say_(fmt::format("proves {}, {} rounds", name_of(winner), settings_.rounds));
      const Request request =
          duel_request(task_, device_, fmt::format("proof-{}", winner),
                       {{"candidate", choice.candidate}, {"default", result_.choices[0].candidate}},
                       settings_.rounds, {}, model_key_);
      ask_all(evaluator_, {{request.id, request}}, [&](const Reply& reply) {
        choice.verdict = reply.duel ? reply.duel->verdict : Verdict::failed("worker", "lost", reply.error);
        if (!choice.verdict.is_passed) return;
        choice.proven = pooled_ratio(*reply.duel, "default", weights_);
        for (const auto& [workload, ratios] : reply.duel->ratio)
          if (!ratios.empty()) choice.log_speedup[workload] = -ratios.front().log_ratio_median;
        choice.speedup = mean_speedup(choice);
      });
      if (choice.verdict.is_passed && !choice.proven)
        choice.verdict = Verdict::failed("time", "lost", "the duel with the default has no ratio");
      winner = fastest_at(goal);
    }
    result_.fastest[goal] = winner;
  }
}

void Session::take_twins() {
  for (TunedChoice& choice : result_.choices) {
    if (choice.twin_of.empty()) continue;
    const TunedChoice& first = result_.choices[choice_of_code_.at(choice.code_digest)];
    choice.speedup = first.speedup;
    choice.verdict = first.verdict;
  }
}

TuningResult Session::run(const Candidate& start) {
  TuneState state{.tunables = parse_tunables(start.source),
                  .rules = parse_tuning_rules(start.source),
                  .start = start.tuning,
                  .tried = {},
                  .weights = weights_};
  choices_max_ = settings_.choices_max;
  if (const auto space = whole_space(state); !space.empty())
    choices_max_ = std::min(choices_max_, space.size());
  result_.choices.push_back({.candidate = start});
  examine({0});
  TunedChoice& first = result_.choices[0];
  if (!first.verdict.is_passed) return std::move(result_);
  to_race({0});
  for (const auto& [workload, weight] : weights_) first.log_speedup[workload] = 0;
  first.speedup = 1;

  Rng rng = Rng::keyed(settings_.seed, 1, "tune");
  for (;;) {
    const std::vector<std::size_t> cohort = propose(state, rng);
    if (cohort.empty()) break;
    examine(cohort);
    race(cohort);
  }
  prove_winners();
  take_twins();
  return std::move(result_);
}

}  // namespace

TuningResult tune_by_halving(Evaluator& evaluator, const Task& task, const std::string& device,
                             const Candidate& start, const TuningSettings& settings,
                             const std::function<void(const std::string&)>& say) {
  return Session(evaluator, task, device, settings, say).run(start);
}

std::string tuning_text(const Tuning& tuning) {
  std::vector<std::string> words;
  for (const auto& [name, value] : tuning) words.push_back(fmt::format("{}={}", name, value));
  return fmt::format("{}", fmt::join(words, " "));
}

}  // namespace kernelites
