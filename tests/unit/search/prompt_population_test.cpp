// SPDX-License-Identifier: Apache-2.0
// When a prompt is rewritten, which version of it, which goes, and which texts a run may use.
#include "engine/search/prompt_population.h"

#include <filesystem>

#include "engine/search/prompt_evolution.h"
#include "tests/support/catch.h"
#include "tests/unit/archive/archive_samples.h"

using namespace kernelites;

namespace {

const PopulationSettings k_settings{.every = 10, .versions_max = 3, .variations_min = 8};

PromptLibrary library() {
  return PromptLibrary::load(std::filesystem::path(KERNELITES_SOURCE_DIR) / "prompts");
}

/// An archive with open variations 1 to `count`.
Archive archive_with(const TemporaryFolder& folder, std::uint64_t count) {
  Archive archive = Archive::create(folder.path(), sample_run());
  for (std::uint64_t ordinal = 1; ordinal <= count; ++ordinal)
    archive.record_variation(sample_variation(ordinal, {}));
  return archive;
}

}  // namespace

TEST_CASE("one lucky child makes no fit prompt") {
  const std::vector<PromptFigures> all{{"a", 100, 30, 10.0}, {"lucky", 1, 1, 0.9}, {"good", 40, 20, 12.0}};
  CHECK(prompt_fitness(all[2], all) > prompt_fitness(all[1], all));
  CHECK(prompt_fitness(all[1], all) > prompt_fitness(all[0], all));
}

TEST_CASE("the fittest version that can be judged is rewritten, and the files' own before there is one") {
  CHECK(version_to_rewrite(std::vector<PromptFigures>{{"a", 7, 9, 9.0}, {"b", 7, 0, 0.0}}, k_settings) ==
        "a");
  CHECK(version_to_rewrite(std::vector<PromptFigures>{{"a", 20, 1, 0.1}, {"b", 20, 5, 2.0}, {"c", 7, 7, 9.0}},
                           k_settings) == "b");
}

TEST_CASE("the least fit version goes when there are too many, and the files' own never does") {
  const std::vector<PromptFigures> three{{"a", 20, 0, 0.0}, {"b", 20, 1, 0.2}, {"c", 20, 1, 0.1}};
  CHECK_FALSE(version_to_retire(three, k_settings));
  std::vector<PromptFigures> four = three;
  four.push_back({"new", 1, 0, 0.0});
  CHECK(version_to_retire(four, k_settings) == "c");
}

TEST_CASE("rewrites are due by numbers of variations, never when switched off or when nothing can go") {
  const std::vector<PromptFigures> one{{"a", 10, 0, 0.0}};
  CHECK_FALSE(is_rewrite_due(one, 9, 0, k_settings));
  CHECK(is_rewrite_due(one, 10, 0, k_settings));
  CHECK_FALSE(is_rewrite_due(one, 19, 1, k_settings));
  CHECK_FALSE(is_rewrite_due(one, 1000, 0, {.every = 0}));
  const std::vector<PromptFigures> young{{"a", 90, 0, 0.0}, {"b", 3, 0, 0.0}, {"c", 7, 0, 0.0}};
  CHECK_FALSE(is_rewrite_due(young, 100, 2, k_settings));
  const std::vector<PromptFigures> grown{{"a", 90, 0, 0.0}, {"b", 3, 0, 0.0}, {"c", 8, 0, 0.0}};
  CHECK(is_rewrite_due(grown, 101, 2, k_settings));
}

TEST_CASE("a written version is used, survives a restart under its name, and leaves when it is retired") {
  const TemporaryFolder folder;
  const PromptLibrary files = library();
  std::string version;
  {
    Archive archive = archive_with(folder, 2);
    PromptVersions versions(files, archive);
    CHECK(versions.live("edit") == std::vector<std::string>{files.version("edit")});
    version = versions.add("edit", files.version("edit"), {{"advice", "Think.\n"}}, 1, 5);
    CHECK(versions.live("edit") == std::vector<std::string>{files.version("edit"), version});
    CHECK(versions.add("edit", version, {{"advice", "Think.\n"}}, 2, 6).empty());
    const auto arms = versions.spread({{{"edit", "m", files.version("edit")}, 0.5}, {{"tune", "", ""}, 1}});
    REQUIRE(arms.size() == 3);
    CHECK((arms[1].arm.prompt_version == version && arms[1].weight == 0.25 && arms[2].weight == 1));
    CHECK(versions.add("edit", version, regions_of(files.file("operators/edit").pieces), 2, 6).empty());
  }
  Archive archive = Archive::open(folder.path());
  PromptVersions versions(files, archive);
  CHECK(versions.live("edit").size() == 2);
  CHECK(versions.library(version).file("operators/edit").text.find("Think.\n") != std::string::npos);
  CHECK(versions.library("unknown").file("operators/edit").text == files.file("operators/edit").text);
  versions.retire("edit", version);
  CHECK(versions.live("edit") == std::vector<std::string>{files.version("edit")});
  CHECK(versions.library(version).version("edit") == version);
}

