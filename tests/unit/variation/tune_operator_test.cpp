// SPDX-License-Identifier: Apache-2.0
// The tuner proposes untried values, each once, and knows when it is done.
#include "engine/variation/tune_operator.h"

#include <cmath>
#include <set>

#include "engine/variation/declare_operator.h"
#include "engine/variation/halving.h"
#include "engine/variation/tune_search.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

const std::string k_source =
    "// tune: BM = 16 | 32\n"
    "// tune: BN = 32 | 64 | 128\n"
    "__global__ void k() {}\n";

/// What the operator does for a parent with `tuning` when `known` has been tried.
Action propose(const Task& task, const std::string& source, const Tuning& tuning,
               const std::set<std::string>& known, std::uint64_t seed) {
  VariationInput input{.task = task};
  input.parent.candidate = {source, tuning};
  input.is_known = [&](const Candidate& candidate) { return known.count(candidate_id(candidate)) > 0; };
  TuneOperator tuner(input, Rng(seed));
  return tuner.next(Started{});
}

}  // namespace

TEST_CASE("the tuner proposes every choice within two changes once and then gives up") {
  const Task task;
  std::set<std::string> known{candidate_id(with_full_tuning({k_source, {}}))};
  int proposals = 0;
  for (std::uint64_t seed = 0;; ++seed) {
    const Action action = propose(task, k_source, {}, known, seed);
    if (const auto* end = std::get_if<GiveUp>(&action)) {
      CHECK(end->rejection.reason == "tune_exhausted");
      break;
    }
    const Candidate& candidate = std::get<Submit>(action).proposal.candidate;
    CHECK(candidate.source == k_source);
    CHECK(candidate.tuning.size() == 2);
    REQUIRE(known.insert(candidate_id(candidate)).second);
    REQUIRE(++proposals < 100);
  }
  CHECK(proposals == 2 * 3 - 1);
}

TEST_CASE("one seed gives one proposal") {
  const Task task;
  const auto tuning = [&](std::uint64_t seed) {
    return std::get<Submit>(propose(task, k_source, {}, {}, seed)).proposal.candidate.tuning;
  };
  CHECK(tuning(7) == tuning(7));
  std::set<Tuning> seen;
  for (std::uint64_t seed = 0; seed < 30; ++seed) seen.insert(tuning(seed));
  CHECK(seen.size() > 2);
}

TEST_CASE("a source without tunables is not tunable") {
  const Task task;
  const Action action = propose(task, "__global__ void k() {}\n", {}, {}, 1);
  CHECK(std::get<GiveUp>(action).rejection.reason == "not_tunable");
}

TEST_CASE("the summary says what changed") {
  const Task task;
  const Action action = propose(task, "// tune: BM = 16 | 32\n__global__ void k() {}\n", {{"BM", 32}}, {}, 1);
  CHECK(std::get<Submit>(action).proposal.summary == "tune BM 32 -> 16");
}

TEST_CASE("a full tuning has the declared names and nothing else") {
  const Candidate full = with_full_tuning({k_source, {{"BN", 128}, {"GHOST", 1}}});
  CHECK(full.tuning == Tuning{{"BM", 16}, {"BN", 128}});
}

TEST_CASE("rules of a source are read, and wrong ones are told with their line") {
  std::vector<std::string> problems;
  const auto rules = parse_tuning_rules(
      "// tune: WARPS = 4 | 8\n// tune: ROWS = 1 | 2\n// where: WARPS * 32 * ROWS <= 256\n// where: WARPS\n"
      "// where: GHOST < 4\n",
      &problems);
  REQUIRE(rules.size() == 1);
  CHECK(rules[0] == TuningRule{"WARPS * 32 * ROWS", "<=", "256"});
  REQUIRE(problems.size() == 2);
  CHECK_THAT(problems[0], Catch::Contains("line 4") && Catch::Contains("FORMULA <= FORMULA"));
  CHECK_THAT(problems[1], Catch::Contains("line 5") && Catch::Contains("GHOST"));
}

TEST_CASE("a rule decides by both of its sides, with any of six comparisons") {
  const Tuning tuning{{"A", 4}, {"B", 8}};
  const auto allowed = [&](const std::string& comparison) {
    return is_allowed({{"2 * A", comparison, "B"}}, tuning);
  };
  CHECK((allowed("<=") && allowed(">=") && allowed("==")));
  CHECK_FALSE((allowed("<") || allowed(">") || allowed("!=")));
  CHECK_FALSE(is_allowed({{"A / (B - 8)", "<=", "1"}}, tuning));
}

TEST_CASE("the tuner never proposes what a rule excludes, and is done without it") {
  const Task task;
  const std::string source =
      "// tune: BM = 16 | 32\n// tune: BN = 32 | 64 | 128\n// where: BM * BN <= 2048\n__global__ void k() "
      "{}\n";
  std::set<std::string> known{candidate_id(with_full_tuning({source, {}}))};
  int proposals = 0;
  for (std::uint64_t seed = 0;; ++seed) {
    const Action action = propose(task, source, {}, known, seed);
    if (std::holds_alternative<GiveUp>(action)) break;
    const Candidate& candidate = std::get<Submit>(action).proposal.candidate;
    CHECK(candidate.tuning.at("BM") * candidate.tuning.at("BN") <= 2048);
    REQUIRE(known.insert(candidate_id(candidate)).second);
    REQUIRE(++proposals < 100);
  }
  CHECK(proposals == 4);  // 16x64, 16x128, 32x32 and 32x64 of the five besides the default
}

