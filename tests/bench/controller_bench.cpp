// SPDX-License-Identifier: Apache-2.0
// The whole loop beside a long history: a model and a worker that answer at once leave the controller's own time.
#include <fmt/format.h>
#include <time.h>

#include <filesystem>

#include "archive/database.h"
#include "engine/core/error.h"
#include "engine/core/statistics.h"
#include "engine/search/loop.h"
#include "tests/bench/archive_measures.h"
#include "tests/support/fake_evaluator.h"
#include "tests/support/fake_model.h"
#include "tests/support/small_task.h"

namespace kernelites {
namespace {

constexpr int k_elites = 40;   // of 48 cells
constexpr int k_warm_up = 20;  // candidates that are not counted

double seconds_of(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// Notes when candidates are told.
class TimingSink : public EventSink {
 public:
  void on_event(const Json& event) override {
    if (event.at("event") != "told") return;
    wall_s.push_back(seconds_of(CLOCK_MONOTONIC));
    cpu_s.push_back(seconds_of(CLOCK_THREAD_CPUTIME_ID));
  }
  std::vector<double> wall_s, cpu_s;
};

/// Statements over the numbers 1 to `count`. Ordinals up to 40 are the elites; a multiple of 10 beyond was rejected.
class HistoryWriter {
 public:
  HistoryWriter(Database& database, int count)
      : database_(database),
        numbers_(fmt::format("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) ",
                             count)) {}
  template <typename... Values>
  void run(const std::string& sql, const Values&... values) {
    database_.prepare(numbers_ + sql).bind(values...).run();
  }

 private:
  Database& database_;
  std::string numbers_;
};

std::string body_of(const char* what, const Json& value) {
  return Json{{"version", 1}, {what, value}}.dump();
}

void write_candidates(HistoryWriter writer) {
  writer.run(
      "INSERT INTO variation (ordinal, generation, operator_name, endpoint, decision, state, created_unix_s, "
      "prompt_version) SELECT i, 1, CASE WHEN i = 1 THEN 'seed' WHEN i % 3 = 0 THEN 'tune' ELSE 'refine' "
      "END, "
      "'fake', '{\"failures\": [], \"rejections\": []}', CASE WHEN i > 40 AND i % 10 = 0 THEN 'rejected' "
      "ELSE "
      "'submitted' END, 0.0, 'p' FROM n");
  writer.run(
      "INSERT INTO candidate (ordinal, id, variation, source, tuning, summary, prompt_digest, state, "
      "outcome, "
      "told, created_unix_s, source_digest) SELECT i, printf('%064d', i), i, '// cell: shared fma tile' || "
      "char(10) || '// us: ' || (30 + i % 40) || char(10) || '// tune: BN = 32 | 64 | 128' || char(10) || "
      "'__global__ void k() {}' || char(10) || '// ' || hex(zeroblob(2000)), '{\"BN\": 32}', 'a summary', "
      "'p', "
      "'done', CASE WHEN i <= 40 THEN 'added' WHEN i % 5 < 2 THEN 'failed' ELSE 'tie' END, i, 0.0, 'source-' "
      "|| i "
      "FROM n WHERE i <= 40 OR i % 10 <> 0");
  writer.run(
      "INSERT INTO rejection (ordinal, reason, message) SELECT i, 'no_code_block', 'no code' FROM n WHERE i "
      "> 40 "
      "AND i % 10 = 0");
  writer.run(
      "INSERT INTO variation_parent (ordinal, role, position, parent_id) SELECT i, 'parent', 0, "
      "printf('%064d', "
      "CASE WHEN i % 4 = 0 THEN 1 ELSE 1 + (i * 7) % 40 END) FROM n WHERE i > 40");
  writer.run(
      "INSERT INTO model_call (request_id, ordinal, attempt, endpoint, prompt_digest, prompt, sent_unix_s, "
      "state, "
      "model, reply, input_tokens, cached_input_tokens, output_tokens, usd, is_estimated, latency_s, "
      "failure, "
      "message) SELECT i || '-0', i, 1, 'fake', 'p', '[\"m' || i || '\"]', 0.0, 'answered', 'fake-1', "
      "hex(zeroblob(2000)), 4000, 2000, 1500, 0.01, 0, 3.0, '', '' FROM n WHERE i > 1 AND i % 3 <> 0");
  writer.run(
      "INSERT INTO message (digest, body) SELECT 'm' || i, hex(zeroblob(1000)) FROM n WHERE i > 1 AND i % 3 "
      "<> 0");
  writer.run(
      "INSERT INTO event (ordinal, event, body) SELECT i, 'told', '{\"event\": \"told\", \"ordinal\": ' || i "
      "|| "
      "'}' FROM n");
}

void write_evaluations(HistoryWriter writer) {
  Examination examination;
  examination.verdict = Verdict::passed();
  examination.notes = {std::string(2500, 'n')};
  Duel duel{.verdict = Verdict::passed(), .arms = {"candidate"}};
  duel.timing["wide"] = {{50, 49, 51, 60, true}};
  duel.notes = {std::string(1200, 'd')};
  const std::string provenance = body_of("provenance", Json(fake_provenance(true)));
  writer.run(
      "INSERT INTO evaluation (request_id, ordinal, verb, request, sent_unix_s, state, error, is_passed, "
      "stage, "
      "reason, descriptors, code_digest, task_digest, harness_version, toolkit, device, is_modelled, "
      "provenance, "
      "body, worker_s, device_s) SELECT i || '-examine', i, 'examine', '{}', 0.0, 'answered', '', i <= 40 OR "
      "i % 5 "
      ">= 2, 'all', 'passed', '{}', 'code-' || i, 't', 'h', 'f', 'fake', 1, ?1, ?2, 1.0, 0.5 FROM n WHERE i "
      "<= 40 "
      "OR i % 10 <> 0",
      provenance, body_of("examination", Json(examination)));
  writer.run(
      "INSERT INTO evaluation (request_id, ordinal, verb, request, sent_unix_s, state, error, is_passed, "
      "stage, "
      "reason, task_digest, harness_version, toolkit, device, is_modelled, provenance, body, worker_s, "
      "device_s) "
      "SELECT i || '-duel-0', i, 'duel', '{}', 0.0, 'answered', '', 1, 'all', 'passed', 't', 'h', 'f', "
      "'fake', 1, "
      "?1, ?2, 1.0, 0.5 FROM n WHERE i <= 40 OR (i % 10 <> 0 AND i % 5 >= 2)",
      provenance, body_of("duel", Json(duel)));
}

void write_elites(Database& database) {
  const std::vector<std::string> cells = all_cells();
  const std::string columns =
      "cell, ordinal, candidate_id, fitness, speedup, duel_id, task_digest, harness_version, device, "
      "is_modelled) "
      "SELECT ";
  const std::string values = "?1, ?2, printf('%064d', ?2), ?3, ?3, ?2 || '-duel-0', 'task', ?4, 'fake', 1";
  for (int i = 1; i <= k_elites; ++i) {
    const double fitness = 200.0 / (30 + i % 40);
    const std::string& cell = cells[static_cast<std::size_t>(i)];
    const std::string harness = k_harness_version;
    database.prepare("INSERT INTO elite (" + columns + values).bind(cell, i, fitness, harness).run();
    database.prepare("INSERT INTO elite_history (status, reason, " + columns + "'added', '', " + values)
        .bind(cell, i, fitness, harness)
        .run();
  }
}

/// A history of `count` candidates in the proportions of real runs: every tenth variation gave none, of the others
/// 40 % failed; 40 elites are the parents of everything, the best one of a quarter.
void write_history(const std::filesystem::path& folder, int count) {
  Database database(folder / "run.db", Database::Mode::read_write);
  database.execute("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000");
  Transaction transaction(database);
  write_candidates(HistoryWriter(database, count));
  write_evaluations(HistoryWriter(database, count));
  write_elites(database);
  transaction.commit();
}

/// A database with so many candidates behind it.
void make_run(const std::filesystem::path& folder, const Task& task, const RunConfig& config, int history) {
  std::filesystem::remove_all(folder);
  RunRecord run;
  run.task = task.name;
  run.task_digest = task.digest;
  run.task_document = task.document;
  run.reference_source = task.reference_source;
  run.configuration = run_config_json(config);
  { Archive::create(folder, run); }
  write_history(folder, history);
}

void measure_one(const ControllerOptions& options, int history) {
  const std::filesystem::path folder =
      std::filesystem::path(options.folder) / fmt::format("archive_bench_{}", history);
  const Task task = parse_task(small_task_document(), "reference", "small_task.json");
  RunConfig config;
  config.task = task.name;
  config.in_flight = 8;
  config.stop_grace_s = 0;
  config.stagnation.is_on = false;  // the fake model repeats itself, and the whole budget is to be used
  make_run(folder, task, config, history);
  {
    Archive archive = Archive::open(folder);
    config.budget.candidates = archive.spent().candidates - archive.spent().seeds + options.candidates;
    const PromptLibrary prompts =
        PromptLibrary::load(std::filesystem::path(KERNELITES_SOURCE_DIR) / "prompts");
    const std::vector<Seed> seeds = {{"seed.cu", {"// us: 200\n__global__ void k() {}\n", {}}}};
    TimingSink sink;
    FakeEvaluator evaluator;
    FakeModel model;
    RunParts parts{.task = task,
                   .config = config,
                   .prompts = prompts,
                   .seeds = seeds,
                   .archive = archive,
                   .evaluator = evaluator,
                   .endpoints = &model,
                   .device = "vgpu",
                   .run_key = Key::fixed("bench"),
                   .clock = Clock{},
                   .sinks = {&sink},
                   .incidents = {}};
    const double begin = seconds_of(CLOCK_MONOTONIC);
    Loop(parts).run();
    const std::size_t told = sink.wall_s.size();
    if (told < 2 * k_warm_up) throw Error("the run told too few candidates to measure");
    const auto each_ms = [&](const std::vector<double>& at) {
      std::vector<double> spans;
      for (std::size_t i = k_warm_up; i < told; ++i) spans.push_back(1e3 * (at[i] - at[i - 1]));
      return spans;
    };
    const auto mean_ms = [&](const std::vector<double>& at) {
      return 1e3 * (at.back() - at[k_warm_up - 1]) / static_cast<double>(told - k_warm_up);
    };
    print_measure(
        {{"measure", "controller"},
         {"history", history},
         {"n", told - k_warm_up},
         {"wall_ms_mean", mean_ms(sink.wall_s)},
         {"wall_ms_p90", quantile(each_ms(sink.wall_s), 0.9)},
         {"cpu_ms_mean", mean_ms(sink.cpu_s)},
         {"start_s", sink.wall_s.front() - begin},
         {"database_mb", static_cast<double>(std::filesystem::file_size(folder / "run.db")) / 1e6}});
  }
  std::filesystem::remove_all(folder);
}

}  // namespace

void measure_controller(const ControllerOptions& options) {
  for (const int history : options.histories) measure_one(options, history);
}

}  // namespace kernelites
