// SPDX-License-Identifier: Apache-2.0
// Configurations: what is written is read back, what is wrong is named.
#include "engine/search/run_config.h"

#include <fstream>

#include "engine/core/error.h"
#include "engine/search/budget.h"
#include "engine/search/recorded_config.h"
#include "engine/search/seeds.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_folder.h"

using namespace kernelites;

TEST_CASE("a configuration is read back as it was written") {
  RunConfig config;
  config.task = "rmsnorm";
  config.endpoint = "openai:m";
  config.budget.usd = 2.5;
  config.workers.launch = {"ssh", "host"};
  config.operators = {{"tune", 1.0}};
  config.seeds = {"naive.cu", "/elsewhere/mine.cu"};
  CHECK(parse_run_config(run_config_json(config), "x.json") == config);
}

TEST_CASE("what a file does not say keeps its default") {
  const RunConfig config =
      parse_run_config(parse_json("{\"budget\": {\"usd\": 1}} // note", "x.json"), "x.json");
  CHECK(config.budget.usd == 1);
  CHECK(config.in_flight == RunConfig{}.in_flight);
}

TEST_CASE("a wrong configuration names the file, the field and what was expected") {
  const std::pair<const char*, const char*> rows[] = {
      {R"({"taks": "x"})", "taks"},
      {R"({"budget": {"dollars": 1}})", "dollars"},
      {R"({"workers": {"cuont": 1}})", "cuont"},
      {R"({"device": "tpu"})", "auto, gpu or vgpu"},
      {R"({"in_flight": 0})", "in_flight"},
      {R"({"in_flight": "many"})", "in_flight"},
      {R"({"operators": {"magic": 1}})", "refine, tune"},
      {R"({"operators": {"tune": 0}})", "operators"},
      {R"({"operators": {"tune": -1}})", "operators.tune: is -1"},
      {R"({"operators": {"refine": 1, "tune": "half"}})", "operators.tune: expected a number"},
      {R"({"operators": ["tune"]})", "operators: expected an object of numbers"},
      {R"({"strategy": "greedy"})", "map-elites, best-of-n, hill-climb, random"},
      {R"({"softness": 2})", "softness"},
      {R"({"speed_scale": 0})", "speed_scale"},
      {R"({"budget": {"usd": -1}})", "usd"},
      {R"([])", "x.json"},
  };
  for (const auto& [text, word] : rows) {
    INFO(text);
    CHECK_THROWS_WITH(parse_run_config(parse_json(text, "x.json"), "x.json"),
                      Catch::Contains(word) && Catch::Contains("x.json"));
    CHECK_THROWS_AS(parse_run_config(parse_json(text, "x.json"), "x.json"), ConfigError);
  }
}

TEST_CASE("in a recorded configuration, shares of operators that have left are refine's") {
  const Json recorded =
      parse_json(R"({"operators": {"explore": 0.25, "simplify": 0.25, "refine": 0.25, "tune": 0.25}})", "x");
  CHECK(recorded_run_config(recorded, "x").operators ==
        std::map<std::string, double>{{"refine", 0.75}, {"tune", 0.25}});
  CHECK(recorded_run_config(parse_json(R"({"operators": {"explore": 1}})", "x"), "x").operators ==
        std::map<std::string, double>{{"refine", 1.0}});
  CHECK_THROWS_AS(parse_run_config(recorded, "x"), ConfigError);
  const Json broken = parse_json(R"({"operators": {"explore": 0.5, "refine": "half"}})", "x");
  CHECK_THROWS_WITH(recorded_run_config(broken, "x"), Catch::Contains("operators"));
}

TEST_CASE("triage is off unless it is asked for, and a mode that there is not is refused by name") {
  CHECK(RunConfig().triage.mode == "off");
  const RunConfig config =
      parse_run_config(parse_json(R"({"triage": {"mode": "skip", "errors": 3}})", "x"), "x");
  CHECK(config.triage == TriageSettings{.mode = "skip", .errors = 3});
  CHECK(parse_run_config(run_config_json(config), "x") == config);
  CHECK_THROWS_WITH(parse_run_config(parse_json(R"({"triage": {"mode": "accept"}})", "x"), "x"),
                    Catch::Contains("triage.mode") && Catch::Contains("off, order, skip"));
  CHECK_THROWS_AS(parse_run_config(parse_json(R"({"triage": {"sample": 0}})", "x"), "x"), ConfigError);
}

TEST_CASE("each budget is found exhausted by its name") {
  Spent spent;
  spent.candidates = 12;
  spent.seeds = 2;
  spent.wall_s = 120;
  spent.usd_most = 1;
  spent.tokens_most = 1000;
  spent.device_s = 30;
  const std::pair<BudgetLimits, const char*> rows[] = {
      {{}, ""},
      {{.candidates = 10}, "candidates"},
      {{.candidates = 11}, ""},
      {{.minutes = 2}, "minutes"},
      {{.minutes = 2.1}, ""},
      {{.usd = 1}, "usd"},
      {{.usd = 1.01}, ""},
      {{.tokens = 1000}, "tokens"},
      {{.tokens = 1001}, ""},
      {{.device_s = 30}, "device_s"},
      {{.device_s = 31}, ""},
  };
  for (const auto& [limits, name] : rows) CHECK(exhausted_budget(limits, spent, {}) == name);
  CHECK(exhausted_budget({.candidates = 11}, spent, {.candidates = 1}) == "candidates");
}

TEST_CASE("a call must fit beside all that calls can have cost") {
  Spent spent;
  spent.usd = 0.1;
  spent.usd_most = 0.8;
  spent.tokens_most = 60;
  CHECK(can_call({.usd = 1}, spent, {.usd = 0.2}));
  CHECK_FALSE(can_call({.usd = 1}, spent, {.usd = 0.21}));
  CHECK_FALSE(can_call({.tokens = 100}, spent, {.tokens = 41}));
  CHECK(can_call({}, spent, {.tokens = 1 << 30, .usd = 1e6}));
}

TEST_CASE("a run begins with the seeds that are named, in that order") {
  TemporaryFolder folder, elsewhere;
  for (const char* name : {"a.cu", "b.cu", "c.cu"})
    std::ofstream(folder.path() / name) << "// " << name << "\n";
  std::ofstream(elsewhere.path() / "mine.cu") << "// mine\n";
  const std::string mine = (elsewhere.path() / "mine.cu").string();
  const std::vector<Seed> chosen = choose_seeds(folder.path(), {"c.cu", mine});
  REQUIRE(chosen.size() == 2);
  CHECK(chosen[0].name == "c.cu");
  CHECK(chosen[1].candidate.source == "// mine\n");
  CHECK(choose_seeds(folder.path(), {}).size() == 3);
  CHECK_THROWS_WITH(choose_seeds(folder.path(), {"d.cu"}), Catch::Contains("d.cu"));
  CHECK_THROWS_WITH(choose_seeds(folder.path(), {"a.cu", "a.cu"}), Catch::Contains("twice"));
  CHECK_THROWS_WITH(choose_seeds(folder.path(), {8, "a.cu"}), Catch::Contains("at most 7"));
}
