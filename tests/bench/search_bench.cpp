// SPDX-License-Identifier: Apache-2.0
// search_bench EXPERIMENT [options]: ablations of the search's mechanisms in frozen landscapes, as Markdown tables.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "engine/core/error.h"
#include "tests/bench/search_experiments.h"

namespace {

using namespace kernelites;

struct Experiment {
  const char *name, *summary;
  void (*run)(const BenchOptions& options, const std::vector<Arena>& arenas);
};

// Adding an experiment is a file and a row.
constexpr Experiment k_experiments[] = {
    {"lessons", "what runs in other landscapes teach, and what wrong lessons do", run_lessons},
    {"policies", "who becomes a parent: strategies and policies", run_policies},
    {"bandit", "whom to ask: single arms, all of them, and the bandit", run_bandit},
    {"operators", "what each operator that asks a model is worth beside refine", run_operators},
    {"forecast", "whether the next improvement comes when the forecast says", run_forecast},
    {"prompts", "what evolving prompts bring and cost", run_prompts},
    {"stagnation", "what stopping saves, and rungs before it", run_stagnation},
    {"triage", "what leaving out duels by modelled times saves and loses", run_triage},
    {"tuner", "which tuning is tried next: sweeps, halving, climbing, a model of effects", run_tuner},
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Ablations of the search in frozen landscapes");
  app.require_subcommand(1);
  BenchOptions options;
  const Experiment* chosen = nullptr;
  for (const Experiment& experiment : k_experiments) {
    CLI::App* command = app.add_subcommand(experiment.name, experiment.summary);
    command->add_option("--seeds", options.seeds, "runs in every landscape")->capture_default_str();
    command->add_option("--budget", options.budget, "evaluations of one run")->capture_default_str();
    command->add_option("--noise", options.noise, "of a duel, times what was measured")
        ->capture_default_str();
    command->add_option("--first-seed", options.first_seed, "of the runs")->capture_default_str();
    command->add_option("--looks", options.looks, "EliteRule::looks_max")->capture_default_str();
    command->add_option("--insight", options.rates.insight, "EditRates::insight")->capture_default_str();
    command->add_option("--further", options.rates.further, "EditRates::further")->capture_default_str();
    command->add_option("--jump", options.rates.jump, "EditRates::jump")->capture_default_str();
    command->add_option("--threads", options.threads, "runs at the same time")->capture_default_str();
    command->add_option("--rows", options.rows, "of policies: only the first so many");
    command->callback([&chosen, &experiment] { chosen = &experiment; });
  }
  CLI11_PARSE(app, argc, argv);
  try {
    chosen->run(options, measured_arenas(KERNELITES_SOURCE_DIR));
  } catch (const std::exception& error) {
    fmt::print(stderr, "search_bench: {}\n", error.what());
    return 1;
  }
  return 0;
}
