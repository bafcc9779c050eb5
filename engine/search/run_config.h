// SPDX-License-Identifier: Apache-2.0
// Everything that a run can be told, with its defaults: the configuration file's and the command line's one struct.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/json.h"
#include "engine/search/bandit_settings.h"
#include "engine/search/prompt_population.h"
#include "engine/search/stagnation_settings.h"
#include "engine/search/triage_settings.h"
#include "engine/variation/agent_limits.h"

namespace kernelites {

/// What a run may use up; 0 means no limit. Totals of the run over all its sessions.
struct BudgetLimits {
  std::int64_t candidates = 0;  ///< beyond the seeds
  double minutes = 0;           ///< wall clock
  double usd = 0;               ///< by the endpoint's price list
  std::int64_t tokens = 0;      ///< input + output
  double device_s = 0;          ///< seconds the device was held
  bool operator==(const BudgetLimits&) const = default;
};

/// Workers that are started in a way of their own; what is empty or 0 is as WorkerSettings says.
struct WorkerLaunch {
  std::vector<std::string> launch;
  std::string program;
  int count = 0;
  bool operator==(const WorkerLaunch&) const = default;
};

/// How workers are started.
struct WorkerSettings {
  std::vector<std::string>
      launch;           ///< prefix words: {"ssh", "host"}, {"srun", "--gpus=1"}; empty: this machine
  std::string program;  ///< the worker there; empty: the one beside this program
  int count = 1;        ///< with `groups`: of each group that says no count
  int requests_each = 2;
  double greeting_s = 60;  ///< from its start until a worker must have greeted; a scheduler's queue counts
  double outage_s = 1800;  ///< so long without any worker, and the run ends
  std::vector<WorkerLaunch> groups;  ///< several ways at once: {"launch": ["ssh", "host"], "count": 4}, ...
  bool operator==(const WorkerSettings&) const = default;
};

/// How a run chooses parents: the search itself, and the controls that it is compared with.
inline constexpr std::array<std::string_view, 4> k_strategies{"map-elites", "best-of-n", "hill-climb",
                                                              "random"};

/// A JSON object with these names as keys; `bandit`, `stagnation`, `triage`, `prompts`, `agent`, `budget` and
/// `workers` are objects. Comments are allowed, unknown keys refused.
struct RunConfig {
  std::string task;             ///< a name under the data root's tasks/, or a folder
  std::string device = "auto";  ///< auto, gpu, vgpu
  std::uint64_t seed = 1;
  Json endpoint;  ///< null: no model. A string as --endpoint takes it, or an object; an array: several
  std::vector<std::string> seeds;  ///< names in the task's seed folder, or paths; none: all of the folder
  std::string knowledge;  ///< a knowledge file: imported at the start, joined at the end; empty: none
  std::string replies;    ///< a recording: its replies are used where a prompt is the same; empty: none
  bool is_batch = false;  ///< evaluate through batch files instead of live workers
  bool ends_when_waiting = false;  ///< end when only replies from outside (spool) can bring the run on
  bool is_deterministic = false;   ///< golden: fixed key, results told in ask order
  std::vector<std::string>
      axes;           ///< of the grid (engine/core/axes.h); none: chosen by the task's family at the start
  int in_flight = 8;  ///< variations under way together
  std::map<std::string, double> operators{{"refine", 0.7}, {"tune", 0.3}};  ///< share of each operator
  std::string strategy = "map-elites";  ///< or a control: best-of-n, hill-climb, random (docs/search.md)
  double softness = 0.01;               ///< a parent is at most so much slower than its cell's elite
  double speed_scale = 0.03;            ///< log of a speed-up that is worth e times the children of a parent
  int rounds = 60;                      ///< paired rounds of a duel, at most
  int null_every = 50;  ///< candidates timed between two comparisons of an elite with itself; 0: none
  double examine_deadline_s = 180;
  double duel_deadline_s = 600;
  double effect_min = 0.005;                ///< smallest gain that replaces an elite
  double workload_loss_max = 0;             ///< if positive: no workload may lose more than this share
  int barren_max = 24;                      ///< variations in a row without a candidate that end the run
  double stop_grace_s = 10;                 ///< after Ctrl-C, for what is under way
  std::int64_t prompt_tokens_max = 48'000;  ///< prompts are trimmed to this estimate
  int output_tokens_max = 16'384;           ///< of one reply
  BanditSettings bandit;                    ///< who is asked how often
  StagnationSettings stagnation;            ///< when a run ends because nothing comes out any more
  TriageSettings triage;                    ///< what modelled times do to duels on a real device
  PopulationSettings prompts;               ///< how prompts evolve
  AgentLimits agent;                        ///< of one episode of the agent operator
  BudgetLimits budget;
  WorkerSettings workers;
  bool operator==(const RunConfig&) const = default;
};

/// Reads a configuration document over `base`. Throws ConfigError naming `where` and the field.
RunConfig parse_run_config(const Json& json, const std::string& where, RunConfig base = {});
/// Reads a file.
RunConfig read_run_config(const std::filesystem::path& file);
/// Checks ranges and names. Throws ConfigError naming `where`.
void check_run_config(const RunConfig& config, const std::string& where);
/// What `parse_run_config` reads back to an equal value.
Json run_config_json(const RunConfig& config);

}  // namespace kernelites