TEST_CASE("a version whose file has changed since is left out") {
  const TemporaryFolder folder;
  const PromptLibrary files = library();
  Archive archive = archive_with(folder, 2);
  archive.record_prompt_version({.version = "000000000000",
                                 .operator_name = "edit",
                                 .ordinal = 1,
                                 .regions = {{"advice", "Think.\n"}}});
  archive.record_prompt_version(
      {.version = "000000000001", .operator_name = "edit", .ordinal = 2, .regions = {{"gone", "Think.\n"}}});
  CHECK(PromptVersions(files, archive).live("edit").size() == 1);
}

namespace {

/// Variations `from` to `to` of edit under the files' own version, refused at once.
void refuse(Archive& archive, const std::string& version, std::uint64_t from, std::uint64_t to) {
  for (std::uint64_t ordinal = from; ordinal <= to; ++ordinal) {
    archive.record_variation({.ordinal = ordinal,
                              .operator_name = "edit",
                              .endpoint = "m",
                              .parents = {},
                              .inspirations = {},
                              .prompt_version = version});
    archive.record_rejection({.ordinal = ordinal, .reason = "no_code_block", .message = ""});
  }
}

}  // namespace

TEST_CASE(
    "evolution studies an operator when enough of its variations have begun, with figures and outcomes") {
  const TemporaryFolder folder;
  const PromptLibrary files = library();
  Archive archive = Archive::create(folder.path(), sample_run());
  refuse(archive, files.version("edit"), 1, 9);
  PromptEvolution evolution(files, archive, {.every = 10, .versions_max = 2, .variations_min = 4});
  CHECK_FALSE(evolution.due());
  refuse(archive, files.version("edit"), 10, 10);
  evolution.begun("edit");
  const auto study = evolution.due();
  REQUIRE(study);
  CHECK(study->operator_name == "edit");
  CHECK(study->version == files.version("edit"));
  CHECK(study->figures.at(0).variations == 10);
  CHECK(study->outcomes.at(0) == "no kernel came of it (no_code_block)");
  CHECK(study_json(study_from(study_json(*study))) == study_json(*study));
  evolution.begun("meta", "edit");
  CHECK_FALSE(evolution.due());
  CHECK_FALSE(PromptEvolution(files, archive, {}).due());
}

TEST_CASE(
    "a rewrite becomes a version, the same text does not become a second one, and the least fit retires") {
  const TemporaryFolder folder;
  const PromptLibrary files = library();
  Archive archive = Archive::create(folder.path(), sample_run());
  PromptEvolution evolution(files, archive, {.every = 10, .versions_max = 2, .variations_min = 4});
  const PromptStudy study{.operator_name = "edit", .version = files.version("edit"), .figures = {}};
  const auto rewrite = [&](std::uint64_t ordinal, const std::string& advice) {
    VariationRecord record{.ordinal = ordinal,
                           .operator_name = "meta",
                           .endpoint = "m",
                           .parents = {},
                           .inspirations = {},
                           .decision = {{"study", study_json(study)}}};
    if (!archive.variation(ordinal)) archive.record_variation(record);
    return evolution.accept(record, {"edit", {{"advice", advice}}}, 1);
  };
  const std::string first = std::get<std::string>(rewrite(1, "First.\n"));
  CHECK(std::get<Rejection>(rewrite(2, "First.\n")).reason == "duplicate_prompt");
  refuse(archive, first, 3, 6);
  const std::string second = std::get<std::string>(rewrite(2, "Second.\n"));
  CHECK(evolution.versions().live("edit") == std::vector<std::string>{files.version("edit"), second});
  CHECK(archive.prompt_versions().at(0).state == "retired");
  CHECK(PromptEvolution(files, archive, {.every = 10}).versions().live("edit").size() == 2);
}
