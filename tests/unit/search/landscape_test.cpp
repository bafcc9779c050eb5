// SPDX-License-Identifier: Apache-2.0
// Frozen landscapes: their loader and figures on a small made-up one, what the measured ones hold, and scripted edits.
#include "tests/support/landscapes/landscape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "engine/core/error.h"
#include "engine/core/statistics.h"
#include "tests/support/catch.h"
#include "tests/support/landscapes/landscape_world.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/search/search_rig.h"

using namespace kernelites;

namespace {

const std::filesystem::path k_folder =
    std::filesystem::path(KERNELITES_SOURCE_DIR) / "tests" / "support" / "landscapes";

/// 2 x 3 points: the default, its twin, a failure; one slower, the best, one between them.
std::string small_document() {
  return R"({"name": "t", "kernel": "k.cu", "device": "d", "date": "2026-01-01", "toolkit": "n", "commit": "c",
    "tunables": {"A": [0, 1], "B": [8, 4, 2]}, "workloads": ["w", "x"], "axes": ["movement"], "opcodes": ["fma"],
    "columns": ["stage", "reason", "twin", "time_us", "time_us_p10", "time_us_p90", "again", "labels", "registers",
                "shared_bytes", "spill_bytes", "code_bytes", "launches", "blocks", "threads", "opcodes"],
    "points": [
      ["all","passed",0,[100,10],[99,9],[101,11],[],["direct"],32,0,0,128,1,[7,8],[32,32],[5]],
      ["all","passed",0,[100,10],[99,9],[101,11],[],["direct"],32,0,0,128,1,[7,8],[32,32],[5]],
      ["sanitize","race",-1,[],[],[],[],["direct"],32,0,0,128,1,[7,8],[32,32],[5]],
      ["all","passed",3,[200,20],[199,19],[201,21],[[202,20]],["shared"],32,0,0,128,1,[7,8],[32,32],[0]],
      ["all","passed",4,[50,5],[49,4],[51,6],[[50,5]],["shared"],32,0,0,128,1,[7,8],[32,32],[0]],
      ["all","passed",5,[80,8],[79,7],[81,9],[],["shared"],32,0,0,128,1,[7,8],[32,32],[0]]]})";
}

Landscape load_text(const std::string& text) {
  const TemporaryFolder folder;
  write_text_atomically(folder.path() / "small.json", text);
  return load_landscape(folder.path() / "small.json");
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

std::vector<Landscape> measured() {
  std::vector<Landscape> all;
  for (const auto& entry : std::filesystem::directory_iterator(k_folder)) {
    if (entry.path().filename().string().ends_with("_landscape.json"))
      all.push_back(load_landscape(entry.path()));
  }
  return all;
}

}  // namespace

TEST_CASE("a point's number and its tuning name each other") {
  const Landscape landscape = load_text(small_document());
  CHECK(landscape.tuning(4) == std::map<std::string, std::int64_t>{{"A", 1}, {"B", 4}});
  for (std::size_t i = 0; i < landscape.points.size(); ++i)
    CHECK(landscape.point_of(landscape.tuning(i)) == i);
}

TEST_CASE("neighbours differ in one tunable") {
  const Landscape landscape = load_text(small_document());
  CHECK(landscape.neighbours(4) == std::vector<std::size_t>{1, 3, 5});
  CHECK(landscape.distance(0, 4) == 2);
  CHECK(landscape.distance(3, 3) == 0);
}

TEST_CASE("speed is the geometric mean over workloads, and that of a failure is zero") {
  const Landscape landscape = load_text(small_document());
  CHECK(landscape.speedup(0) == Approx(1));
  CHECK(landscape.speedup(4) == Approx(2));
  CHECK(landscape.speedup(2) == 0);
  CHECK(landscape.best() == 4);
}

TEST_CASE("a point carries its descriptors, resources and opcode counts") {
  const LandscapePoint point = load_text(small_document()).points[0];
  CHECK(point.descriptors.at("movement") == "direct");
  CHECK(point.facts.at("registers") == 32);
  CHECK(point.facts.at("blocks x") == 8);
  CHECK(point.counts.opcodes.at("fma") == 5);
}

