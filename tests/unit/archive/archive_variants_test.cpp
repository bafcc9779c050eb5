// SPDX-License-Identifier: Apache-2.0
// Tunings of one source, and versions of prompts.
#include "archive/archive.h"
#include "archive/dump.h"
#include "tests/support/catch.h"
#include "tests/unit/archive/scripted_run.h"

using namespace kernelites;

namespace {

/// Ordinals 1, 2, 3: two tunings of one source and another source, all told.
void record_three(Archive& archive) {
  for (std::uint64_t ordinal = 1; ordinal <= 3; ++ordinal) {
    archive.record_variation(sample_variation(ordinal, {}));
    CandidateRecord record = sample_candidate(ordinal);
    record.candidate = {ordinal < 3 ? "// same" : "// other", {{"BN", static_cast<std::int64_t>(ordinal)}}};
    record.id = candidate_id(record.candidate);
    REQUIRE(archive.record_candidate(record));
    finish_scripted_candidate(archive, ordinal);
  }
}

std::vector<std::uint64_t> ordinals_of(const std::vector<EvaluatedCandidate>& candidates) {
  std::vector<std::uint64_t> ordinals;
  for (const EvaluatedCandidate& candidate : candidates) ordinals.push_back(candidate.record.ordinal);
  return ordinals;
}

}  // namespace

TEST_CASE("tunings of a source are its told candidates, newest first, as of a moment") {
  const TemporaryFolder folder;
  Archive archive = Archive::create(folder.path(), sample_run());
  CHECK(archive.last_told() == 0);
  record_three(archive);
  CHECK(archive.last_told() == 3);
  CHECK(ordinals_of(archive.tunings("// same", 3, 10)) == std::vector<std::uint64_t>{2, 1});
  CHECK(ordinals_of(archive.tunings("// same", 1, 10)) == std::vector<std::uint64_t>{1});
  CHECK(ordinals_of(archive.tunings("// same", 3, 1)) == std::vector<std::uint64_t>{2});
  CHECK(archive.tunings("// nobody's", 3, 10).empty());
}

TEST_CASE("a prompt version is recorded once, closes its variation, can be retired, and is in the dump") {
  const TemporaryFolder folder;
  Archive archive = Archive::create(folder.path(), sample_run());
  archive.record_variation(sample_variation(1, {}));
  const std::string before = dump(archive);
  CHECK(before.find("prompt_version {") == std::string::npos);
  const PromptVersionRecord version{.version = "abc",
                                    .operator_name = "refine",
                                    .parent = "def",
                                    .ordinal = 1,
                                    .regions = {{"advice", "Think.\n"}},
                                    .created_unix_s = 5};
  CHECK(archive.record_prompt_version(version));
  CHECK_FALSE(archive.record_prompt_version(version));
  CHECK(archive.open_variations().empty());
  CHECK(archive.variation(1)->decision.at("prompt_version") == "abc");
  const auto versions = archive.prompt_versions();
  REQUIRE(versions.size() == 1);
  CHECK(versions[0].regions.at("advice") == "Think.\n");
  CHECK(versions[0].state == "live");
  CHECK(dump(archive).find("prompt_version {\"") != std::string::npos);
  archive.retire_prompt_version("abc");
  CHECK(archive.prompt_versions()[0].state == "retired");
}
