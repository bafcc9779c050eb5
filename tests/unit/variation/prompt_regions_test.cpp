// SPDX-License-Identifier: Apache-2.0
// Regions of prompts: how they are marked, what a rewrite must keep, and how the operator "meta" asks for one.
#include "engine/variation/prompt_regions.h"

#include <filesystem>

#include "engine/core/error.h"
#include "engine/variation/meta_operator.h"
#include "tests/support/catch.h"

using namespace kernelites;
using Catch::Contains;

namespace {

const std::string k_text =
    "Fixed.\n<!-- evolve:advice -->\nLook at {{parent}} first.\n<!-- /evolve -->\nFixed again.\n";

std::string problem_of(const std::string& text) {
  try {
    cut_at_markers(text, "x.md");
    return "";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

std::string reason_of(const std::string& reply) {
  const auto regions = read_regions(reply, regions_of(cut_at_markers(k_text, "x.md")));
  const auto* rejection = std::get_if<Rejection>(&regions);
  return rejection != nullptr ? rejection->reason : "";
}

std::string block(const std::string& text) { return "```region advice\n" + text + "\n```\n"; }

PromptLibrary library() {
  return PromptLibrary::load(std::filesystem::path(KERNELITES_SOURCE_DIR) / "prompts");
}

ModelReply answer(const std::string& text) {
  ModelReply reply;
  reply.text = text;
  return reply;
}

VariationInput studying(const Task& task, const std::string& operator_name) {
  VariationInput input{.task = task};
  input.study = PromptStudy{.operator_name = operator_name,
                            .version = "v1",
                            .figures = {{.version = "v0", .variations = 9, .elites = 2, .gain_bits = 0.25},
                                        {.version = "v1", .variations = 4}},
                            .outcomes = {"tie: deeper ring"}};
  return input;
}

}  // namespace

TEST_CASE("markers cut a text into pieces and are no part of it") {
  const auto pieces = cut_at_markers(k_text, "x.md");
  CHECK(joined(pieces) == "Fixed.\nLook at {{parent}} first.\nFixed again.\n");
  CHECK(regions_of(pieces) == PromptRegions{{"advice", "Look at {{parent}} first.\n"}});
  CHECK(marked(pieces) == k_text);
}

TEST_CASE("a text without markers is one piece") {
  CHECK(joined(cut_at_markers("a\nb\n", "x.md")) == "a\nb\n");
  CHECK(regions_of(cut_at_markers("a\nb\n", "x.md")).empty());
}

TEST_CASE("markers that do not pair up, or name nothing, stop the start") {
  const std::string open = "<!-- evolve:a -->\n", close = "<!-- /evolve -->\n";
  CHECK_THAT(problem_of(open + "x\n"), Contains("not closed"));
  CHECK_THAT(problem_of("x\n" + close), Contains("did not begin"));
  CHECK_THAT(problem_of(open + open), Contains("inside"));
  CHECK_THAT(problem_of(open + close), Contains("no text"));
  CHECK_THAT(problem_of(open + "x\n" + close + open + "y\n" + close), Contains("used once"));
  CHECK_THAT(problem_of("<!-- evolve:Not this -->\n"), Contains("no name"));
  CHECK_THAT(problem_of(open + std::string(k_region_bytes_max + 1, 'x') + "\n" + close),
             Contains("more than"));
}

TEST_CASE("a rewritten region replaces the old one and leaves others") {
  const auto regions = read_regions("Some talk.\n" + block("First read {{parent}}."),
                                    {{"advice", "Look at {{parent}} first.\n"}, {"other", "Stays.\n"}});
  CHECK(std::get<PromptRegions>(regions) ==
        PromptRegions{{"advice", "First read {{parent}}.\n"}, {"other", "Stays.\n"}});
}

TEST_CASE("a rewrite that would break the prompt is refused, by reason") {
  CHECK(reason_of("no block") == "no_region");
  CHECK(reason_of("```region ghost\nx\n```\n") == "unknown_region");
  CHECK(reason_of("```region advice\n{{parent}}") == "reply_is_torn");
  CHECK(reason_of(block("Look.")) == "region_breaks_prompt");                   // a placeholder is lost
  CHECK(reason_of(block("{{parent}} {{lessons}}")) == "region_breaks_prompt");  // one more
  CHECK(reason_of(block("{{parent}}\n# Heading")) == "region_breaks_prompt");
  CHECK(reason_of(block("{{parent}}\n<!-- /evolve -->")) == "region_breaks_prompt");
  CHECK(reason_of(block("{{parent}}\n<<<<<<< SEARCH")) == "region_breaks_prompt");
  CHECK(reason_of(block("{{parent}}\nSUMMARY: mine")) == "region_breaks_prompt");
  CHECK(reason_of(block("{{parent}}" + std::string(k_region_bytes_max, 'x'))) == "too_long");
  CHECK(reason_of(block("Look at {{parent}} first.")) == "no_change");
  CHECK(reason_of(block("\xff {{parent}}")) == "not_utf8");
  CHECK(reason_of(block("Read {{parent}}.")).empty());
}

TEST_CASE("the operators that write kernels have regions, and their markers reach no model") {
  const PromptLibrary prompts = library();
  const auto names = prompts.evolvable();
  for (const char* name : {"refine", "edit", "repair", "agent", "crossover", "target", "port"})
    CHECK(std::find(names.begin(), names.end(), name) != names.end());
  for (const std::string& name : prompts.names())
    CHECK(prompts.file(name).text.find("<!--") == std::string::npos);
}

TEST_CASE("other texts in the regions give another version of that operator's prompt and of no other's") {
  const PromptLibrary prompts = library();
  const PromptLibrary other = prompts.with_regions("edit", {{"advice", "Think first.\n"}});
  CHECK_THAT(other.file("operators/edit").text, Contains("Think first.\n") && !Contains("one detail of it"));
  CHECK(other.version("edit") != prompts.version("edit"));
  CHECK(other.version("refine") == prompts.version("refine"));
  CHECK(prompts.with_regions("edit", regions_of(prompts.file("operators/edit").pieces)).version("edit") ==
        prompts.version("edit"));
}

TEST_CASE("meta shows the prompt with its markers, how versions did, and what came of the last kernels") {
  const Task task;
  const PromptLibrary prompts = library();
  MetaOperator meta(studying(task, "edit"), prompts);
  const Action first = meta.next(Started{});
  const std::string& text = std::get<CallModel>(first).request.messages.at(1).text;
  CHECK_THAT(text,
             Contains("<!-- evolve:advice -->\nThe parent's structure stays") && Contains("{{parent}}"));
  CHECK_THAT(text, Contains("`v0` (the original): 9 kernels asked for, 2 entered the archive, 0.250 bits"));
  CHECK_THAT(text, Contains("`v1`, the one above: 4 kernels") && Contains("- tie: deeper ring\n"));
}

TEST_CASE("meta submits regions, sends a fault back once, and gives up at the second") {
  const Task task;
  const PromptLibrary prompts = library();
  MetaOperator meta(studying(task, "edit"), prompts);
  meta.next(Started{});
  const Action again = meta.next(ModelAnswered{answer("no region")});
  CHECK_THAT(std::get<CallModel>(again).request.messages.back().text, Contains("```region NAME"));
  const Action end = meta.next(ModelAnswered{answer(block("Think."))});
  const auto& rewrite = std::get<SubmitPrompt>(end);
  CHECK(rewrite.operator_name == "edit");
  CHECK(rewrite.regions == PromptRegions{{"advice", "Think.\n"}});

  MetaOperator stubborn(studying(task, "edit"), prompts);
  stubborn.next(Started{});
  stubborn.next(ModelAnswered{answer("no")});
  const Action given_up = stubborn.next(ModelAnswered{answer("still no")});
  CHECK(std::get<GiveUp>(given_up).rejection.reason == "no_region");
}