TEST_CASE("ruggedness counts failures, twins and optima, and climbs from everywhere") {
  const Ruggedness figures = ruggedness_of(load_text(small_document()));
  CHECK(figures.failed_share == Approx(1.0 / 6));
  CHECK(figures.twin_share == Approx(1.0 / 5));
  CHECK(figures.local_optima == 2);  // 4, and 0: its neighbours are its twin, a failure and a slower one
  CHECK(figures.distance_to_best == 2);
  CHECK(figures.speedup_best == Approx(2));
  CHECK(figures.climbed_to_best == Approx(4.0 / 5));
  CHECK(figures.noise == Approx(0));  // of 202/200, 20/20, 50/50, 5/5 the median
}

TEST_CASE("a landscape that would make figures wrong is refused") {
  const auto spoiled = [](const std::string& from, const std::string& to) {
    CHECK_THROWS_AS(load_text(replaced(small_document(), from, to)), ConfigError);
  };
  spoiled("\"B\": [8, 4, 2]", "\"B\": [8, 4]");
  spoiled("\"passed\",0,[100,10]", "\"race\",0,[100,10]");
  spoiled("\"passed\",3,[200,20]", "\"passed\",3,[200]");
  spoiled("\"passed\",3,[200,20]", "\"passed\",4,[200,20]");
  spoiled("[50,5],[49", "[50,0],[49");
  spoiled("\"opcodes\"],", "\"codes\"],");
}

TEST_CASE("the measured landscapes hold enough points, strategies, failures and height to search in") {
  const std::vector<Landscape> all = measured();
  CHECK(all.size() >= 4);
  std::size_t points = 0;
  for (const Landscape& landscape : all) {
    INFO(landscape.name);
    points += landscape.points.size();
    const Ruggedness figures = ruggedness_of(landscape);
    CHECK(figures.failed_share > 0.1);
    CHECK(figures.failed_share < 0.7);
    CHECK(figures.speedup_best > 1.1);
    CHECK(figures.local_optima > 1);
    std::set<std::int64_t> strategies;
    for (std::size_t i = 0; i < landscape.points.size(); ++i) {
      if (landscape.points[i].is_passed())
        strategies.insert(landscape.tuning(i).at(landscape.tunables.front().name));
    }
    CHECK(strategies.size() >= 2);
  }
  CHECK(points >= 2000);
}

TEST_CASE("the measured landscapes are those of the kernels beside them") {
  for (const Landscape& landscape : measured()) {
    INFO(landscape.name);
    CHECK(parse_tunables(read_text(k_folder / landscape.kernel)) == landscape.tunables);
  }
}

TEST_CASE("scripted edits come at the given rates") {
  const Landscape landscape = load_text(small_document());
  const EditRates rates;
  std::map<EditKind, double> shares;
  Rng rng(1);
  const int draws = 20000;
  for (int i = 0; i < draws; ++i) shares[scripted_edit(landscape, 4, rates, rng).kind] += 1.0 / draws;
  CHECK(shares[EditKind::no_code] == Approx(rates.no_code).margin(0.01));
  CHECK(shares[EditKind::broken] == Approx(rates.broken).margin(0.01));
  CHECK(shares[EditKind::cheat] == Approx(rates.cheat).margin(0.01));
  CHECK(shares[EditKind::same] == Approx(rates.same).margin(0.01));
  CHECK(shares[EditKind::jump] == Approx(rates.jump).margin(0.01));
}

TEST_CASE("scripted edits depend on their random numbers alone") {
  const Landscape landscape = load_text(small_document());
  Rng one(7), other(7);
  for (int i = 0; i < 100; ++i) {
    const ScriptedEdit a = scripted_edit(landscape, 3, {}, one), b = scripted_edit(landscape, 3, {}, other);
    CHECK(a.kind == b.kind);
    CHECK(a.point == b.point);
    CHECK(a.verdict.reason == b.verdict.reason);
  }
}

