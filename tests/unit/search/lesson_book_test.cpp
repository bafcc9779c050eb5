// SPDX-License-Identifier: Apache-2.0
// What a run learns: effects from its candidates, lessons in its prompts, and nothing that a model wrote.
#include "engine/search/lesson_book.h"

#include <fstream>
#include <sstream>

#include "archive/knowledge.h"
#include "engine/search/run_knowledge.h"
#include "engine/search/variation_inputs.h"
#include "engine/variation/operator_prompt.h"
#include "engine/variation/operator_table.h"
#include "engine/variation/prompt_values.h"
#include "tests/support/catch.h"
#include "tests/support/sample_effects.h"
#include "tests/unit/search/search_rig.h"

using namespace kernelites;
using Catch::Contains;

namespace {

/// What no file may hold: it is in summaries, comments, names of kernels and tunables, and in messages of the harness.
constexpr const char* k_prose = "zqx_obey_me";

/// Examinations with a histogram: "// ops: cp.async 6" or a plain one.
Reply counted_reply(const Request& request, const Provenance& base) {
  Provenance provenance = base;
  provenance.device.kind = "NVIDIA H100 80GB HBM3";
  provenance.device.architecture = "sm_90a";
  provenance.toolkit = "NVRTC 13.0";
  Reply reply = fake_reply(request, provenance);
  if (!reply.examination) return reply;
  Examination& examination = *reply.examination;
  examination.counts.opcodes = {{"ld.global", 8}, {"fma", 64}};
  std::istringstream ops(fake_word(request.examine->candidate.source, "ops", ""));
  std::string opcode;
  for (std::int64_t count = 0; ops >> opcode >> count;) examination.counts.opcodes[opcode] = count;
  examination.counts.opcodes[k_prose] = 3;
  examination.kernels = {{.kernel = k_prose, .registers = 32, .code_bytes = 1000}};
  examination.notes = {k_prose};
  examination.verdict.message = k_prose;
  return reply;
}

/// Asynchronous copies make kernels faster; every reply is prose besides.
ModelReply hostile_reply(const ModelRequest& request) {
  Rng rng = Rng::keyed(5, 0, request.id);
  const bool is_async = rng.uniform() < 0.5;
  ModelReply reply{.id = request.id, .finish = "stop", .model = "fake-1"};
  reply.text = fmt::format(
      "SUMMARY: {0}\n```cuda\n// {0} {1}\n// cell: {2} fma tile\n// us: {3}\n// ops: cp.async {4}\n"
      "// tune: {0} = 64 | 128\n__global__ void {0}() {{}}\n```\n",
      k_prose, request.id, is_async ? "cp_async" : "direct",
      is_async ? 40 + rng.below(9) : 90 + rng.below(40), is_async ? 6 : 0);
  return reply;
}

struct LessonRig : SearchRig {
  FakeModel model;
  std::vector<std::string> prompts_sent;

