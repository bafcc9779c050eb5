// SPDX-License-Identifier: Apache-2.0
// Prompts that evolve in a whole run: versions are written and used, and the run stays repeatable.
#include "engine/search/prompt_evolution.h"

#include <fmt/format.h>

#include <set>

#include "tests/support/catch.h"
#include "tests/unit/search/search_rig.h"

using namespace kernelites;

namespace {

/// Rewrites advice when asked to, else writes kernels.
ModelReply evolving_reply(const ModelRequest& request) {
  ModelReply reply;
  const bool is_meta = request.messages.back().text.find("# Write better advice") != std::string::npos;
  reply.text =
      is_meta ? fmt::format("```region advice\nAdvice of {}.\n```\n", request.id) : fake_answer(request.id);
  reply.model = "fake-1";
  reply.cost = {.input_tokens = 10, .output_tokens = 5, .usd = 0.01};
  return reply;
}

void let_evolve(SearchRig& rig) {
  rig.config.operators = {{"refine", 1}};
  rig.config.prompts = {.every = 6, .versions_max = 3, .variations_min = 2};
  rig.config.budget.candidates = 40;
}

std::string dump_of_run(std::uint64_t order_seed, int throw_at) {
  SearchRig rig;
  let_evolve(rig);
  rig.config.is_deterministic = true;
  FakeEvaluator evaluator;
  FakeModel model(order_seed);
  model.script = evolving_reply;
  if (throw_at > 0) {
    rig.sink.throw_at = throw_at;
    try {
      FakeEvaluator first;
      rig.run(first, &model);
    } catch (const RecordingSink::Kill&) {
    }
    rig.sink.throw_at = 0;
  }
  rig.run(evaluator, &model);
  return rig.dump_text();
}

}  // namespace

TEST_CASE(
    "a run rewrites a prompt, uses the versions, keeps their number, and shows each call's exact text") {
  SearchRig rig;
  let_evolve(rig);
  FakeEvaluator evaluator;
  FakeModel model;
  model.script = evolving_reply;
  rig.run(evaluator, &model);
  CHECK(rig.sink.count("prompt_written") >= 4);
  Archive archive = rig.open();
  int live = 0;
  for (const PromptVersionRecord& version : archive.prompt_versions())
    live += version.state == "live" ? 1 : 0;
  CHECK(live == 2);
  std::set<std::string> used;
  for (const VariationRecord& record : archive.variations_of("refine")) {
    used.insert(record.prompt_version);
    for (const PromptVersionRecord& version : archive.prompt_versions()) {
      if (version.version != record.prompt_version) continue;
      const auto calls = archive.model_calls(record.ordinal);
      REQUIRE_FALSE(calls.empty());
      CHECK(calls[0].prompt.at(1).at("text").get<std::string>().find(
                version.regions.at("advice").get<std::string>()) != std::string::npos);
    }
  }
  CHECK(used.size() >= 3);
}

TEST_CASE(
    "a deterministic run with evolving prompts has one dump, whatever the order of replies and when killed") {
  const std::string expected = dump_of_run(0, 0);
  CHECK(expected.find("prompt_version {") != std::string::npos);
  CHECK((dump_of_run(5, 0) == expected));
  CHECK((dump_of_run(9, 70) == expected));
}