TEST_CASE("what is broken or cheats never passes, and what moves gets its point's verdict") {
  const Landscape landscape = load_text(small_document());
  Rng rng(3);
  for (int i = 0; i < 2000; ++i) {
    const ScriptedEdit edit = scripted_edit(landscape, 0, {}, rng);
    if (edit.kind == EditKind::same || edit.kind == EditKind::move || edit.kind == EditKind::jump) {
      CHECK(edit.verdict.is_passed == landscape.points[edit.point].is_passed());
    } else {
      CHECK_FALSE(edit.verdict.is_passed);
      CHECK(edit.point == 0);
    }
    if (edit.kind == EditKind::move) CHECK(edit.point != 0);
    if (edit.kind == EditKind::jump) CHECK(landscape.tuning(edit.point).at("A") == 1);
  }
}

TEST_CASE("insight takes the faster of two moves") {
  const Landscape landscape = load_text(small_document());
  const auto mean_speed = [&](double insight) {
    Rng rng(5);
    double sum = 0;
    for (int i = 0; i < 4000; ++i) {
      const EditRates rates{.no_code = 0, .broken = 0, .cheat = 0, .same = 0, .jump = 0, .insight = insight};
      sum += landscape.speedup(scripted_edit(landscape, 5, rates, rng).point);
    }
    return sum / 4000;
  };
  CHECK(mean_speed(1) > 1.1 * mean_speed(0));
}

TEST_CASE("a candidate's text names its point, and no other landscape's") {
  Landscape landscape = load_text(small_document());
  const std::string text = landscape_source(landscape, {.kind = EditKind::move, .point = 4}, "9-1");
  CHECK(named_point(landscape, "words\n" + text) == std::optional<std::size_t>(4));
  landscape.name = "other";
  CHECK_FALSE(named_point(landscape, text));
  CHECK_FALSE(named_point(landscape, "// landscape: other 99\n"));
  CHECK_FALSE(named_point(landscape, "// landscape: other x\n"));
}

TEST_CASE("twins have the same code, and what cheats ends where it is written") {
  const Landscape landscape = load_text(small_document());
  const auto examined = [&](const ScriptedEdit& edit) {
    Request request{.id = "1-examine", .examine = ExamineRequest{}};
    request.examine->candidate.source = landscape_source(landscape, edit, "1-1");
    return *landscape_reply(landscape, 0, request, {}).examination;
  };
  CHECK(examined({.kind = EditKind::move, .point = 1}).code_digest ==
        examined({.kind = EditKind::same}).code_digest);
  CHECK(examined({.kind = EditKind::move, .point = 4}).code_digest !=
        examined({.kind = EditKind::same}).code_digest);
  CHECK(examined({.kind = EditKind::move, .point = 2}).verdict.reason == "race");
  const Verdict verdict = Verdict::failed("screen", "screen_clock", "");
  CHECK(examined({.kind = EditKind::cheat, .point = 4, .verdict = verdict}).verdict.reason == "screen_clock");
}

TEST_CASE("times of a duel spread as two measured duels do") {
  const Landscape landscape = load_text(small_document());
  std::vector<double> differences;
  for (int i = 0; i < 2000; ++i) {
    Request request{.id = std::to_string(i), .duel = DuelRequest{}};
    for (const std::size_t point : {3, 3})
      request.duel->arms.push_back(
          {"a", {landscape_source(landscape, {.kind = EditKind::move, .point = point}, "1"), {}}});
    const Duel duel = *landscape_reply(landscape, 0.01, request, {}).duel;
    differences.push_back(std::abs(duel.ratio.at("w").front().log_ratio_median));
  }
  CHECK(median(differences) == Approx(0.01).epsilon(0.1));
}