TEST_CASE("a source with its choices is as a file the kernel that was chosen, and the same text elsewhere") {
  const std::string source =
      "// a kernel\n  // tune: BM = 16 | 32 | 64\r\n// tune: BM = 8\n// tune: BN=128|256\n// tune: none\n"
      "int a = 16;  // tune: BM = 16 | 32";
  const Candidate chosen{.source = source, .tuning = {{"BM", 32}, {"BN", 128}}};
  const std::string text = source_with_choices(chosen);
  CHECK(text ==
        "// a kernel\n  // tune: BM = 32 | 16 | 64\n// tune: BM = 8\n// tune: BN=128|256\n// tune: none\n"
        "int a = 16;  // tune: BM = 16 | 32");
  CHECK(with_full_tuning({.source = text, .tuning = {}}).tuning == chosen.tuning);
  CHECK(source_with_choices(with_full_tuning({.source = source, .tuning = {}})) == source);
}

namespace {

const std::vector<Tunable> k_two{{"A", {0, 1, 2}}, {"B", {0, 1, 2}}};

double mean_draw(const TuneModel& model, const Tuning& tuning) {
  Rng rng(3);
  double sum = 0;
  for (int i = 0; i < 400; ++i) sum += model.log_speedup(model.draw(rng), tuning) / 400;
  return sum;
}

}  // namespace

TEST_CASE("effects add up: a pair of good values that was never tried is expected to be good") {
  TuneModel model(k_two);
  const double gain = std::log(1.5);
  model.add({{"A", 0}, {"B", 0}}, 0.0);
  model.add({{"A", 1}, {"B", 0}}, gain);
  model.add({{"A", 0}, {"B", 1}}, gain);
  CHECK(mean_draw(model, {{"A", 1}, {"B", 1}}) == Approx(2 * gain).margin(0.15));
  CHECK(mean_draw(model, {{"A", 0}, {"B", 0}}) == Approx(0).margin(0.05));
}

TEST_CASE("what is unknown varies between draws more than what was measured") {
  TuneModel model(k_two);
  for (int i = 0; i < 4; ++i) model.add({{"A", 0}, {"B", 0}}, 0.2);
  Rng rng(5);
  double known = 0, unknown = 0;
  for (int i = 0; i < 200; ++i) {
    const TuneModel::Draw draw = model.draw(rng);
    known += std::pow(model.log_speedup(draw, {{"A", 0}, {"B", 0}}) - 0.2, 2);
    unknown += std::pow(model.log_speedup(draw, {{"A", 2}, {"B", 2}}) - 0.2, 2);
  }
  CHECK(unknown > 10 * known);
}

TEST_CASE("values that failed together are taken for likely to fail, and single values are not blamed") {
  TuneModel model(k_two);
  for (int i = 0; i < 3; ++i) model.add({{"A", 1}, {"B", 1}}, false);
  model.add({{"A", 1}, {"B", 0}}, true);
  CHECK(model.pass_probability({{"A", 1}, {"B", 1}}) < 0.3);
  CHECK(model.pass_probability({{"A", 1}, {"B", 0}}) > 0.8);
  CHECK(model.pass_probability({{"A", 2}, {"B", 1}}) == 1);
}

TEST_CASE("with speeds of the neighbours known, the tuner mostly tries the promising pair first") {
  TuneState state{.tunables = k_two,
                  .start = {{"A", 1}, {"B", 0}},
                  .tried = {{{{"A", 0}, {"B", 0}}, true, {{"w", 0.0}}},
                            {{{"A", 1}, {"B", 0}}, true, {{"w", 0.4}}},
                            {{{"A", 0}, {"B", 1}}, true, {{"w", 0.4}}},
                            {{{"A", 0}, {"B", 2}}, true, {{"w", -0.4}}}},
                  .weights = {{"w", 1}}};
  state.is_known = [&](const Tuning& tuning) {
    for (const TunedPoint& point : state.tried)
      if (point.tuning == tuning) return true;
    return false;
  };
  int promising = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Rng rng(seed);
    promising += next_tuning(state, rng)->tuning == Tuning{{"A", 1}, {"B", 1}} ? 1 : 0;
  }
  CHECK(promising > 80);
}

