// SPDX-License-Identifier: Apache-2.0
// Techniques from measured differences, states from evaluations, and the rank of lessons.
#include "engine/variation/lesson_ranking.h"

#include <set>

#include "engine/variation/bottleneck.h"
#include "engine/variation/prompt_library.h"
#include "engine/variation/prompt_values.h"
#include "engine/variation/technique_table.h"
#include "tests/support/catch.h"
#include "tests/support/sample_effects.h"
#include "tests/support/small_task.h"

using namespace kernelites;
using Catch::Contains;

namespace {

Examination kernel(std::map<std::string, std::int64_t> opcodes, int registers = 32) {
  Examination examination{.verdict = Verdict::passed()};
  examination.descriptors = {{"movement", "direct"}, {"compute", "fma"}, {"split", "tile"}};
  examination.counts.opcodes = std::move(opcodes);
  examination.kernels = {{.kernel = "k", .registers = registers, .code_bytes = 1000}};
  LaunchPlan plan;
  plan.launches = {{.kernel = "k", .grid = {64, 1, 1}, .block = {128, 1, 1}}};
  examination.plans["wide"] = plan;
  return examination;
}

KernelMeasures measures(const Examination& examination, std::map<std::string, std::int64_t> tuning = {}) {
  return measures_of({"", std::move(tuning)}, examination, {}, {"wide"});
}

std::vector<std::string> techniques(const Examination& before, const Examination& after) {
  return techniques_between(measures(before), measures(after));
}

Effect effect_of(int change, const std::string& technique, double log_gain) {
  Effect effect = sample_effect(change);
  effect.techniques = {technique};
  effect.log_gain = log_gain;
  effect.log_gain_low = log_gain - 0.01;
  effect.log_gain_high = log_gain + 0.01;
  effect.outcome = log_gain > 0 ? EffectOutcome::faster : EffectOutcome::slower;
  return effect;
}

LessonQuery same_case() {
  const Effect effect = sample_effect(0);
  return {.task = effect.task,
          .architecture = "sm_90",
          .family = effect.family,
          .dtype = effect.dtype,
          .state = effect.state,
          .shape_classes = {effect.shape_class}};
}

std::vector<Lesson> rank(const std::vector<Effect>& effects, const LessonQuery& query = same_case()) {
  std::vector<const Effect*> all;
  for (const Effect& effect : effects) all.push_back(&effect);
  return rank_lessons(all, query);
}

double bound_of(const std::vector<Effect>& effects, const std::string& code,
                const LessonQuery& query = same_case()) {
  for (const Lesson& lesson : rank(effects, query))
    if (lesson.code == code) return lesson.log_gain_bound;
  return -1;
}

std::vector<Effect> three(const std::string& technique, double log_gain, int first = 0) {
  return {effect_of(first, technique, log_gain), effect_of(first + 1, technique, log_gain),
          effect_of(first + 2, technique, log_gain)};
}

std::vector<Effect> with(std::vector<Effect> effects, const std::vector<Effect>& more) {
  effects.insert(effects.end(), more.begin(), more.end());
  return effects;
}

Specimen timed(double time_us, Examination examination) {
  Specimen specimen{.id = "s", .verdict = Verdict::passed(), .examination = std::move(examination)};
  Duel duel{.verdict = Verdict::passed(), .arms = {"candidate"}};
  duel.timing["wide"] = {{.time_us_median = time_us, .samples = 10}};
  specimen.duel = duel;
  return specimen;
}

}  // namespace

TEST_CASE("codes of techniques, states and shape classes are unique, stored shapes, and measure something") {
  std::set<std::string_view> codes;
  const std::vector<std::string>& names = measure_names();
  for (const TechniqueRow& row : technique_table()) {
    CHECK(codes.insert(row.code).second);
    CHECK(effect_code(row.code) == row.code);
    CHECK((row.measure.empty() || std::find(names.begin(), names.end(), row.measure) != names.end()));
  }
  for (const auto& table : {bottleneck_table(), shape_class_table()})
    for (const LessonTerm& term : table) CHECK(effect_code(term.code) == term.code);
  CHECK(names.size() <= k_effect_measures_max);
}