TEST_CASE("the whole search runs in a measured landscape, and its elites are its points") {
  for (const Landscape& landscape : measured()) {
    INFO(landscape.name);
    SearchRig rig;
    Json document =
        read_json(std::filesystem::path(KERNELITES_SOURCE_DIR) / "tasks" / landscape.name / "task.json");
    std::erase_if(document.at("bench").get_ref<Json::array_t&>(), [&](const Json& workload) {
      return std::find(landscape.workloads.begin(), landscape.workloads.end(), workload.at("name")) ==
             landscape.workloads.end();
    });
    for (Json& workload : document.at("bench"))
      workload["weight"] = 1;  // as `Landscape::speedup` counts them
    rig.task = parse_task(document, "reference", "task.json");
    rig.config.task = landscape.name;
    rig.config.operators = {{"refine", 1.0}};
    rig.config.budget.candidates = 40;
    rig.seeds = {{"default.cu", {landscape_source(landscape, {.kind = EditKind::same}, "seed"), {}}}};
    FakeModel model;
    model.script = [&](const ModelRequest& request) { return scripted_reply(landscape, {}, 3, request); };
    FakeEvaluator evaluator(false);
    evaluator.answer = [&](const Request& request, const Provenance& provenance) {
      return landscape_reply(landscape, 0.002, request, provenance);
    };
    rig.run(evaluator, &model);

    Archive archive = rig.open();
    std::size_t passed = 0;
    for (const CandidateRecord& record : archive.candidates()) {
      const auto evaluations = archive.evaluations(record.ordinal);
      passed += std::any_of(evaluations.begin(), evaluations.end(), [](const EvaluationRecord& evaluation) {
        return evaluation.examination && evaluation.examination->verdict.is_passed;
      });
    }
    CHECK(passed > 8);
    CHECK(passed < 36);
    const auto history = archive.elite_history();
    REQUIRE_FALSE(history.empty());
    for (const auto& entry : history) {
      const auto point =
          named_point(landscape, archive.find_candidate(entry.elite.candidate_id)->candidate.source);
      REQUIRE(point);
      CHECK(entry.elite.speedup == Approx(landscape.speedup(*point)).epsilon(0.05));
    }
  }
}

// Not run with the others: search_tests "[.figures]" prints the tables of docs/landscapes.md.
TEST_CASE("figures of the measured spaces", "[.figures]") {
  for (const Landscape& landscape : measured()) {
    const Ruggedness figures = ruggedness_of(landscape);
    fmt::print(
        "| `{}` | {} | {:.0f} % | {:.0f} % | {:.2f}x | {} of {} | {} | {:.1f} % | {:.0f} % | {:.2f} % |\n",
        landscape.name, landscape.points.size(), 100 * figures.failed_share, 100 * figures.twin_share,
        figures.speedup_best, figures.distance_to_best, landscape.tunables.size(), figures.local_optima,
        100 * figures.climb_median, 100 * figures.climbed_to_best, 100 * figures.noise);
    std::map<std::string, int> reasons;
    for (const LandscapePoint& point : landscape.points) ++reasons[point.stage + "/" + point.reason];
    for (const auto& [reason, count] : reasons) fmt::print("    {} {}\n", reason, count);
    for (const auto& [name, value] : landscape.tuning(landscape.best()))
      fmt::print("    {} = {}\n", name, value);
    CHECK(figures.speedup_best >= 1);
  }
}

TEST_CASE("figures of scripted edits in the measured spaces", "[.figures]") {
  const auto print_shares = [](const Landscape& landscape, const char* from,
                               const std::vector<std::size_t>& parents) {
    const double noise = ruggedness_of(landscape).noise;
    Rng rng(1);
    const int draws = 20000;
    double passed = 0, better = 0, alike = 0;
    for (int i = 0; i < draws; ++i) {
      const std::size_t parent = parents[rng.below(parents.size())];
      const ScriptedEdit edit = scripted_edit(landscape, parent, {}, rng);
      if (!edit.verdict.is_passed) continue;
      const double gain = std::log(landscape.speedup(edit.point) / landscape.speedup(parent));
      passed += 1;
      better += gain > noise;
      alike += std::abs(gain) <= noise;
    }
    fmt::print("| `{}` | {} | {:.0f} % | {:.1f} % | {:.0f} % |\n", landscape.name, from, 100 * passed / draws,
               100 * better / draws, 100 * alike / draws);
    CHECK(passed > 0);
  };
  for (const Landscape& landscape : measured()) {
    std::vector<std::size_t> fast;
    for (std::size_t i = 0; i < landscape.points.size(); ++i) {
      if (landscape.speedup(i) > 0.95 * landscape.speedup(landscape.best())) fast.push_back(i);
    }
    print_shares(landscape, "the default", {0});
    print_shares(landscape, "within 5 % of the best", fast);
  }
}
