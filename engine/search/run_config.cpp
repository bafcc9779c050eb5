// SPDX-License-Identifier: Apache-2.0
// Everything that a run can be told, with its defaults: the configuration file's and the command line's one struct.
#include "engine/search/run_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "engine/core/axes.h"
#include "engine/core/device_names.h"
#include "engine/core/error.h"
#include "engine/search/shares.h"
#include "engine/variation/operator_table.h"

namespace kernelites {
namespace {

BudgetLimits parse_budget(const Json& json, const std::string& where, BudgetLimits base) {
  ObjectReader reader(json, where, "budget");
  base.candidates = reader.optional("candidates", base.candidates);
  base.minutes = reader.optional("minutes", base.minutes);
  base.usd = reader.optional("usd", base.usd);
  base.tokens = reader.optional("tokens", base.tokens);
  base.device_s = reader.optional("device_s", base.device_s);
  reader.finish();
  return base;
}

PopulationSettings parse_prompts(const Json& json, const std::string& where, PopulationSettings base) {
  ObjectReader reader(json, where, "prompts");
  base.every = reader.optional("every", base.every);
  base.versions_max = reader.optional("versions_max", base.versions_max);
  base.variations_min = reader.optional("variations_min", base.variations_min);
  reader.finish();
  return base;
}

AgentLimits parse_agent(const Json& json, const std::string& where, AgentLimits base) {
  ObjectReader reader(json, where, "agent");
  base.steps = reader.optional("steps", base.steps);
  base.tokens = reader.optional("tokens", base.tokens);
  base.device_s = reader.optional("device_s", base.device_s);
  base.candidates = reader.optional("candidates", base.candidates);
  reader.finish();
  return base;
}

WorkerLaunch parse_worker_launch(const Json& json, const std::string& where) {
  WorkerLaunch group;
  ObjectReader reader(json, where, "workers.groups");
  group.launch = reader.optional("launch", group.launch);
  group.program = reader.optional("program", group.program);
  group.count = reader.optional("count", group.count);
  reader.finish();
  return group;
}

WorkerSettings parse_workers(const Json& json, const std::string& where, WorkerSettings base) {
  ObjectReader reader(json, where, "workers");
  base.launch = reader.optional("launch", base.launch);
  base.program = reader.optional("program", base.program);
  base.count = reader.optional("count", base.count);
  base.requests_each = reader.optional("requests_each", base.requests_each);
  base.greeting_s = reader.optional("greeting_s", base.greeting_s);
  base.outage_s = reader.optional("outage_s", base.outage_s);
  if (const Json groups = reader.optional("groups", Json()); !groups.is_null()) {
    if (!groups.is_array()) throw ConfigError(where, "workers.groups", "expected an array of objects");
    base.groups.clear();
    for (const Json& group : groups) base.groups.push_back(parse_worker_launch(group, where));
  }
  reader.finish();
  return base;
}

BanditSettings parse_bandit(const Json& json, const std::string& where, BanditSettings base) {
  ObjectReader reader(json, where, "bandit");
  base.is_on = reader.optional("is_on", base.is_on);
  base.floor = reader.optional("floor", base.floor);
  base.half_life = reader.optional("half_life", base.half_life);
  base.usd_per_device_hour = reader.optional("usd_per_device_hour", base.usd_per_device_hour);
  base.usd_per_variation = reader.optional("usd_per_variation", base.usd_per_variation);
  reader.finish();
  return base;
}

TriageSettings parse_triage(const Json& json, const std::string& where, TriageSettings base) {
  ObjectReader reader(json, where, "triage");
  base.mode = reader.optional("mode", base.mode);
  base.errors = reader.optional("errors", base.errors);
  base.sample = reader.optional("sample", base.sample);
  reader.finish();
  return base;
}

constexpr int k_patience_max = 1'000'000;

StagnationSettings parse_stagnation(const Json& json, const std::string& where, StagnationSettings base) {
  ObjectReader reader(json, where, "stagnation");
  base.is_on = reader.optional("is_on", base.is_on);
  base.patience = reader.optional("patience", base.patience);
  if (json.contains("stops")) {  // recorded when there were five steps, each after `patience`
    const bool stops = reader.optional("stops", true);
    base.is_on = base.is_on && stops;
    base.patience = std::min(5 * base.patience, k_patience_max);
  }
  reader.finish();
  return base;
}

/// One range check: `value` in [low, high].
template <typename T>
void check_range(const std::string& where, const char* field, T value, T low, T high) {
  if (!(value >= low && value <= high))
    throw ConfigError(where, field, fmt::format("is {}, expected {} to {}", value, low, high));
}

void check_triage(const TriageSettings& triage, const std::string& where) {
  if (std::find(k_triage_modes.begin(), k_triage_modes.end(), triage.mode) == k_triage_modes.end())
    throw ConfigError(where, "triage.mode",
                      fmt::format("is \"{}\", expected {}", triage.mode, fmt::join(k_triage_modes, ", ")));
  check_range(where, "triage.errors", triage.errors, 0.5, 100.0);
  check_range(where, "triage.sample", triage.sample, 1, 1'000'000);
}

}  // namespace

RunConfig parse_run_config(const Json& json, const std::string& where, RunConfig base) {
  ObjectReader reader(json, where);
  base.task = reader.optional("task", base.task);
  base.device = reader.optional("device", base.device);
  base.seed = reader.optional("seed", base.seed);
  base.endpoint = reader.optional("endpoint", base.endpoint);
  base.knowledge = reader.optional("knowledge", base.knowledge);
  base.replies = reader.optional("replies", base.replies);
  base.is_batch = reader.optional("is_batch", base.is_batch);
  base.ends_when_waiting = reader.optional("ends_when_waiting", base.ends_when_waiting);
  base.is_deterministic = reader.optional("is_deterministic", base.is_deterministic);
  base.axes = reader.optional("axes", base.axes);
  base.seeds = reader.optional("seeds", base.seeds);
  base.in_flight = reader.optional("in_flight", base.in_flight);
  base.operators = read_shares(reader, "operators", base.operators);
  base.strategy = reader.optional("strategy", base.strategy);
  base.softness = reader.optional("softness", base.softness);
  base.speed_scale = reader.optional("speed_scale", base.speed_scale);
  base.rounds = reader.optional("rounds", base.rounds);
  base.null_every = reader.optional("null_every", base.null_every);
  base.examine_deadline_s = reader.optional("examine_deadline_s", base.examine_deadline_s);
  base.duel_deadline_s = reader.optional("duel_deadline_s", base.duel_deadline_s);
  base.effect_min = reader.optional("effect_min", base.effect_min);
  base.workload_loss_max = reader.optional("workload_loss_max", base.workload_loss_max);
  base.barren_max = reader.optional("barren_max", base.barren_max);
  base.stop_grace_s = reader.optional("stop_grace_s", base.stop_grace_s);
  base.prompt_tokens_max = reader.optional("prompt_tokens_max", base.prompt_tokens_max);
  base.output_tokens_max = reader.optional("output_tokens_max", base.output_tokens_max);
  if (const Json bandit = reader.optional("bandit", Json()); !bandit.is_null())
    base.bandit = parse_bandit(bandit, where, base.bandit);
  if (const Json stagnation = reader.optional("stagnation", Json()); !stagnation.is_null())
    base.stagnation = parse_stagnation(stagnation, where, base.stagnation);
  if (const Json triage = reader.optional("triage", Json()); !triage.is_null())
    base.triage = parse_triage(triage, where, base.triage);
  if (const Json agent = reader.optional("agent", Json()); !agent.is_null())
    base.agent = parse_agent(agent, where, base.agent);
  if (const Json prompts = reader.optional("prompts", Json()); !prompts.is_null())
    base.prompts = parse_prompts(prompts, where, base.prompts);
  if (const Json budget = reader.optional("budget", Json()); !budget.is_null())
    base.budget = parse_budget(budget, where, base.budget);
  if (const Json workers = reader.optional("workers", Json()); !workers.is_null())
    base.workers = parse_workers(workers, where, base.workers);
  reader.finish();
  check_run_config(base, where);
  return base;
}

RunConfig read_run_config(const std::filesystem::path& file) {
  return parse_run_config(read_json(file), file.string());
}

void check_run_config(const RunConfig& config, const std::string& where) {
  if (!is_device_name(config.device))
    throw ConfigError(
        where, "device",
        fmt::format("is \"{}\", expected auto, gpu or vgpu (also vgpu:rtx4090)", config.device));
  try {
    axes_named(config.axes);
  } catch (const Error& error) {
    throw ConfigError(where, "axes", error.what());
  }
  if (std::find(k_strategies.begin(), k_strategies.end(), config.strategy) == k_strategies.end())
    throw ConfigError(where, "strategy",
                      fmt::format("is \"{}\", expected {}", config.strategy, fmt::join(k_strategies, ", ")));
  check_triage(config.triage, where);
  check_range(where, "in_flight", config.in_flight, 1, 1024);
  check_range(where, "softness", config.softness, 0.0, 1.0);
  check_range(where, "speed_scale", config.speed_scale, 0.0001, 100.0);
  check_range(where, "rounds", config.rounds, 2, 1000);
  check_range(where, "null_every", config.null_every, 0, 100000);
  check_range(where, "examine_deadline_s", config.examine_deadline_s, 1.0, 86400.0);
  check_range(where, "duel_deadline_s", config.duel_deadline_s, 1.0, 86400.0);
  check_range(where, "effect_min", config.effect_min, 0.0, 0.5);
  check_range(where, "workload_loss_max", config.workload_loss_max, 0.0, 1.0);
  check_range(where, "barren_max", config.barren_max, 1, 100000);
  check_range(where, "stop_grace_s", config.stop_grace_s, 0.0, 3600.0);
  check_range<std::int64_t>(where, "prompt_tokens_max", config.prompt_tokens_max, 4'000, 10'000'000);
  check_range(where, "output_tokens_max", config.output_tokens_max, 256, 1'000'000);
  check_range(where, "bandit.floor", config.bandit.floor, 0.0, 1.0);
  check_range(where, "bandit.half_life", config.bandit.half_life, 1.0, 1e6);
  check_range(where, "bandit.usd_per_device_hour", config.bandit.usd_per_device_hour, 0.0, 1e6);
  check_range(where, "bandit.usd_per_variation", config.bandit.usd_per_variation, 1e-6, 1e3);
  check_range(where, "stagnation.patience", config.stagnation.patience, 1, k_patience_max);
  check_range(where, "agent.steps", config.agent.steps, 2, 1000);
  check_range<std::int64_t>(where, "agent.tokens", config.agent.tokens, 0, 1'000'000'000);
  check_range(where, "agent.device_s", config.agent.device_s, 0.0, 86400.0);
  check_range(where, "agent.candidates", config.agent.candidates, 0, 10000);
  check_range(where, "prompts.every", config.prompts.every, 0, 1'000'000);
  check_range(where, "prompts.versions_max", config.prompts.versions_max, 2, 64);
  check_range(where, "prompts.variations_min", config.prompts.variations_min, 1, 100'000);
  check_range(where, "workers.count", config.workers.count, 1, 256);
  check_range(where, "workers.requests_each", config.workers.requests_each, 1, 16);
  check_range(where, "workers.greeting_s", config.workers.greeting_s, 1.0, 604800.0);
  check_range(where, "workers.outage_s", config.workers.outage_s, 1.0, 604800.0);
  check_range<std::size_t>(where, "workers.groups", config.workers.groups.size(), 0, 256);
  for (const WorkerLaunch& group : config.workers.groups)
    check_range(where, "workers.groups.count", group.count, 0, 256);
  check_range<std::int64_t>(where, "budget.candidates", config.budget.candidates, 0, 1'000'000'000);
  check_range<std::int64_t>(where, "budget.tokens", config.budget.tokens, 0, 1'000'000'000'000);
  check_range(where, "budget.minutes", config.budget.minutes, 0.0, 1e7);
  check_range(where, "budget.usd", config.budget.usd, 0.0, 1e9);
  check_range(where, "budget.device_s", config.budget.device_s, 0.0, 1e9);
  double share = 0;
  for (const auto& [name, weight] : config.operators) {
    if (find_operator(name) == nullptr) {
      std::string known;
      for (const OperatorRow& row : operator_table())
        known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
      throw ConfigError(where, "operators",
                        fmt::format("there is no operator \"{}\"; known are {}", name, known));
    }
    if (find_operator(name)->is_scheduled)
      throw ConfigError(where, "operators",
                        fmt::format("{} has no share: \"prompts\" says when it works", name));
    check_range(where, ("operators." + name).c_str(), weight, 0.0, k_share_max);
    share += weight;
  }
  if (share <= 0) throw ConfigError(where, "operators", "at least one share must be above 0");
}

Json run_config_json(const RunConfig& config) {
  Json groups = Json::array();
  for (const WorkerLaunch& group : config.workers.groups)
    groups.push_back({{"launch", group.launch}, {"program", group.program}, {"count", group.count}});
  return {
      {"task", config.task},
      {"device", config.device},
      {"seed", config.seed},
      {"endpoint", config.endpoint},
      {"knowledge", config.knowledge},
      {"replies", config.replies},
      {"is_batch", config.is_batch},
      {"ends_when_waiting", config.ends_when_waiting},
      {"is_deterministic", config.is_deterministic},
      {"axes", config.axes},
      {"seeds", config.seeds},
      {"in_flight", config.in_flight},
      {"operators", config.operators},
      {"strategy", config.strategy},
      {"softness", config.softness},
      {"speed_scale", config.speed_scale},
      {"rounds", config.rounds},
      {"null_every", config.null_every},
      {"examine_deadline_s", config.examine_deadline_s},
      {"duel_deadline_s", config.duel_deadline_s},
      {"effect_min", config.effect_min},
      {"workload_loss_max", config.workload_loss_max},
      {"barren_max", config.barren_max},
      {"stop_grace_s", config.stop_grace_s},
      {"prompt_tokens_max", config.prompt_tokens_max},
      {"output_tokens_max", config.output_tokens_max},
      {"bandit",
       {{"is_on", config.bandit.is_on},
        {"floor", config.bandit.floor},
        {"half_life", config.bandit.half_life},
        {"usd_per_device_hour", config.bandit.usd_per_device_hour},
        {"usd_per_variation", config.bandit.usd_per_variation}}},
      {"stagnation", {{"is_on", config.stagnation.is_on}, {"patience", config.stagnation.patience}}},
      {"triage",
       {{"mode", config.triage.mode}, {"errors", config.triage.errors}, {"sample", config.triage.sample}}},
      {"agent",
       {{"steps", config.agent.steps},
        {"tokens", config.agent.tokens},
        {"device_s", config.agent.device_s},
        {"candidates", config.agent.candidates}}},
      {"prompts",
       {{"every", config.prompts.every},
        {"versions_max", config.prompts.versions_max},
        {"variations_min", config.prompts.variations_min}}},
      {"budget",
       {{"candidates", config.budget.candidates},
        {"minutes", config.budget.minutes},
        {"usd", config.budget.usd},
        {"tokens", config.budget.tokens},
        {"device_s", config.budget.device_s}}},
      {"workers",
       {{"launch", config.workers.launch},
        {"program", config.workers.program},
        {"count", config.workers.count},
        {"requests_each", config.workers.requests_each},
        {"greeting_s", config.workers.greeting_s},
        {"outage_s", config.workers.outage_s},
        {"groups", groups}}}};
}

}  // namespace kernelites
