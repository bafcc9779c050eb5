// SPDX-License-Identifier: Apache-2.0
// The dump: the same for identical runs, different for different results.
#include "archive/dump.h"

#include "tests/support/catch.h"
#include "tests/unit/archive/scripted_run.h"

using namespace kernelites;

namespace {

/// The dump of a small run after `change` had its way with one candidate's evaluation or the run.
template <typename Change>
std::string dump_after(Change change) {
  const TemporaryFolder folder;
  RunRecord run = sample_run();
  Examination examination = sample_examination(1);
  double worker_s = 1;
  change(run, examination, worker_s);
  Archive archive = Archive::create(folder.path(), run);
  add_candidate(archive, 1);
  archive.record_request_sent(sample_request(1, "examine"));
  archive.record_examination("1-examine", examination, sample_provenance(), worker_s, worker_s);
  return dump(archive);
}

std::string plain_dump() {
  return dump_after([](RunRecord&, Examination&, double&) {});
}

}  // namespace

TEST_CASE("two identical runs have the same dump, byte for byte") {
  std::string texts[2];
  std::string signatures[2];
  for (int i = 0; i < 2; ++i) {
    const TemporaryFolder folder;
    Archive archive = Archive::create(folder.path(), sample_run());
    continue_scripted_run(archive, 12);
    texts[i] = dump(archive);
    signatures[i] = golden_signature(archive);
  }
  CHECK(texts[0] == texts[1]);
  CHECK(signatures[0] == signatures[1]);
  CHECK(texts[0].find("elite_history {\"status\":\"improved\"") != std::string::npos);
}

TEST_CASE("wall clock, configuration, seconds and stage times are not in the dump") {
  CHECK(dump_after([](RunRecord& run, Examination& examination, double& worker_s) {
          run.started_unix_s += 1000;
          run.configuration["out"] = "elsewhere";
          run.wall_s = 77;
          examination.stage_ms["compile"] = 99;
          worker_s = 50;
        }) == plain_dump());
}

TEST_CASE("a verdict, a descriptor or a seed changes the dump") {
  CHECK(dump_after([](RunRecord& run, Examination&, double&) { run.seed = 1; }) != plain_dump());
  CHECK(dump_after([](RunRecord&, Examination& e, double&) { e.descriptors["split"] = "split_kv"; }) !=
        plain_dump());
  CHECK(dump_after([](RunRecord&, Examination& e, double&) {
          e.verdict = Verdict::failed("check", "wrong", "");
        }) != plain_dump());
}

TEST_CASE("the order in which replies arrive does not change the dump") {
  std::string texts[2];
  for (int i = 0; i < 2; ++i) {
    const TemporaryFolder folder;
    Archive archive = Archive::create(folder.path(), sample_run());
    for (std::uint64_t ordinal : {1, 2}) add_candidate(archive, ordinal);
    for (std::uint64_t ordinal : i == 0 ? std::vector<std::uint64_t>{1, 2} : std::vector<std::uint64_t>{2, 1})
      examine(archive, ordinal, sample_examination(ordinal));
    texts[i] = dump(archive);
  }
  CHECK(texts[0] == texts[1]);
}

TEST_CASE("events do not change the dump") {
  const TemporaryFolder folder;
  Archive archive = Archive::create(folder.path(), sample_run());
  const std::string before = dump(archive);
  archive.append_event({{"event", "resumed"}, {"time_s", 1.5}});
  archive.set_state("done");
  CHECK(dump(archive) == before);
}

TEST_CASE("a reader dumps what the writer dumps") {
  const TemporaryFolder folder;
  Archive archive = Archive::create(folder.path(), sample_run());
  continue_scripted_run(archive, 6);
  CHECK(dump(Archive::open_read_only(folder.path())) == dump(archive));
}
