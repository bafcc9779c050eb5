// SPDX-License-Identifier: Apache-2.0
// What is told of a kernel's kind, and why a run ended: by what is known, not by what an older label says.
#include "tools/inspect/told_kind.h"

#include "tests/support/catch.h"
#include "tests/unit/inspect/two_kernels.h"
#include "tools/inspect/gain_reasons.h"
#include "tools/inspect/morning_text.h"
#include "tools/inspect/run_end.h"

using namespace kernelites;

namespace {

Examination placed(const std::string& split, const std::string& occupancy) {
  Examination examination;
  examination.descriptors = {{"split", split}, {"occupancy", occupancy}};
  return examination;
}

/// A long launch of few warps and a short one of many, as a split of keys and its merge.
Duel split_and_merge() {
  Duel duel;
  duel.modelled["a"] = {{.kernel = "split_kv", .time_us = 200, .occupancy = 0.12},
                        {.kernel = "combine", .time_us = 5, .occupancy = 1}};
  return duel;
}

RunEnd end_of(const std::filesystem::path& folder) {
  const Archive archive = Archive::open_read_only(folder);
  Database rows(folder / "run.db", Database::Mode::read_only);
  RunConfig config;
  config.budget.candidates = 40;
  return run_end(rows, folder.string(), archive.run(), archive.spent(), config);
}

}  // namespace

TEST_CASE("occupancy is told of the launch that takes the time, not of the one with most threads") {
  CHECK(told_descriptors(placed("split_kv", "occ100"), split_and_merge()).at("occupancy") == "occ12");
  CHECK(told_descriptors(placed("split_kv", "occ100"), std::nullopt).at("occupancy") == "occ100");
  CHECK(told_descriptors(placed("split_kv", "occ100"), Duel{}).at("occupancy") == "occ100");
}

TEST_CASE("a cluster alone is not told as specialised warps") {
  Examination examination = placed("specialised", "occ12");
  CHECK(told_descriptors(examination, std::nullopt).at("split") == "specialised");  // its code is not known
  examination.counts.opcodes = {{"barrier.cluster", 4}, {"ld.shared", 2}};
  CHECK(told_descriptors(examination, std::nullopt).at("split") == k_clusters_label);
  for (const char* opcode : {"setmaxnreg", "bar.arrive"}) {
    examination.counts.opcodes = {{opcode, 1}};
    CHECK(told_descriptors(examination, std::nullopt).at("split") == "specialised");
  }
}

TEST_CASE("launches that others replace are told together with them, and with what limits them") {
  TwoKernels two;
  two.is_measured = false;
  two.seed_launches = {{.kernel = "split_kv<8>", .time_us = 95, .limit = "issue"},
                       {.kernel = "combine", .time_us = 5, .limit = "latency"}};
  two.child_launches = {{.kernel = "decode_mma<true>", .time_us = 80, .limit = "DRAM"}};
  const TemporaryFolder folder;
  record_two_kernels(folder.path(), two);
  const RunReader run = read_run(folder.path().string());
  const std::vector<GainStep> chain = gain_chain(run, "2");
  REQUIRE(chain.size() == 1);
  const std::vector<GainFact> facts = leading_facts(chain[0].reasons, 3);
  REQUIRE(facts.size() == 1);
  CHECK(facts[0].brief ==
        "launch decode_mma<true> instead of launches split_kv<8> and combine: 80.00 us instead of 100.00 us, "
        "limited by DRAM instead of issue");
  CHECK(*facts[0].worth_us == Approx(20));
}

TEST_CASE("a run that says it runs and that no process writes is told as gone") {
  const TemporaryFolder folder;
  RunRecord run = sample_run();
  run.task_document = small_task_document();
  {
    Archive archive = Archive::create(folder.path(), run);
    archive.set_state("running");
    CHECK(end_of(folder.path()).state == "running");
    CHECK(end_of(folder.path()).words.empty());
  }
  CHECK(end_of(folder.path()).state == "gone");
  CHECK(end_of(folder.path())
            .words.find(
                "stopped after 0 of 40 candidates without an end: no process of this machine writes it") ==
        0);
}

TEST_CASE("why a run ended is told in words, of the newest end") {
  const TemporaryFolder folder;
  RunRecord run = sample_run();
  run.task_document = small_task_document();
  Archive archive = Archive::create(folder.path(), run);
  archive.set_state("done");
  CHECK(end_of(folder.path()).words.empty());
  archive.append_event({{"event", "stopped"}, {"reason", "budget"}, {"detail", "minutes"}});
  CHECK(end_of(folder.path()).words ==
        "ended budget after 0 of 40 candidates: the budget is used up: minutes");
  archive.append_event({{"event", "stopped"}, {"reason", "barren"}, {"detail", "duplicate\x1b[2J"}});
  const RunEnd end = end_of(folder.path());
  CHECK(end.reason == "barren");
  CHECK(end.words ==
        "ended barren after 0 of 40 candidates: 24 proposals in a row gave no candidate (the last: "
        "duplicate?[2J)");
}

