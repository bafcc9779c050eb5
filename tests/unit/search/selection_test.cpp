// SPDX-License-Identifier: Apache-2.0
// Selection: shares of operators, inspirations, and what can work at all.
#include "engine/search/selection.h"

#include <map>
#include <set>

#include "tests/support/catch.h"

using namespace kernelites;

namespace {

Elite elite(const std::string& cell, std::uint64_t ordinal, double fitness) {
  Elite elite;
  elite.cell = cell;
  elite.ordinal = ordinal;
  elite.candidate_id = "id" + std::to_string(ordinal);
  elite.fitness = elite.speedup = fitness;
  return elite;
}

Grid four_elites() {
  Grid grid;
  grid.put(elite("direct/fma/tile", 1, 1));
  grid.put(elite("shared/fma/tile", 2, 4));
  grid.put(elite("cp_async/fma/tile", 3, 2));
  grid.put(elite("tma/fma/tile", 4, 3));
  return grid;
}

std::map<std::string, int> parents(const Choices& choices, const RunConfig& config, int draws) {
  std::map<std::string, int> count;
  for (int i = 0; i < draws; ++i)
    if (const auto chosen = select(four_elites(), choices, config, Rng(static_cast<std::uint64_t>(i))))
      ++count[chosen->operator_name + " " + chosen->parents.parent_id];
  return count;
}

}  // namespace

TEST_CASE("without a model only the tuner works, on tunable elites") {
  RunConfig config;
  const auto count = parents({.has_model = false, .tunable_elites = {"id3"}}, config, 50);
  CHECK(count == std::map<std::string, int>{{"tune id3", 50}});
}

TEST_CASE("nothing can be done without elites, or without model and tunables") {
  CHECK_FALSE(select(Grid(), {.has_model = true}, {}, Rng(1)));
  CHECK_FALSE(select(four_elites(), {.has_model = false}, {}, Rng(1)));
}

TEST_CASE("an operator whose share is zero is never drawn") {
  RunConfig config;
  config.operators = {{"refine", 1}, {"tune", 0}};
  for (const auto& [name, n] : parents({.has_model = true, .tunable_elites = {"id1"}}, config, 200))
    CHECK(name.rfind("refine", 0) == 0);
}

TEST_CASE("inspirations are of other cells, distinct, best first, and include the best other") {
  RunConfig config;
  config.operators = {{"refine", 1}};
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const auto chosen = select(four_elites(), {.has_model = true}, config, Rng(seed));
    REQUIRE(chosen->parents.inspirations.size() == 2);
    CHECK(chosen->parents.inspirations[0].fitness > chosen->parents.inspirations[1].fitness);
    CHECK(chosen->parents.inspirations[0].candidate_id ==
          (chosen->parents.parent_id == "id2" ? "id4" : "id2"));
    for (const Elite& inspiration : chosen->parents.inspirations)
      CHECK(inspiration.cell != chosen->parents.cell);
  }
}

TEST_CASE("repair starts from a failed candidate, and only where there is one") {
  RunConfig config;
  config.operators = {{"repair", 1}};
  CHECK(parents({.has_model = true}, config, 10).empty());
  CHECK(parents({.has_model = true, .tunable_elites = {}, .failed = {"bad"}}, config, 10) ==
        std::map<std::string, int>{{"repair bad", 10}});
}