TEST_CASE("techniques are what the compiled code and the plans say") {
  const Examination plain = kernel({{"fma", 64}, {"ld.global", 8}, {"bar.sync", 4}});
  CHECK(techniques(plain, kernel({{"fma", 64}, {"ld.global", 8}, {"bar.sync", 4}, {"cp.async", 6}})) ==
        std::vector<std::string>{"use_async_copies"});
  CHECK(techniques(plain, kernel({{"fma", 64}, {"ld.global", 2}, {"bar.sync", 3}})) ==
        std::vector<std::string>{"fewer_barriers", "fewer_global_loads"});
  Examination more_blocks = plain;
  more_blocks.plans["wide"].launches[0].grid = {256, 1, 1};
  CHECK(techniques(plain, more_blocks) == std::vector<std::string>{"more_blocks"});
  CHECK(techniques(plain, plain).empty());
  Examination other = plain;
  other.kernels[0].registers = 33;
  CHECK(techniques(plain, other) == std::vector<std::string>{"other_change"});
}

TEST_CASE("tunables count by known names only, whatever a model calls its own") {
  const Examination one = kernel({{"fma", 1}});
  CHECK(techniques_between(measures(one, {{"STAGES_64", 2}}), measures(one, {{"STAGES_64", 4}})) ==
        std::vector<std::string>{"more_stages"});
  CHECK(measures(one, {{"IGNORE_ALL_RULES", 7}}) == measures(one));
  CHECK(tunable_measure("IGNORE_ALL_RULES").empty());
}

TEST_CASE("a kernel without a histogram of its code has no measures") {
  Examination unknown = kernel({});
  CHECK(measures(unknown).empty());
}

TEST_CASE("what limits a kernel is read from spills, the time model, counters or roofs, in this order") {
  const Task task = parse_task(small_task_document(), "reference", "small_task.json");
  DeviceFacts h100;
  h100.kind = "NVIDIA H100 80GB HBM3";
  const std::string workload = task.bench.front().name;
  Specimen specimen = timed(1000, kernel({{"fma", 1}}));
  specimen.duel->timing = {{workload, {{.time_us_median = 1000, .samples = 10}}}};
  CHECK(bottleneck_of(task, h100, specimen) == "too_few_blocks");
  specimen.examination.plans.clear();
  CHECK(bottleneck_of(task, h100, specimen) == "memory_latency");
  CHECK(bottleneck_of(task, {}, specimen) == "unknown");
  CounterReport report;
  report.readings = {{"issue_active_percent", 30, "%", ""}, {"stall_barrier", 3, "warps", ""}};
  specimen.examination.counters[workload] = report;
  CHECK(bottleneck_of(task, h100, specimen) == "synchronisation");
  specimen.duel->modelled[workload] = {{.kernel = "k", .time_us = 900, .limit = "L2"}};
  CHECK(bottleneck_of(task, h100, specimen) == "l2_bandwidth");
  specimen.examination.kernels[0].spill_load_bytes = 64;
  CHECK(bottleneck_of(task, h100, specimen) == "register_spills");
  specimen.duel.reset();
  CHECK(bottleneck_of(task, h100, specimen) == "unknown");
}

TEST_CASE("the larger and the surer gain comes first") {
  const auto lessons = rank(with(three("use_async_copies", 0.1), three("use_tensor_cores", 0.4, 3)));
  REQUIRE(lessons.size() == 2);
  CHECK(lessons[0].code == "use_tensor_cores");
  const auto sure = rank(with(three("use_async_copies", 0.2), {effect_of(9, "use_tensor_cores", 0.25)}));
  CHECK(sure[0].code == "use_async_copies");
}

TEST_CASE("evidence against a lesson lowers its rank, again and again") {
  std::vector<Effect> effects = three("use_async_copies", 0.2);
  double before = bound_of(effects, "use_async_copies");
  for (int i = 3; i < 12; ++i) {
    effects.push_back(effect_of(i, "use_async_copies", -0.1));
    const double after = bound_of(effects, "use_async_copies");
    CHECK(after < before);
    before = after;
  }
  CHECK(rank(effects)[0].slower == 9);
}

TEST_CASE("a technique that does worse than others on the same kernels becomes a warning") {
  std::vector<Effect> effects;
  for (int i = 0; i < 8; ++i) {
    effects.push_back(effect_of(2 * i, "use_async_copies", 0.3));
    effects.push_back(effect_of(2 * i + 1, "fewer_barriers", -0.2));
    effects[effects.size() - 1].parent = effects[effects.size() - 2].parent;
  }
  const auto lessons = rank(effects);
  REQUIRE(lessons.size() == 2);
  CHECK(lessons[0].code == "use_async_copies");
  CHECK(lessons[1].code == "fewer_barriers");
  CHECK(lessons[1].promise < 0);
  CHECK(lessons[1].gain_high < 1);
}