TEST_CASE("seeds that were left out, and those that the baseline is the best of, are named") {
  const TemporaryFolder folder;
  record_two_kernels(folder.path(), {});
  {
    Archive archive = Archive::open(folder.path());
    archive.append_event({{"event", k_seeds_left_out}, {"seeds", {"mma_ahead.cu"}}});
  }
  const MorningFacts facts = morning_facts(folder.path().string());
  CHECK(facts.run.seeds_left_out == std::vector<std::string>{"mma_ahead.cu"});
  CHECK(facts.run.seeds.size() == 1);
  const std::string text = morning_text(facts, 4000);
  CHECK(text.find("the best of the one seed that the run began with. LEFT OUT of this run: the task's seed "
                  "mma_ahead.cu, which may be as fast.") != std::string::npos);
  CHECK(text.find("bench --task rmsnorm best.cu kernels_seed/rmsnorm/mma_ahead.cu") != std::string::npos);
  CHECK(run_facts_json(facts.run).at("run").at("seeds_left_out").at(0) == "mma_ahead.cu");
}

namespace {

/// The run of two kernels and a seed naive.cu that passes its examination and whose own duel ends with `verdict`.
MorningFacts facts_with_undueled_seed(const std::filesystem::path& folder, const Verdict& verdict) {
  record_two_kernels(folder, {.is_measured = false});
  {
    Archive archive = Archive::open(folder);
    archive.record_variation(sample_variation(3));
    CandidateRecord record = sample_candidate(3);
    record.summary = "seed naive.cu";
    archive.record_candidate(record);
    examine(archive, 3, sample_examination(3));
    duel(archive, 3, Duel{.verdict = verdict, .arms = {"candidate", "x"}});
    archive.tell({.ordinal = 3, .status = "failed", .elite = {}, .champions = {}});
  }
  return morning_facts(folder.string());
}

}  // namespace

TEST_CASE("a seed that passes every check and has no time is named with its reason") {
  const TemporaryFolder folder;
  const MorningFacts facts =
      facts_with_undueled_seed(folder.path(), Verdict::failed("time", "not_modelled", "too much work"));
  const std::string text = morning_text(facts, 4000);
  CHECK(text.find(
            "the only one of 2 seeds that could be timed. LEFT OUT of all duels: #3 naive.cu, which passes "
            "every check and has no time here (not_modelled: too much work).") != std::string::npos);
  CHECK(text.find(" 3 --source > seed.cu && kernelites bench --task rmsnorm best.cu seed.cu --device gpu") !=
        std::string::npos);
  const Json untimed = run_facts_json(facts.run).at("run").at("seeds_untimed");
  REQUIRE(untimed.size() == 1);
  CHECK(untimed.at(0) == Json{{"ordinal", 3},
                              {"seed", "naive.cu"},
                              {"stage", "time"},
                              {"reason", "not_modelled"},
                              {"message", "too much work"}});
}

TEST_CASE("a seed that was refused while timed is told as refused, without advice to time it elsewhere") {
  const TemporaryFolder folder;
  const MorningFacts facts = facts_with_undueled_seed(
      folder.path(),
      Verdict::failed("time", "timed_output_wrong", "output 'out' of a timed launch is wrong"));
  const std::string text = morning_text(facts, 4000);
  CHECK(text.find("LEFT OUT of all duels: #3 naive.cu, which passed its examination and was refused in stage "
                  "time (timed_output_wrong: output 'out' of a timed launch is wrong).") !=
        std::string::npos);
  CHECK(text.find("has no time here") == std::string::npos);
  CHECK(text.find("best.cu seed.cu --device gpu") == std::string::npos);
}

TEST_CASE("of a run whose seeds fail the first failure, its line and the command that tells more are told") {
  TwoKernels two;
  two.seed.verdict = Verdict::failed("compile", "compile_error", "expected a semicolon");
  two.seed.verdict.diagnostics = {{.code = "compile_error", .message = "expected a semicolon", .line = 12}};
  const TemporaryFolder folder;
  RunRecord run = sample_run();
  run.task_document = small_task_document();
  {
    Archive archive = Archive::create(folder.path(), run);
    VariationRecord variation = sample_variation(1, {});
    variation.operator_name = "seed";
    archive.record_variation(variation);
    CandidateRecord record = sample_candidate(1);
    record.operator_name = "seed";
    record.summary = "seed broken.cu";
    archive.record_candidate(record);
    const EvaluationRecord examine = sample_request(1, "examine");
    archive.record_request_sent(examine);
    archive.record_examination(examine.request_id, two.seed, provenance_of(two), 1, 1);
    archive.set_state("stopped");
  }
  const MorningFacts facts = morning_facts(folder.path().string());
  const std::string text = morning_text(facts, 4000);
  const char* const failure =
      "#1 seed broken.cu: stage compile, compile_error: line 12: expected a semicolon";
  CHECK(text.find(std::string("No seed passed: ") + failure) != std::string::npos);
  CHECK(text.find("Nothing failed") == std::string::npos);
  CHECK(text.find("kernelites show " + folder.path().string() + " 1\n") != std::string::npos);
  CHECK(run_facts_json(facts.run).at("run").at("seed_failure") == failure);
}
