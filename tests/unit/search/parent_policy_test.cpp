// SPDX-License-Identifier: Apache-2.0
// Parents: turns by speed and children, contenders, controls, second parents and target cells.
#include "engine/search/parent_policy.h"

#include <cmath>
#include <map>
#include <set>

#include "engine/search/target_cell.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

Elite elite(const std::string& cell, std::uint64_t ordinal, double speedup) {
  Elite elite;
  elite.cell = cell;
  elite.ordinal = ordinal;
  elite.candidate_id = "id" + std::to_string(ordinal);
  elite.fitness = elite.speedup = speedup;
  return elite;
}

/// Two cells; the second elite is slower by one `speed_scale`.
struct Case {
  Case() {
    grid.put(elite("shared/fma/tile", 1, 2));
    grid.put(elite("direct/fma/tile", 2, 2 * std::exp(-config.speed_scale)));
    choices.pool = &pool;
  }

  Parents next(const char* operator_name = "refine", std::uint64_t seed = 1) {
    Rng rng(seed);
    const auto parents = choose_parents(*find_operator(operator_name), grid, choices, config, rng);
    REQUIRE(parents);
    return *parents;
  }

  /// How often each became a parent, when every choice makes a child.
  std::map<std::string, int> turns(int count, const char* operator_name = "refine") {
    std::map<std::string, int> turns;
    for (int i = 0; i < count; ++i) {
      const Parents parents = next(operator_name, static_cast<std::uint64_t>(i));
      ++turns[parents.parent_id];
      pool.count_children(parents.parent_id, find_operator(operator_name)->needs_model);
    }
    return turns;
  }

  Grid grid;
  RunConfig config;
  ParentPool pool;
  Choices choices{.has_model = true};
};

}  // namespace

TEST_CASE("the fastest elite comes first, and one slower by the scale has a turn for e of its") {
  Case one;
  CHECK(one.next().parent_id == "id1");
  const auto turns = one.turns(2000);
  CHECK(turns.at("id1") / static_cast<double>(turns.at("id2")) == Approx(std::exp(1.0)).epsilon(0.02));
}

TEST_CASE("a contender becomes a parent if it is nearly as fast as its cell's elite") {
  Case one;
  one.pool.admit({"near", 3, "shared/fma/tile", 2 * (1 - one.config.softness / 2)});
  one.pool.admit({"far", 4, "shared/fma/tile", 2 * (1 - 2 * one.config.softness)});
  const auto turns = one.turns(500);
  CHECK(turns.count("near") == 1);
  CHECK(turns.count("far") == 0);
  CHECK(turns.at("near") > turns.at("id2"));
  Case strict;
  strict.config.softness = 0;
  strict.pool.admit({"near", 3, "shared/fma/tile", 1.99});
  CHECK(strict.turns(500).count("near") == 0);
}

TEST_CASE("tuning starts from tunable elites, and its children do not count for models") {
  Case one;
  one.choices.tunable_elites = {"id2"};
  one.pool.admit({"near", 3, "direct/fma/tile", 2});
  CHECK(one.turns(40, "tune") == std::map<std::string, int>{{"id2", 40}});
  CHECK(one.pool.children("id2", true) == 0);
  CHECK(one.pool.children("id2", false) == 40);
}

TEST_CASE("controls have the parents that their names say, and no inspirations") {
  Case one;
  one.choices.baseline_id = "id2";
  for (const char* id : {"id1", "id2", "lost"}) one.pool.admit({id, 9, "shared/fma/tile", 1});
  one.config.strategy = "best-of-n";
  CHECK(one.turns(50) == std::map<std::string, int>{{"id2", 50}});
  CHECK(one.next().inspirations.empty());
  one.config.strategy = "hill-climb";
  CHECK(one.turns(50) == std::map<std::string, int>{{"id1", 50}});
  CHECK(one.next().inspirations.empty());
  one.config.strategy = "random";
  const auto turns = one.turns(600);
  CHECK(turns.size() == 3);
  for (const auto& [id, count] : turns) CHECK((count > 150 && count < 250));
}

TEST_CASE("without contenders random draws of the elites") {
  Case one;
  one.choices.pool = nullptr;
  one.config.strategy = "random";
  std::set<std::string> drawn;
  for (std::uint64_t seed = 0; seed < 40; ++seed) drawn.insert(one.next("refine", seed).parent_id);
  CHECK(drawn == std::set<std::string>{"id1", "id2"});
}

TEST_CASE("two parents are of two cells") {
  Case one;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Parents parents = one.next("crossover", seed);
    CHECK(parents.parent_id == "id1");
    CHECK(parents.second_parent_id == "id2");
  }
}

TEST_CASE("a target is an empty cell beside the parent's while there is one") {
  Case one;
  std::set<std::string> targets;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Parents parents = one.next("target", seed);
    CHECK(one.grid.find(parents.target_cell) == nullptr);
    CHECK(cell_distance(parents.cell, parents.target_cell) == 1);
    targets.insert(parents.target_cell);
  }
  CHECK(targets.size() == 7);  // of 3 + 2 + 3 neighbours one is taken
}

TEST_CASE("the contenders of a cell are its fastest, in whatever order they came") {
  ParentPool up, down;
  const int count = 100;
  for (int i = 0; i < count; ++i) {
    const auto contender = [](int n) {
      return Contender{std::to_string(n), static_cast<std::uint64_t>(n), "cell", 1 + n / 2 * 0.01};
    };
    up.admit(contender(i));
    down.admit(contender(count - 1 - i));
  }
  REQUIRE(up.contenders("cell").size() == k_contenders_max);
  for (std::size_t i = 0; i < k_contenders_max; ++i)
    CHECK(up.contenders("cell")[i].candidate_id == down.contenders("cell")[i].candidate_id);
  CHECK(up.contenders("cell").front().speedup == Approx(1.49));
  CHECK(up.contenders("other").empty());
}

TEST_CASE("every strategy has its name, and no other has one") {
  CHECK(strategy_of_name("map-elites") == Strategy::map_elites);
  CHECK(strategy_of_name("best-of-n") == Strategy::best_of_n);
  CHECK(strategy_of_name("hill-climb") == Strategy::hill_climb);
  CHECK(strategy_of_name("random") == Strategy::random);
  CHECK_FALSE(strategy_of_name("greedy"));
}