TEST_CASE("half of the proposals aim at one workload, from the tuning that is fastest there") {
  TuneState state{.tunables = k_two,
                  .start = {{"A", 0}, {"B", 0}},
                  .tried = {{{{"A", 0}, {"B", 0}}, true, {{"short", 0.0}, {"long", 0.3}}},
                            {{{"A", 2}, {"B", 0}}, true, {{"short", 0.2}, {"long", -0.3}}}},
                  .weights = {{"short", 1}, {"long", 1}}};
  std::map<std::string, int> aims;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    Rng rng(seed);
    const auto proposal = next_tuning(state, rng);
    ++aims[proposal->workload];
    CHECK(proposal->from.at("A") == (proposal->workload == "short" ? 2 : 0));
  }
  CHECK((aims[""] > 160 && aims[""] < 240));
  CHECK((aims["short"] > 60 && aims["long"] > 60));
}

TEST_CASE("halving keeps the better half, doubles the rounds, and ends with two") {
  Halving halving(8, 20);
  std::vector<std::size_t> sizes;
  std::vector<int> rounds;
  while (const auto heat = halving.next()) {
    sizes.push_back(heat->arms.size());
    rounds.push_back(heat->rounds);
    std::map<std::size_t, std::map<std::string, double>> results;
    for (const std::size_t arm : heat->arms) results[arm] = {{"w", arm == 5 ? 1.0 : 0.1 * arm}};
    halving.tell(results);
  }
  CHECK(sizes == std::vector<std::size_t>{8, 4, 2});
  CHECK(rounds == std::vector<int>{5, 10, 20});
  CHECK(halving.winner() == 5);
}

TEST_CASE("an arm stays in a race while it is the fastest at one workload") {
  Halving halving(4, 8);
  halving.tell({{0, {{"s", 0.9}, {"l", 0.0}}},
                {1, {{"s", 0.8}, {"l", 0.1}}},
                {2, {{"s", 0.0}, {"l", 0.2}}},
                {3, {{"s", 0.0}, {"l", 0.1}}}});
  CHECK(halving.next()->arms == std::vector<std::size_t>{0, 1, 2});
}

TEST_CASE("an arm without a result is out, and heats are averaged by their rounds") {
  Halving halving(3, 8);
  halving.tell({{0, {{"w", 0.1}}}, {2, {{"w", 0.4}}}});
  CHECK(halving.next()->arms == std::vector<std::size_t>{2});
  halving.tell({{2, {{"w", 0.1}}}});
  CHECK(halving.log_speedups(2).at("w") == Approx((4 * 0.4 + 8 * 0.1) / 12));
  CHECK_FALSE(halving.next());
}

TEST_CASE("a race of one arm is one heat, and a race in which all fail is over") {
  Halving one(1, 8);
  REQUIRE(one.next()->rounds == 8);
  one.tell({{0, {{"w", 0.1}}}});
  CHECK_FALSE(one.next());
  Halving none(4, 8);
  none.tell({});
  CHECK_FALSE(none.next());
}

namespace {

const std::string k_fixed =
    "template <int T>\n__global__ void __launch_bounds__(T * (32)) k() {}\n"
    "__global__ void __launch_bounds__(64, 2) l() {}\n"
    "constexpr void plan(const Problem& p, kl::Plan& plan) {\n"
    "  plan.launch(\"k<2>\").grid(1).block(64);\n  plan.launch(\"m<1, 2>\").grid(1).block(64);\n}\n";

}  // namespace

TEST_CASE("launch bounds without a second argument get a declared one, the others stay") {
  const auto source = with_min_blocks(k_fixed);
  REQUIRE(source);
  CHECK_THAT(*source, Catch::StartsWith("// tune: MIN_BLOCKS = 1 | ") &&
                          Catch::Contains("__launch_bounds__(T * (32), MIN_BLOCKS)") &&
                          Catch::Contains("__launch_bounds__(64, 2)"));
  CHECK_FALSE(with_min_blocks(*source));
  CHECK_FALSE(with_min_blocks("__global__ void k() {}\n"));
  CHECK_FALSE(with_min_blocks("__global__ void __launch_bounds__(64"));
}

TEST_CASE("every launch gets the declared carve-out, whatever commas its name holds") {
  const auto source = with_carveout(k_fixed);
  REQUIRE(source);
  CHECK_THAT(*source, Catch::Contains("plan.launch(\"k<2>\").carveout(CARVEOUT).grid(1)") &&
                          Catch::Contains("plan.launch(\"m<1, 2>\").carveout(CARVEOUT).grid(1)"));
  CHECK_FALSE(with_carveout(*source));
}

TEST_CASE("declare submits the parent with a new tunable at another value than its default, and ends") {
  const Task task;
  VariationInput input{.task = task};
  input.parent.candidate = {k_fixed, {}};
  for (int i = 0; i < 2; ++i) {
    const Action action = DeclareOperator(input, Rng(4)).next(Started{});
    const Candidate& child = std::get<Submit>(action).proposal.candidate;
    REQUIRE(child.tuning.size() == input.parent.candidate.tuning.size() + 1);
    for (const Tunable& tunable : parse_tunables(child.source))
      if (!input.parent.candidate.tuning.contains(tunable.name))
        CHECK(child.tuning.at(tunable.name) != tunable.values.front());
    input.parent.candidate = child;
  }
  const Action end = DeclareOperator(input, Rng(4)).next(Started{});
  CHECK(std::get<GiveUp>(end).rejection.reason == "nothing_to_declare");
}