TEST_CASE("of techniques that come together, the one that also helps alone gets the gain") {
  std::vector<Effect> effects = three("use_async_copies", 0.3);
  for (int i = 3; i < 9; ++i) {
    effects.push_back(effect_of(i, "use_async_copies", 0.3));
    effects.back().techniques = {"more_registers", "use_async_copies"};
    effects.push_back(effect_of(i + 10, "more_registers", -0.1));
  }
  const auto lessons = rank(effects);
  CHECK(lessons[0].code == "use_async_copies");
  for (const Lesson& lesson : lessons)
    CHECK((lesson.code != "more_registers" || lesson.promise < lessons[0].promise / 2));
}

TEST_CASE("tries that a check refused count as no gain") {
  Effect failed = effect_of(3, "use_async_copies", 0.5);
  failed.outcome = EffectOutcome::failed;
  const std::vector<Effect> good = three("use_async_copies", 0.2);
  CHECK(bound_of(with(good, {failed}), "use_async_copies") < bound_of(good, "use_async_copies"));
  CHECK(rank(with(good, {failed}))[0].failed == 1);
}

TEST_CASE("a case that is unlike the asker's counts less, and an expired one not at all") {
  const Effect effect = sample_effect(0);
  const auto check_less = [&](void (*change)(LessonQuery&)) {
    LessonQuery query = same_case();
    change(query);
    CHECK(relevance(effect, query) < relevance(effect, same_case()));
    CHECK(relevance(effect, query) > 0);
  };
  CHECK(relevance(effect, same_case()) == Approx(1));
  check_less([](LessonQuery& q) { q.state = "tensor_latency"; });
  check_less([](LessonQuery& q) { q.architecture = "sm_80"; });
  check_less([](LessonQuery& q) { q.family = "prefill"; });
  check_less([](LessonQuery& q) { q.dtype = "e4m3"; });
  check_less([](LessonQuery& q) { q.shape_classes = {"short_tensor"}; });
  check_less([](LessonQuery& q) { q.is_modelled = true; });
  check_less([](LessonQuery& q) { q.toolkit = "NVRTC 14.0"; });
  check_less([](LessonQuery& q) { q.now_unix_s = 1.79e9 + 100 * 86400.0; });
  LessonQuery late = same_case();
  late.now_unix_s = 1.79e9 + 1000 * 86400.0;
  CHECK(relevance(effect, late) == 0);
  Effect old = effect;
  old.harness_version = "0";
  CHECK(relevance(old, same_case()) == 0);
}

TEST_CASE("what a change was minimised to counts instead of the change") {
  Effect whole = effect_of(0, "use_async_copies", 0.3), least = effect_of(1, "fewer_barriers", 0.3);
  whole.techniques = {"fewer_barriers", "use_async_copies"};
  least.pair = whole.pair;
  least.is_minimal = true;
  const auto lessons = rank({whole, least});
  REQUIRE(lessons.size() == 1);
  CHECK(lessons[0].code == "fewer_barriers");
  CHECK(lessons[0].tried == 1);
}

TEST_CASE("a code of another version is told to nobody") {
  CHECK(rank(three("a_technique_of_tomorrow", 0.5)).empty());
}

TEST_CASE("predictions follow the evidence and say when there is none") {
  const std::vector<Effect> effects = three("use_async_copies", 0.2);
  std::vector<const Effect*> all;
  for (const Effect& effect : effects) all.push_back(&effect);
  const auto predicted = predict_log_gain(all, effect_of(8, "use_async_copies", 0));
  REQUIRE(predicted.has_value());
  CHECK(*predicted > 0.1);
  CHECK(*predicted < 0.2);
  CHECK_FALSE(predict_log_gain(all, effect_of(8, "use_tensor_cores", 0)).has_value());
}

TEST_CASE("a lesson is told with effect, counts, evidence against it, and what was predicted") {
  std::vector<Effect> effects = three("use_async_copies", 0.2);
  effects.push_back(effect_of(5, "use_async_copies", -0.05));
  effects[0].predicted_log_gain = 0.3;
  const std::string line = PromptLibrary::load(std::filesystem::path(KERNELITES_SOURCE_DIR) / "prompts")
                               .render("parts/lesson", lesson_values(rank(effects)[0]));
  CHECK_THAT(line, Contains("asynchronous copies") && Contains("loads are waited for") &&
                       Contains("helped 3 of 4") && Contains("1 got slower") && Contains("1.221x") &&
                       Contains("sm_90"));
}