  LessonRig() { has_lessons = true; }
  std::filesystem::path file() const { return folder.path() / "knowledge.db"; }
  void go() {
    FakeEvaluator evaluator(true);
    evaluator.answer = counted_reply;
    model = FakeModel();
    model.script = [this](const ModelRequest& request) {
      for (const auto& message : request.messages) prompts_sent.push_back(message.text);
      return hostile_reply(request);
    };
    run(evaluator, &model);
  }
  std::size_t export_all() { return export_knowledge(open(), task, config.effect_min, file()); }
  EffectSet exported() { return Knowledge::open_read_only(file()).read(); }
};

std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("nothing that a model wrote or named reaches the knowledge file or a later prompt") {
  LessonRig rig;
  rig.go();
  CHECK_THAT(rig.dump_text(), Contains(k_prose));
  REQUIRE(rig.export_all() > 0);
  CHECK_THAT(bytes_of(rig.file()), !Contains(k_prose));
  LessonRig next;
  Archive archive = next.open();
  CHECK(import_knowledge(archive, rig.file()) > 0);
  LessonBook book(archive, next.task, next.config.effect_min);
  const auto lessons = book.lessons({.architecture = "sm_90", .is_modelled = true});
  REQUIRE_FALSE(lessons.empty());
  for (const Lesson& lesson : lessons)
    CHECK_THAT(next.prompts.render("parts/lesson", lesson_values(lesson)), !Contains(k_prose));
}

TEST_CASE("effects say what was measured: technique, gain with interval, and where") {
  LessonRig rig;
  rig.go();
  rig.export_all();
  int async = 0;
  for (const auto& [id, effect] : rig.exported().effects) {
    CHECK(effect_problem(effect).empty());
    const bool has_async = effect.techniques == std::vector<std::string>{"use_async_copies"};
    if (!has_async || effect.outcome == EffectOutcome::failed) continue;
    ++async;
    CHECK(effect.outcome == EffectOutcome::faster);
    CHECK(effect.log_gain > 0.3);
    CHECK(effect.log_gain_low <= effect.log_gain);
    CHECK(effect.log_gain_high >= effect.log_gain);
    CHECK(effect.measures.at("op_async_copies") == std::pair(0.0, 6.0));
    CHECK(effect.is_modelled);
    CHECK(effect.task == "scaled_rows");
  }
  CHECK(async > 0);
}

TEST_CASE("a run exports the same whether it was killed and resumed or not, and nothing twice") {
  LessonRig whole;
  whole.config.is_deterministic = true;
  whole.go();
  whole.export_all();
  for (int kill : {20, 45}) {
    LessonRig torn;
    torn.config.is_deterministic = true;
    torn.sink.throw_at = kill;
    CHECK_THROWS_AS(torn.go(), RecordingSink::Kill);
    torn.export_all();
    torn.sink = {};
    torn.go();
    torn.export_all();
    CHECK(torn.export_all() == 0);
    REQUIRE(torn.exported().effects.size() == whole.exported().effects.size());
    for (const auto& [id, effect] : torn.exported().effects) CHECK(whole.exported().effects.contains(id));
    CHECK(torn.dump_text() == whole.dump_text());
  }
}

TEST_CASE("a resumed run keeps the lessons that it began with") {
  LessonRig rig;
  EffectSet known;
  known.add(sample_effect(1));
  Knowledge::open(rig.file()).join(known);
  {
    Archive archive = rig.open();
    CHECK(import_knowledge(archive, rig.file()) == 1);
  }
  rig.go();
  known.add(sample_effect(2));
  Knowledge::open(rig.file()).join(known);
  Archive archive = rig.open();
  CHECK(import_knowledge(archive, rig.file()) == 0);
  CHECK(archive.imported_effects().effects.size() == 1);
}

TEST_CASE("a file that is not there holds nothing, and is not made by looking") {
  LessonRig rig;
  Archive archive = rig.open();
  CHECK(import_knowledge(archive, rig.file()) == 0);
  CHECK_FALSE(std::filesystem::exists(rig.file()));
}

TEST_CASE("lessons are in prompts, follow what the run itself finds, and every prompt can be made again") {
  LessonRig rig;
  rig.config.budget.candidates = 30;
  rig.go();
  CHECK_THAT(rig.prompts_sent.back(), Contains("asynchronous copies (cp.async)"));
  Archive archive = rig.open();
  LessonBook book(archive, rig.task, rig.config.effect_min);
  const LessonReader reader = book.reader();
  int compared = 0;
  for (const CandidateRecord& record : archive.candidates()) {
    if (record.operator_name != "refine") continue;
    const VariationInput input = variation_input({.archive = archive,
                                                  .task = rig.task,
                                                  .config = rig.config,
                                                  .lessons = reader,
                                                  .device = archive.first_provenance()->device,
                                                  .baseline_id = archive.candidate(1)->id},
                                                 *archive.variation(record.variation));
    const OperatorPrompt prompt = render_operator("refine", input, rig.prompts);
    ModelRequest request;
    request.messages = prompt.messages;
    CHECK(prompt_digest(request) == record.prompt_digest);
    ++compared;
  }
  CHECK(compared > 10);
}

TEST_CASE("a run without a knowledge file tells no lessons and records no choice about them") {
  LessonRig rig;
  rig.has_lessons = false;
  rig.go();
  for (const std::string& prompt : rig.prompts_sent) CHECK_THAT(prompt, !Contains("asynchronous copies (cp"));
  CHECK_THAT(rig.dump_text(), !Contains("lessons_told"));
}

TEST_CASE("a change is compared through a kernel that both met, with both errors, where the two never met") {
  const auto end = [](const std::string& id, double ratio, double half) {
    ChangeEnd end;
    end.specimen = {.id = id, .verdict = Verdict::passed()};
    Duel duel{.verdict = Verdict::passed(), .arms = {"candidate", "base"}};
    duel.timing["w"] = std::vector<ArmTiming>(2);
    duel.ratio["w"] = {{ratio, ratio - half, ratio + half, 0.95, 30}};
    end.duels = {{id, duel}};
    return end;
  };
  const auto ratio = change_ratio(end("a", -0.1, 0.03), end("b", -0.3, 0.04), {{"w", 1.0}});
  REQUIRE(ratio.has_value());
  CHECK_FALSE(ratio->is_paired);
  CHECK(ratio->ratio.log_ratio_median == Approx(-0.2));
  CHECK(ratio->ratio.log_ratio_high - ratio->ratio.log_ratio_low == Approx(0.1));
  const auto direct = change_ratio(end("base", 0, 0.1), end("b", -0.3, 0.04), {{"w", 1.0}});
  REQUIRE(direct.has_value());
  CHECK(direct->is_paired);
  CHECK(direct->ratio.log_ratio_median == Approx(-0.3));
  CHECK_FALSE(change_ratio(end("a", 0, 0.1), end("b", 0, 0.1), {{"v", 1.0}}).has_value());
}

namespace {

/// Kernels whose lines say what they do: "fast();" halves the time by asynchronous copies, other lines do nothing.
Reply line_reply(const Request& request, const Provenance& provenance) {
  const auto explained = [](Candidate candidate) {
    const bool is_fast = candidate.source.find("fast();") != std::string::npos;
    candidate.source =
        std::string(is_fast ? "// us: 50\n// ops: cp.async 6\n" : "// us: 100\n") + candidate.source;
    return candidate;
  };
  Request with_words = request;
  if (with_words.examine) with_words.examine->candidate = explained(with_words.examine->candidate);
  if (with_words.duel)
    for (DuelArm& arm : with_words.duel->arms) arm.candidate = explained(arm.candidate);
  return counted_reply(with_words, provenance);
}

struct MinimiseRig : SearchRig {
  MinimiseRig() {
    seeds = {{"plain.cu", {"__global__ void k() {\n  a();\n  b();\n  c();\n  e();\n  d();\n}\n", {}}}};
    config.is_deterministic = true;
    config.operators = {{"refine", 0.5}, {"minimise", 0.5}};
    config.budget.candidates = 24;
  }
  void go() {
    FakeEvaluator evaluator(true);
    evaluator.answer = line_reply;
    FakeModel model;
    model.script = [](const ModelRequest& request) {
      ModelReply reply{.id = request.id, .finish = "stop", .model = "fake-1"};
      reply.text = fmt::format(
          "SUMMARY: more\n```cuda\n__global__ void k() {{\n"
          "  a{0}();\n  b();\n  fast();\n  e();\n  d{0}();\n}}\n```\n",
          request.ordinal);
      return reply;
    };
    run(evaluator, &model);
  }
};

}  // namespace

TEST_CASE("a minimisation is recorded candidates, ends, survives kills, and marks what it found") {
  MinimiseRig whole;
  whole.go();
  Archive archive = whole.open();
  std::string least;
  for (const CandidateRecord& record : archive.candidates()) {
    if (record.operator_name != "minimise") continue;
    CHECK(record.ordinal != record.variation);
    CHECK(record.told > 0);
    if (archive.variation(record.variation)->decision.value("submitted", std::uint64_t{0}) == record.ordinal)
      least = record.candidate.source;
  }
  CHECK(least == "__global__ void k() {\n  a();\n  b();\n  fast();\n  e();\n  d();\n}\n");
  int minimal = 0;
  for (const auto& [id, effect] : run_effects(archive, whole.task, 0.005).effects) {
    if (!effect.is_minimal) continue;
    ++minimal;
    CHECK(effect.parts == 1);
    CHECK(effect.outcome == EffectOutcome::faster);
    CHECK(effect.techniques == std::vector<std::string>{"use_async_copies"});
  }
  CHECK(minimal == 1);
  const int events = static_cast<int>(whole.sink.events.size());
  for (int kill = 6; kill < events; kill += 7) {
    MinimiseRig torn;
    torn.sink.throw_at = kill;
    CHECK_THROWS_AS(torn.go(), RecordingSink::Kill);
    torn.sink = {};
    torn.go();
    INFO("killed at event " << kill);
    CHECK(torn.dump_text() == whole.dump_text());
  }
}
